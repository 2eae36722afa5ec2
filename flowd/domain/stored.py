"""What a store takes and gives: events, output, and parts of lists."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Generic, TypeVar

from flowd.domain.event import Event, fingerprint
from flowd.domain.matching import LeftOut
from flowd.domain.queueing import Caused, Claimed, NewRun
from flowd.domain.retention import Kept
from flowd.domain.run import Run
from flowd.domain.trees import CausedBy

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class NewEvent:
    """An event to accept.

    Attributes:
        body: The normalised event as JSON.
        fingerprint: Of its content without ``receivedAt``; tells a duplicate from a conflict.
        left_out: Whose share of it is not run.
        traceparent: Of the trace that it belongs to; None is that of the event that caused it.
    """

    id: str
    type: str
    source: str | None
    occurred_at: str | None
    received_at: str
    body: bytes
    fingerprint: bytes
    left_out: tuple[LeftOut, ...] = ()
    traceparent: str | None = None


def new_event(event: Event, body: bytes, canonical: Callable[[object], bytes]) -> NewEvent:
    """A normalised event to accept; ``body`` is all of it as JSON, and ``canonical`` writes JSON that two events with
    the same content have in common."""
    content = {key: member for key, member in event.members.items() if key != "receivedAt"}
    return NewEvent(
        id=event.id,
        type=event.type,
        source=event.source,
        occurred_at=event.occurred_at,
        received_at=event.received_at,
        body=body,
        fingerprint=fingerprint(canonical(content)),
    )


@dataclass(frozen=True, slots=True)
class NewEventRuns:
    """An event to accept, with the run of each step that it matches.

    Attributes:
        outside: Steps that need one of these, and are not run all the same.
    """

    event: NewEvent
    runs: tuple[NewRun, ...]
    outside: tuple[LeftOut, ...] = ()


@dataclass(frozen=True, slots=True)
class StoredEvent:
    """An event as stored, with its runs' ids in match order, replays after.

    Attributes:
        caused_by: None where nobody's run did.
        root_event_id: Of the tree that it is in; None where it is the root itself.
        depth: Its distance from the root.
    """

    id: str
    type: str
    source: str | None
    occurred_at: str | None
    received_at: str
    body: bytes
    created_at_ms: int
    run_ids: tuple[str, ...] = ()
    left_out: tuple[LeftOut, ...] = ()
    caused_by: CausedBy | None = None
    root_event_id: str | None = None
    depth: int = 0
    traceparent: str | None = None


@dataclass(frozen=True, slots=True)
class TreeEvent:
    """An event in a tree, with its runs in the order of their acceptance: all, or the newest of ``run_count``."""

    id: str
    type: str
    created_at_ms: int
    caused_by: CausedBy | None
    depth: int
    runs: tuple[Run, ...]
    run_count: int


@dataclass(frozen=True, slots=True)
class EventState:
    """How an event, or its tree, is.

    Attributes:
        statuses: How many steps have which effective status, that of their newest run.
        open: The first of those that have not ended or ask a person.
    """

    statuses: Mapping[str, int]
    open: tuple[Run, ...]


@dataclass(frozen=True, slots=True)
class Accepted:
    """What accepting an event came to.

    Attributes:
        is_duplicate: The id was known; nothing was created and ``event`` is the stored one.
        is_conflict: It was known with other content.
        runs: The created ones as they were accepted, or the stored ones of a duplicate, in match order.
        claimed: What may start now, if that was asked: of this event or, where others are ahead of it, not.
        is_cause_idle: The run that was named as the cause does not run, so it was not heeded.
        outside: Steps that need one which was started, and were not all the same, because their own trigger does not
            match or they need another one, too.
    """

    event: StoredEvent
    runs: tuple[Run, ...]
    is_duplicate: bool = False
    is_conflict: bool = False
    claimed: Claimed | None = None
    is_cause_idle: bool = False
    outside: tuple[LeftOut, ...] = ()

    @property
    def as_caused(self) -> Caused:
        """What is counted of it."""
        if self.is_duplicate:
            return Caused("conflict" if self.is_conflict else "duplicate")
        return Caused("accepted", tuple(run.flow_name for run in self.runs))


@dataclass(frozen=True, slots=True)
class Output:
    """Both streams of an attempt as they are to be remembered: inline bytes, or None where the file stays.

    Attributes:
        order: The order between them, see `flowd.keeper.stream_order`; None where that file stays, or is not known.
    """

    stdout: bytes | None = b""
    stderr: bytes | None = b""
    stdout_bytes: int = 0
    stderr_bytes: int = 0
    is_truncated: bool = False
    order: bytes | None = b""


@dataclass(frozen=True, slots=True)
class Page(Generic[T]):
    """A part of a list, newest first. ``next_cursor`` is None at its end."""

    items: tuple[T, ...]
    next_cursor: str | None = None


@dataclass(frozen=True, slots=True)
class Counts:
    """How many there are. ``free_bytes`` of the database's file are free inside it; ``waiting`` of the queued runs wait
    for something else than a place.

    Attributes:
        said: Of the completed runs, how many count as each of `flowd.domain.run.BAD_RESULTS`: their step or a person
            said so.
        uncounted: Which of these have more runs, for only the newest were counted.
    """

    events: int = 0
    runs: Mapping[str, int] = field(default_factory=dict)
    free_bytes: int = 0
    waiting: int = 0
    said: Mapping[str, int] = field(default_factory=dict)
    uncounted: tuple[str, ...] = ()

    @property
    def outcomes(self) -> dict[str, int]:
        """How many runs ended how, each counted once: ``failed`` and ``canceled`` are those that lists of runs have by
        these names, ``blocked`` and ``needs_intervention`` what completed and said so, ``well`` are all others.

        >>> Counts(runs={"completed": 9, "failed": 1, "canceled": 0}, said={"failed": 2}).outcomes
        {'well': 7, 'failed': 3, 'canceled': 0}
        """
        ended = {"failed": self.runs.get("failed", 0), "canceled": self.runs.get("canceled", 0)}
        for status, count in self.said.items():
            if count:
                ended[status] = ended.get(status, 0) + count
        return {"well": self.runs.get("completed", 0) - sum(self.said.values()), **ended}


@dataclass(frozen=True, slots=True)
class OldEvents:
    """Events that may be forgotten, by their numbers, and where to go on; ``next_seq`` is None at the end."""

    seqs: tuple[int, ...]
    next_seq: int | None


@dataclass(frozen=True, slots=True)
class KeptEvents:
    """Events as rules count them, newest first, and where to go on; ``next_seq`` is None at the end."""

    items: tuple[Kept, ...]
    next_seq: int | None


@dataclass(frozen=True, slots=True)
class Pruned:
    """What was forgotten. ``output_bytes`` is of both streams of all attempts."""

    events: int = 0
    runs: int = 0
    output_bytes: int = 0

    def __add__(self, other: "Pruned") -> "Pruned":
        return Pruned(self.events + other.events, self.runs + other.runs, self.output_bytes + other.output_bytes)
