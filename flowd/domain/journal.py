"""What happened, in order: entries of the journal, and which of them somebody wants to hear of."""

from dataclasses import dataclass
from typing import Literal

from flowd.domain.run import Run
from flowd.domain.trees import CausedBy

Topic = Literal["event", "run", "flow", "output"]
JOURNALED: frozenset[Topic] = frozenset({"event", "run", "flow"})
"""What the journal holds. Output is followed in its files."""


@dataclass(frozen=True, slots=True)
class Interest:
    """Which entries are wanted; with ``run_id`` or ``event_id`` only that run's, or that event's and its runs'."""

    topics: frozenset[Topic] = JOURNALED
    run_id: str | None = None
    event_id: str | None = None

    @property
    def has_output(self) -> bool:
        """Whether the runs' output is wanted, too."""
        return "output" in self.topics


@dataclass(frozen=True, slots=True)
class EventHead:
    """A stored event without its content, and the ids of its runs as they are now. Its place in a tree is as in
    `flowd.domain.stored.StoredEvent`."""

    id: str
    type: str
    source: str | None
    occurred_at: str | None
    received_at: str
    created_at_ms: int
    run_ids: tuple[str, ...] = ()
    caused_by: CausedBy | None = None
    root_event_id: str | None = None
    depth: int = 0


@dataclass(frozen=True, slots=True)
class JournalEntry:
    """Something that happened.

    Attributes:
        cursor: Its place; entries are told in the order of their cursors, which never repeat.
        status: Of the run or the flow as it became with this entry; None for an event.
        attempt: Number of the attempt that began or ended with this entry, None where none did.
        event: Of an entry about an event.
        run: Of an entry about a run: the run as it is now.
        flow_name: Of an entry about a flow package.
        host: Whose package it is, where hosts share the store.
    """

    cursor: int
    at_ms: int
    kind: Literal["event", "run", "flow"]
    status: str | None = None
    attempt: int | None = None
    event: EventHead | None = None
    run: Run | None = None
    flow_name: str | None = None
    host: str | None = None


@dataclass(frozen=True, slots=True)
class JournalPage:
    """A part of the journal.

    Attributes:
        entries: Those that are of interest, oldest first.
        reached: Everything up to this cursor has been looked at.
        oldest: Cursor of the oldest entry that is kept; one more than ``newest`` when there is none.
        newest: Cursor of the newest entry there ever was.
    """

    entries: tuple[JournalEntry, ...]
    reached: int
    oldest: int
    newest: int


@dataclass(frozen=True, slots=True)
class FlowState:
    """A flow package as the journal compares it: ``status`` is ``ok``, ``stale`` or ``broken``."""

    name: str
    status: str
    package_hash: str
