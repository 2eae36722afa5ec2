"""A schedule as people see it."""

from collections.abc import Collection
from dataclasses import dataclass
from enum import StrEnum

from flowd.domain.schedule import Schedule

_WORST = ("failed", "needs_intervention", "blocked", "canceled", "changed", "completed", "skipped")


class ScheduleState(StrEnum):
    """How a schedule is."""

    READY = "ready"
    """Its events come, and their runs start."""
    PAUSED = "paused"
    """Its events come, and the runs of its flow wait until somebody resumes it."""
    STALE = "stale"
    """Its package is broken; what it was before goes on."""
    REFUSED = "refused"
    """A slot has come and was not taken yet; that is tried again."""


@dataclass(frozen=True, slots=True)
class LastSlot:
    """A slot that was told.

    Attributes:
        at_ms: When its event was accepted.
        status: How the event's runs are, see `summary`; None where the event is forgotten.
    """

    slot_ms: int
    event_id: str
    at_ms: int
    status: str | None


@dataclass(frozen=True, slots=True)
class KnownSchedule:
    """A schedule in force.

    Attributes:
        next_ms: Its next slot; None where none comes, or is not known yet.
        last: The slots that were told last, at most three, the newest telling first.
        problem: Why its state is not ready, a sentence.
    """

    flow: str
    schedule: Schedule
    state: ScheduleState
    next_ms: int | None
    last: tuple[LastSlot, ...] = ()
    problem: str | None = None


def summary(statuses: Collection[str]) -> str:
    """How an event's runs are in one word: under way while any is, else as the worst has ended.

    >>> summary(["completed", "running", "queued"]), summary(["completed", "failed"]), summary([])
    ('running', 'failed', 'nothing')
    """
    for open_ in ("running", "queued"):
        if open_ in statuses:
            return open_
    return next((status for status in _WORST if status in statuses), "completed" if statuses else "nothing")
