"""How much has ended of late, and how: a count for each of the last minutes."""

from collections.abc import Iterable
from dataclasses import dataclass

from flowd.domain.run import Run

MINUTES = 60
_MINUTE_MS = 60_000
_BAD = frozenset({"failed", "canceled"})


@dataclass(slots=True)
class Minute:
    """What ended in a minute.

    Attributes:
        number: Minutes since 1970.
        bad: How many of them failed or were canceled.
        duration_ms: How long those took together of whom it is known, and ``timed`` is how many these are.
    """

    number: int
    ended: int = 0
    bad: int = 0
    duration_ms: int = 0
    timed: int = 0


class Pulse:
    """The last hour, minute by minute. Each run counts as it ended last, as whoever reads the store finds it.

    Attributes:
        since_ms: All ends from this instant on are counted, and none before (Unix milliseconds).
    """

    def __init__(self, since_ms: int = 0) -> None:
        self.since_ms = since_ms
        self._ring = [Minute(-1) for _ in range(MINUTES)]

    def ended(self, run: Run) -> None:
        """A run has ended. What ended longer ago than an hour before the latest is not counted."""
        self.add(run.updated_at_ms, run.effective_status, run.duration_ms)

    def goes_on(self, run: Run) -> None:
        """A run is to end once more; ``run`` is as it had ended before."""
        minute = self._ring[run.updated_at_ms // _MINUTE_MS % MINUTES]
        is_counted = run.updated_at_ms >= self.since_ms and minute.ended
        if not is_counted or minute.number != run.updated_at_ms // _MINUTE_MS:
            return
        minute.ended -= 1
        minute.bad -= run.effective_status in _BAD
        if run.duration_ms is not None:
            minute.duration_ms -= run.duration_ms
            minute.timed -= 1

    def add(self, at_ms: int, status: str, duration_ms: int | None) -> None:
        """Count the end of a run at an instant (Unix milliseconds)."""
        number = at_ms // _MINUTE_MS
        minute = self._ring[number % MINUTES]
        if minute.number != number:
            if minute.number > number:
                return
            minute = self._ring[number % MINUTES] = Minute(number)
        minute.ended += 1
        minute.bad += status in _BAD
        if duration_ms is not None:
            minute.duration_ms += duration_ms
            minute.timed += 1

    def last(self, now_ms: int) -> list[Minute]:
        """The minutes up to now, the oldest first; those in which nothing ended, too.

        >>> pulse = Pulse()
        >>> pulse.add(120_000, "failed", 5)
        >>> [(minute.number, minute.ended, minute.bad) for minute in pulse.last(180_000)[-3:]]
        [(1, 0, 0), (2, 1, 1), (3, 0, 0)]
        """
        newest = now_ms // _MINUTE_MS
        known = {minute.number: minute for minute in self._ring}
        return [known.get(number) or Minute(number) for number in range(newest - MINUTES + 1, newest + 1)]


def mean_ms(minutes: Iterable[Minute]) -> float | None:
    """How long what ended took on average; None where that is not known of any."""
    listed = list(minutes)
    timed = sum(minute.timed for minute in listed)
    return sum(minute.duration_ms for minute in listed) / timed if timed else None
