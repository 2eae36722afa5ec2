"""What lists are asked for."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

from flowd.domain.labels import Label


@dataclass(frozen=True, slots=True)
class RunFilter:
    """Which runs to list: those that are all of this. None asks for nothing.

    Attributes:
        status: A process status or a result status (then it is the effective one).
        reason: A `flowd.domain.run.Reason`.
        since_ms: Made at this instant or later, by the wall clock.
        until_ms: Made before this instant.
        labels: All of them.
        host: With an attempt there.
        text: What is in its id, its event's id or type, the name of its flow or step, its error, or the message of its
            result. The letters A to Z count in either case. Where it is the whole id of a run or an event: these alone.
        shown: What people see of an error or a message, which alone is searched; None where that is all of it.
    """

    event_id: str | None = None
    status: str | None = None
    flow: str | None = None
    step: str | None = None
    reason: str | None = None
    since_ms: int | None = None
    until_ms: int | None = None
    labels: tuple[Label, ...] = ()
    host: str | None = None
    text: str | None = None
    shown: Callable[[str], str] | None = None


EVERY_RUN: Final = RunFilter()


@dataclass(frozen=True, slots=True)
class EventFilter:
    """Which events to list: those that are all of this, and have a run that is all that ``runs`` says.

    Attributes:
        since_ms: Accepted at this instant or later, by the wall clock.
        until_ms: Accepted before this instant.
        text: What is in its id, its type or its source. The letters A to Z count in either case. Where it is the whole
            id of an event: that one alone.
        runs: Flow, step, status, reason and labels of one of its runs.
    """

    type: str | None = None
    since_ms: int | None = None
    until_ms: int | None = None
    text: str | None = None
    runs: RunFilter = EVERY_RUN
