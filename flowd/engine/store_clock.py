"""The time by the store's clock, which all hosts that share it go by."""

from collections.abc import Awaitable, Callable

from flowd.ports import Clock

ASK_EVERY_MS = 60_000
_STEP_MS = 1_000
"""Between two looks, the wall clock and the one that nobody sets may differ by less."""


class StoreClock:
    """The wall clock of this host, set right by the store's where that is another."""

    def __init__(self, clock: Clock, ask: Callable[[int], Awaitable[int]] | None) -> None:
        """``ask`` tells the store's time, given ours; None where both are the same."""
        self._clock = clock
        self._ask = ask
        self._offset_ms = 0
        self._asked_at_ms: int | None = None
        self._apart_ms = 0

    def wall_ms(self) -> int:
        """Now, as this host has it."""
        return self._clock.now_ms()

    def now_ms(self) -> int:
        """Now by the store's clock, as far as that is known."""
        return self._clock.now_ms() + self._offset_ms

    async def look(self) -> None:
        """Ask the store, where that may say something new: now and then, and when our clock was set or we slept.

        Raises:
            RefusedError: It cannot be asked.
        """
        if self._ask is None:
            return
        steady_ms, apart_ms = self._clock.steady_ms(), self._clock.now_ms() - self._clock.steady_ms()
        is_known = self._asked_at_ms is not None and 0 <= steady_ms - self._asked_at_ms < ASK_EVERY_MS
        if is_known and abs(apart_ms - self._apart_ms) < _STEP_MS:
            return
        there_ms = await self._ask(self._clock.now_ms())
        # Ours after the answer: so we are late by the way it took, and never early.
        self._offset_ms = there_ms - self._clock.now_ms()
        self._asked_at_ms, self._apart_ms = steady_ms, apart_ms

    def doubt(self) -> None:
        """Ask at the next look."""
        self._asked_at_ms = None
