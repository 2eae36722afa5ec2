"""Wakes waiters in batches, so that a burst does not stall the writer."""

import asyncio
from collections import OrderedDict

_AT_ONCE = 16
_REST_S = 0.001
"""Between so many sleepers and the next. Each takes some 50 µs of the loop for what it does once awake, and the thread
that writes the database would get hardly any of the interpreter meanwhile: 500 at once made an accept 20 ms late."""


class WakeQueue:
    """Sleepers are woken in the order in which they fell asleep: the first few at once, the others soon."""

    def __init__(self) -> None:
        self.rings = 0
        """How often it was rung."""
        self._sleepers: OrderedDict[asyncio.Future[None], int] = OrderedDict()
        self._is_waking = False

    def ring(self) -> None:
        """Wake all who sleep now. To be called in the loop."""
        self.rings += 1
        if not self._is_waking:
            self._is_waking = True
            self._wake_some()

    async def wait(self, heard: int, timeout_s: float | None) -> None:
        """Sleep until it has been rung more often than ``heard``, or the time has passed."""
        if heard != self.rings:
            return
        sleeper = asyncio.get_running_loop().create_future()
        self._sleepers[sleeper] = heard
        try:
            async with asyncio.timeout(timeout_s):
                await sleeper
        except TimeoutError:
            pass
        finally:
            self._sleepers.pop(sleeper, None)

    def _wake_some(self) -> None:
        for _ in range(_AT_ONCE):
            sleeper = next(iter(self._sleepers), None)
            if sleeper is None or self._sleepers[sleeper] == self.rings:  # and so have all after it
                self._is_waking = False
                return
            del self._sleepers[sleeper]
            if not sleeper.done():
                sleeper.set_result(None)
        asyncio.get_running_loop().call_later(_REST_S, self._wake_some)
