"""The part of `SqlStore` that reads the journal, and notes in it what is for looking at only."""

from collections.abc import Sequence

from flowd.domain.journal import FlowState, Interest, JournalPage
from flowd.domain.progress import Progress
from flowd.domain.run import Attempt
from flowd.store.sql import journal, progresses
from flowd.store.sql.store_part import StorePart


class JournalStore(StorePart):
    """See `flowd.ports.Journal` for what every method guarantees."""

    _told_as = ""
    """How this host is called, where others have packages of theirs."""

    async def journal(self, interest: Interest, *, after: int | None, limit: int) -> JournalPage:
        """See `flowd.ports.Journal.journal`."""
        return await self._read(lambda db: journal.page(db, interest, after, limit))

    async def running(self, interest: Interest) -> list[tuple[str, int]]:
        """See `flowd.ports.Journal.running`."""
        return await self._read(lambda db: journal.running(db, interest))

    async def note_flows(self, flows: Sequence[FlowState], *, at_ms: int) -> None:
        """See `flowd.ports.Journal.note_flows`."""
        await self._writer.do(lambda db: journal.note_flows(db, flows, at_ms, host=self._told_as))

    async def note_progress(self, attempt: Attempt, progress: Progress, *, at_ms: int) -> None:
        """See `flowd.ports.Store.note_progress`."""
        await self._writer.do(lambda db: progresses.note(db, attempt, progress, at_ms))
