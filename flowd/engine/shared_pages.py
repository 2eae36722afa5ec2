"""Pages of the journal for many readers: each is read once, however many readers have come to the same place."""

import asyncio
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass, replace

from flowd.domain.journal import Interest, JournalEntry, JournalPage
from flowd.domain.run import Run
from flowd.engine.updates import Batch, Update
from flowd.ports import Journal

PAGE_ENTRIES = 200

_KEPT_PAGES = 4
"""Most readers are at the newest entry, and the others soon are; beyond these a page is read again."""


@dataclass(frozen=True, slots=True)
class SharedPage:
    """A page, and what it has to tell."""

    page: JournalPage
    batch: Batch


class SharedPages:
    """The journal as readers are shown it, with secrets masked."""

    def __init__(self, journal: Journal, show: Callable[[Run], Run]) -> None:
        """``show`` makes of a run what may be seen."""
        self._journal = journal
        self._show = show
        self._pages: OrderedDict[tuple[Interest, int], asyncio.Task[SharedPage]] = OrderedDict()

    def outdate(self) -> None:
        """The journal may have advanced: whoever asks from now on is told of it."""
        self._pages.clear()

    async def page(self, interest: Interest, after: int) -> SharedPage:
        """What is of interest after a cursor, as new as the last `outdate` at least."""
        reading = self._pages.get((interest, after))
        if reading is None:
            reading = self._pages[interest, after] = asyncio.create_task(self._read(interest, after))
            reading.add_done_callback(self._drop_failed)
            if len(self._pages) > _KEPT_PAGES:
                self._pages.popitem(last=False)
        return reading.result() if reading.done() else await asyncio.shield(reading)  # it is not this reader's alone

    async def _read(self, interest: Interest, after: int) -> SharedPage:
        page = await self._journal.journal(interest, after=after, limit=PAGE_ENTRIES)
        page = replace(page, entries=tuple(map(self._shown, page.entries)))
        told = [entry for entry in page.entries if entry.kind in interest.topics]
        return SharedPage(page, Batch(tuple(Update(entry.cursor, entry.at_ms, entry=entry) for entry in told)))

    def _shown(self, entry: JournalEntry) -> JournalEntry:
        return entry if entry.run is None else replace(entry, run=self._show(entry.run))

    def _drop_failed(self, reading: asyncio.Task[SharedPage]) -> None:
        if reading.cancelled() or reading.exception() is not None:
            for place in [place for place, kept in self._pages.items() if kept is reading]:
                del self._pages[place]  # the next reader tries anew
