"""Which slots of a schedule count: a plan of what is to be told when, and the memory of what was.

A schedule remembers *spans*: times all of whose slots are decided for good, since they were told. A slot in a span is
never told again, whatever clocks do; one beside them is told when its time comes, or by ``catch_up`` when its time has
come while nobody was there. So a clock that jumped ahead and back finds the time in between undecided, and goes on.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import NamedTuple, Protocol

from flowd.domain import schedule
from flowd.domain.schedule import CatchUp

GRACE_MS = 60_000
"""A slot that is no older still counts, whatever ``catch_up`` says: a restart must not lose one."""

MAX_SPANS = 16
"""Beyond them a time in between is given up: a clock that is set back there finds its slots decided."""

_SHORT_MS = 30 * 86_400_000
"""A time in between that is longer comes of a clock that jumped, not of a daemon that was away."""

REMEMBERED = 3
"""Slots that are remembered by themselves: for people, and so that another rule of the name does not repeat them."""

Span = tuple[int, int]
"""From when to when, both included, in milliseconds since the epoch."""


class ScheduleKey(NamedTuple):
    """A schedule as one definition has it."""

    flow: str
    name: str
    rule: str


class Told(NamedTuple):
    """A slot whose event was accepted, and when that was."""

    slot_ms: int
    at_ms: int


@dataclass(frozen=True, slots=True)
class Remembered:
    """What the store knows of a schedule.

    Attributes:
        since_ms: When this host saw it in force first; what came before is no concern of it.
        last: The slots that were told last, the newest telling first.
    """

    since_ms: int
    spans: tuple[Span, ...] = ()
    last: tuple[Told, ...] = ()


class Slot(NamedTuple):
    """A slot to be told. All others from ``covers_from_ms`` up to it are decided with it."""

    key: ScheduleKey
    slot_ms: int
    covers_from_ms: int

    @property
    def event_id(self) -> str:
        """The same on each host, and for each rule of the name."""
        return schedule.event_id(self.key.flow, self.key.name, self.slot_ms)


class Slots(Protocol):
    """When the slots of an expression are."""

    def after(self, at_ms: int) -> int | None:
        """The first slot after an instant; None where none ever comes."""
        ...

    def slots(self, at_ms: int) -> Iterator[int]:
        """All slots after an instant."""
        ...

    def newest(self, after_ms: int, until_ms: int) -> int | None:
        """The last slot after an instant and up to another one."""
        ...


def is_in(spans: Sequence[Span], at_ms: int) -> bool:
    """Whether an instant is in one of them.

    >>> is_in([(1, 3), (7, 9)], 3), is_in([(1, 3), (7, 9)], 5)
    (True, False)
    """
    return any(first <= at_ms <= last for first, last in spans)


def covered(spans: Sequence[Span], more: Span, *, now_ms: int) -> tuple[Span, ...]:
    """The spans with one more, joined where they touch. Of more than `MAX_SPANS` two are joined that have now not
    between them: the oldest that are less than a month apart, else those that are nearest to each other.

    >>> covered([(1, 3), (7, 9)], (3, 5), now_ms=5)
    ((1, 5), (7, 9))
    """
    joined: list[Span] = []
    for first, last in sorted((*spans, more)):
        if joined and first <= joined[-1][1]:
            joined[-1] = joined[-1][0], max(last, joined[-1][1])
        else:
            joined.append((first, last))
    while len(joined) > MAX_SPANS:
        at = _least(joined, now_ms)
        joined[at : at + 2] = [(joined[at][0], joined[at + 1][1])]
    return tuple(joined)


def _least(spans: Sequence[Span], now_ms: int) -> int:
    """Which span to join with the next one."""
    apart = {
        at: after[0] - before[1]
        for at, (before, after) in enumerate(pairwise(spans))
        if not before[1] < now_ms < after[0]
    }
    return min(apart, key=lambda at: (max(apart[at], _SHORT_MS), at))


@dataclass(slots=True)
class Plan:
    """What is to be told of one schedule.

    Attributes:
        after_ms: All up to this instant is decided, as far as this process goes; None where it has to be seen anew.
        next_ms: The first slot after that; None where none comes.
        from_ms: Since when all is decided for good. A slot that was left out is not: it is told where its time comes
            once more.
    """

    key: ScheduleKey
    slots: Slots
    catch_up: CatchUp
    since_ms: int
    spans: tuple[Span, ...] = ()
    after_ms: int | None = None
    next_ms: int | None = None
    from_ms: int = 0

    def due(self, now_ms: int) -> list[Slot]:
        """The slots to be told by now, the oldest first. They are decided with that."""
        if self.after_ms is None:
            self.after_ms = self.from_ms = self._decided_by(now_ms)
            self.next_ms = self._undecided(self.after_ms)
        newest = self.slots.newest(self.after_ms, now_ms)
        if newest is None:
            return []
        told = [slot_ms for slot_ms in self._meant(newest, now_ms) if not is_in(self.spans, slot_ms)]
        # Where slots before the first one are left out, it alone is decided.
        covers_from_ms = self.from_ms if told and told[0] == self.next_ms else None
        due: list[Slot] = []
        for slot_ms in told:
            due.append(Slot(self.key, slot_ms, slot_ms if covers_from_ms is None else covers_from_ms))
            covers_from_ms = slot_ms
        is_left_out = not told and not is_in(self.spans, newest)
        self.after_ms, self.from_ms = newest, newest + 1 if is_left_out else newest
        self.next_ms = self._undecided(newest)
        return due

    def told(self, slot: Slot, *, now_ms: int) -> None:
        """A slot counts from now on."""
        self.spans = covered(self.spans, (slot.covers_from_ms, slot.slot_ms), now_ms=now_ms)

    def _meant(self, newest: int, now_ms: int) -> list[int]:
        """Of the slots since `after_ms`, those that ``catch_up`` wants told."""
        assert self.after_ms is not None
        recent: list[int] = []
        for slot_ms in self.slots.slots(max(self.after_ms, now_ms - GRACE_MS - 1)):
            if slot_ms > newest:
                break
            recent.append(slot_ms)
        return recent or ([newest] if self.catch_up == "latest" else [])

    def _decided_by(self, now_ms: int) -> int:
        """Until when slots are none that were missed: those of the span before, and what came before it began."""
        known = [at_ms for at_ms in (self.since_ms, *(last for _, last in self.spans)) if at_ms <= now_ms]
        return max(known, default=now_ms)

    def _undecided(self, after_ms: int) -> int | None:
        """The first slot after an instant that is in no span."""
        next_ms = self.slots.after(after_ms)
        for first, last in self.spans:
            if next_ms is not None and first <= next_ms <= last:
                next_ms = self.slots.after(last)
        return next_ms
