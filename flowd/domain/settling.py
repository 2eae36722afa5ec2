"""When changes are told that come one after the other. Pure: the time is the caller's, in steady milliseconds."""

from dataclasses import dataclass, field

_BURST = 20
_REFILL_MS = 2_000
"""A watch has twenty events at once, and one more every two seconds. Whoever saves by hand never notices; a step that
writes into what starts it would else go round three times a second."""

_FIRST_RETRY_MS, _LAST_RETRY_MS = 1_000, 30_000


@dataclass(slots=True)
class Settling:
    """The changes of one watch: told ``settle_ms`` after the last, and ``longest_ms`` after the first at the latest.

    >>> changes = Settling(settle_ms=300, longest_ms=3000)
    >>> changes.changed(1000); changes.changed(1200); changes.due_ms
    1500
    """

    settle_ms: int
    longest_ms: int
    _first_ms: int | None = None
    _last_ms: int = 0
    _not_before_ms: int = 0
    _tries: int = 0
    _spent: list[int] = field(default_factory=list)

    @property
    def due_ms(self) -> int | None:
        """When to tell; None where nothing has changed."""
        if self._first_ms is None:
            return None
        settled_ms = min(self._last_ms + self.settle_ms, self._first_ms + self.longest_ms)
        return max(settled_ms, self._not_before_ms, self._spent[0] if len(self._spent) >= _BURST else 0)

    @property
    def is_changing(self) -> bool:
        """Whether there is something to tell."""
        return self._first_ms is not None

    def is_slowed(self, at_ms: int) -> bool:
        """Whether there were so many events that the next one waits for that."""
        return len(self._spent) >= _BURST and self._spent[0] > at_ms

    def is_quiet(self, at_ms: int) -> bool:
        """Whether nothing has changed for long enough."""
        return at_ms >= self._last_ms + self.settle_ms

    def changed(self, at_ms: int) -> None:
        """Something has changed."""
        self._first_ms = at_ms if self._first_ms is None else self._first_ms
        self._last_ms = at_ms

    def taken(self) -> None:
        """What had changed is about to be told; what changes from now on is told the next time."""
        self._first_ms = None

    def told(self, at_ms: int) -> None:
        """It is told."""
        self._tries = self._not_before_ms = 0
        free_ms = max(self._spent[-1] if self._spent else 0, at_ms) + _REFILL_MS
        self._spent = [*(spent for spent in self._spent if spent > at_ms), free_ms]

    def failed(self, at_ms: int) -> None:
        """It could not be told: try again, after a while that grows."""
        self._not_before_ms = at_ms + min(_LAST_RETRY_MS, _FIRST_RETRY_MS * 2**self._tries)
        self._tries = min(self._tries + 1, 10)
        self._first_ms = at_ms if self._first_ms is None else self._first_ms
