"""The updates that readers of the feed get."""

from dataclasses import dataclass

from flowd.domain.journal import JournalEntry
from flowd.engine.tails import OutputChunk


@dataclass(frozen=True, slots=True)
class Update:
    """One thing to tell: an entry of the journal, a chunk of output, or that the reader lags.

    Attributes:
        cursor: Whoever goes on after this misses nothing and hears nothing twice. For the output that comes between
            two entries it is the former's; how far the output was read is told by its offsets.
        behind: Entries of the journal between this reader and now.
    """

    cursor: int
    at_ms: int
    entry: JournalEntry | None = None
    chunk: OutputChunk | None = None
    behind: int | None = None


@dataclass(frozen=True, slots=True, eq=False, weakref_slot=True)
class Batch:
    """Updates that come at once. Readers who are told the same may be given the same one: what it takes to send it can
    be kept with it."""

    updates: tuple[Update, ...]
