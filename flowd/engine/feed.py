"""Gives each reader the journal and the output of runs as one stream of updates, as they happen.

Readers pull. Each has a cursor of its own, reads the journal after it in pages, and sleeps until the journal has
advanced; so one that is slow costs no memory, and misses nothing as long as the journal reaches back to its cursor.
Those that want the same from the same place share the page.
"""

from collections.abc import AsyncGenerator, AsyncIterator, Callable, Sequence
from contextlib import aclosing

from flowd.domain.errors import CursorExpiredError, InvalidParamsError
from flowd.domain.journal import Interest, JournalEntry, JournalPage
from flowd.domain.redaction import Redactor
from flowd.domain.run import Run
from flowd.engine.output_reader import FOLLOW_INTERVAL_S, OutputReader
from flowd.engine.shared_pages import PAGE_ENTRIES, SharedPages
from flowd.engine.tails import OutputChunk, OutputPlace, Tails
from flowd.engine.updates import Batch, Update
from flowd.engine.wake_queue import WakeQueue
from flowd.ports import Clock, Journal
from flowd_client.wire import OLDEST

LAGGING_ENTRIES = 10_000
"""A reader so far behind is told so, once until it has caught up."""


class Feed:
    """Gives readers their updates. Knows nothing of how they are sent."""

    def __init__(
        self, *, journal: Journal, reader: OutputReader, clock: Clock, redactor: Redactor, show: Callable[[Run], Run]
    ) -> None:
        """``show`` makes of a run what may be seen."""
        self._journal = journal
        self._reader = reader
        self._clock = clock
        self._redactor = redactor
        self._pages = SharedPages(journal, show)
        self._wake_queue = WakeQueue()

    def ring(self) -> None:
        """The journal may have advanced: wake everybody who waits for that."""
        self._pages.outdate()
        self._wake_queue.ring()

    @property
    def may_mask(self) -> bool:
        """Whether there are secrets, which are masked in what is told."""
        return self._redactor.longest > 0

    @property
    def rings(self) -> int:
        """Grows whenever the journal may have advanced, and after each commit before anybody is told of it."""
        return self._wake_queue.rings

    async def advanced(self, heard: int, *, within_s: float | None) -> None:
        """Sleep until there were more `rings` than ``heard``, or the time has passed."""
        await self._wake_queue.wait(heard, within_s)

    def now_ms(self) -> int:
        """The instant for what is told beside the journal."""
        return self._clock.now_ms()

    async def locate(self, after: str | None) -> int:
        """The cursor to follow from: the one that is given, the oldest that there is, or where the journal is now.

        Raises:
            InvalidParamsError: It is no cursor.
            CursorExpiredError: The journal does not reach back to it.
        """
        page = await self._journal.journal(Interest(), after=None, limit=0)
        if after is None:
            return page.newest
        if after == OLDEST:
            return page.oldest - 1
        cursor = read_cursor(after)
        _require_kept(cursor, page)
        return cursor

    async def follow(
        self,
        interest: Interest,
        after: int,
        *,
        is_resumed: bool = False,
        places: Sequence[OutputPlace] = (),
        is_text: bool = True,
    ) -> AsyncGenerator[Update, None]:
        """Everything that `batches` gives, one by one."""
        following = self.batches(interest, after, is_resumed=is_resumed, places=places, is_text=is_text)
        async with aclosing(following):
            async for batch in following:
                for update in batch.updates:
                    yield update

    async def batches(
        self,
        interest: Interest,
        after: int,
        *,
        is_resumed: bool = False,
        places: Sequence[OutputPlace] = (),
        is_text: bool = True,
    ) -> AsyncGenerator[Batch, None]:
        """Everything of interest after a cursor, then what comes, without end. Nothing is missed or told twice.

        Output of an attempt comes after the entry that it began, and all of it before the entry that it ended.
        Cancelling this leaves nothing behind.

        Args:
            interest: What to tell.
            after: From `locate`.
            is_resumed: Whether the reader has heard updates up to ``after``, rather than begins there. Then attempts
                under way are followed from their beginning unless ``places`` has them, else from now on.
            places: How far the reader has read the output of attempts under way at ``after``.
            is_text: Output comes in whole UTF-8 characters.

        Raises:
            CursorExpiredError: The reader was so slow that the journal dropped what it had not heard.
        """
        tails = await self._tails(interest, places, is_resumed=is_resumed, is_text=is_text)
        is_told_of_lag = False
        while True:
            heard = self._wake_queue.rings  # before the look, so that nothing falls between look and wait
            shared = await self._pages.page(interest, after)
            page = shared.page
            _require_kept(after, page)
            if page.newest - after > LAGGING_ENTRIES and not is_told_of_lag:
                is_told_of_lag = True
                yield _one(Update(after, self._clock.now_ms(), behind=page.newest - after))
            if tails is not None:
                async for update in _with_output(page, interest, tails, after):
                    yield _one(update)
            elif shared.batch.updates:
                yield shared.batch
            after = page.reached
            if after < page.newest:
                continue
            is_told_of_lag = False
            has_news = False
            if tails is not None:
                async for chunk in self._news(tails, after):
                    has_news = True
                    yield _one(Update(after, self._clock.now_ms(), chunk=chunk))
            if not has_news:
                await self._wake_queue.wait(heard, FOLLOW_INTERVAL_S if tails else None)

    async def _tails(
        self, interest: Interest, places: Sequence[OutputPlace], *, is_resumed: bool, is_text: bool
    ) -> Tails | None:
        if not interest.has_output:
            return None
        tails = Tails(self._reader, is_text=is_text)
        for place in places:
            tails.give(place)
        for run_id, attempt in await self._journal.running(interest):
            await tails.find(run_id, attempt, at_end=not is_resumed)
        return tails

    async def _news(self, tails: Tails, after: int) -> AsyncIterator[OutputChunk]:
        """What running attempts wrote since the last look.

        The first look also gives all that is left of those whose end is told by no entry after the cursor.
        """
        for run_id, attempt in await tails.ended_at_first_look():
            page = await self._journal.journal(Interest(run_id=run_id), after=after, limit=PAGE_ENTRIES)
            if not any(entry.attempt == attempt and entry.status != "running" for entry in page.entries):
                async for chunk in tails.flush(run_id, attempt):
                    yield chunk
        async for chunk in tails.news():
            yield chunk


def cursor_text(cursor: int) -> str:
    """A cursor as callers see it; opaque to them."""
    return f"j{cursor}"


def read_cursor(text: str) -> int:
    """A cursor as it was given out. Raises `InvalidParamsError`.

    >>> read_cursor(cursor_text(7))
    7
    """
    if text[:1] == "j" and text[1:].isascii() and text[1:].isdigit() and len(text) < 20:
        return int(text[1:])
    raise InvalidParamsError(
        f'The cursor {text[:40]!r} is none that an update had. Subscribe without one, or from "{OLDEST}".',
        param="after",
    )


def _require_kept(cursor: int, page: JournalPage) -> None:
    if page.oldest - 1 <= cursor <= page.newest:
        return
    oldest = cursor_text(page.oldest - 1)
    if cursor > page.newest:
        problem = f"The cursor {cursor_text(cursor)} lies beyond the newest update: the daemon's state was replaced."
    else:
        problem = f"What came after {cursor_text(cursor)} is kept no more; {oldest} is the oldest cursor to go on from."
    raise CursorExpiredError(
        f"{problem} List events and runs for what is now, then subscribe without a cursor.", oldest=oldest
    )


def _one(update: Update) -> Batch:
    return Batch((update,))


async def _with_output(page: JournalPage, interest: Interest, tails: Tails, after: int) -> AsyncIterator[Update]:
    for entry in page.entries:
        async for chunk in _around(tails, entry):
            yield Update(after, entry.at_ms, chunk=chunk)
        after = entry.cursor
        if entry.kind in interest.topics:
            yield Update(after, entry.at_ms, entry=entry)


async def _around(tails: Tails, entry: JournalEntry) -> AsyncIterator[OutputChunk]:
    """Note what an entry says about attempts, and give the output that belongs before it."""
    if entry.run is None:
        return
    if entry.attempt is None:
        if entry.status not in ("queued", "running"):  # canceled; a running one has told its progress
            tails.drop(entry.run.id)
    elif entry.status == "running":
        tails.start(entry.run.id, entry.attempt)
    else:
        async for chunk in tails.flush(entry.run.id, entry.attempt):
            yield chunk
