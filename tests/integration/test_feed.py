"""The feed on a real database: many readers, one look at the journal."""

import asyncio
from collections.abc import Awaitable, Callable
from pathlib import Path

import pytest

from flowd.domain.errors import StorageBusyError
from flowd.domain.journal import FlowState, Interest, JournalPage
from flowd.domain.redaction import Redactor
from flowd.engine.feed import Feed
from flowd.engine.output_reader import OutputReader
from flowd.engine.outputs import OutputFiles
from flowd.engine.updates import Batch
from flowd.store.sqlite.store import SqliteStore

FLOWS = Interest(frozenset({"flow"}))


class CountingStore(SqliteStore):
    """Counts the looks at the journal; the next ones can be made to fail."""

    looks = 0
    failures = 0

    async def journal(self, interest: Interest, *, after: int | None, limit: int) -> JournalPage:
        self.looks += 1
        if self.failures:
            self.failures -= 1
            raise StorageBusyError("Another program holds the database.")
        return await super().journal(interest, after=after, limit=limit)


class Clock:
    def now_ms(self) -> int:
        return 1


def feeding(path: Path, scenario: Callable[[CountingStore, Feed], Awaitable[None]]) -> None:
    async def run() -> None:
        store = CountingStore(path / "flowd.db", max_queued=10)
        redactor = Redactor((), {})
        reader = OutputReader(store, OutputFiles(path, max_output_bytes=1000), redactor=redactor)
        feed = Feed(journal=store, reader=reader, clock=Clock(), redactor=redactor)
        store.tell_commits(feed.ring)
        try:
            async with asyncio.timeout(20):
                await scenario(store, feed)
        finally:
            await store.close()

    asyncio.run(run())


async def hear(feed: Feed, after: int, count: int) -> tuple[list[int], list[Batch]]:
    """The cursors of the next updates, and the batches that they came in."""
    cursors: list[int] = []
    batches: list[Batch] = []
    async for batch in feed.batches(FLOWS, after):
        batches.append(batch)
        cursors += [update.cursor for update in batch.updates]
        if len(cursors) >= count:
            break
    return cursors, batches


async def change(store: SqliteStore, digest: int) -> None:
    await store.note_flows([FlowState("a", "ok", str(digest))], at_ms=digest)


def test_readers_of_the_same_share_one_look_at_the_journal_for_each_commit(tmp_path: Path) -> None:
    async def scenario(store: CountingStore, feed: Feed) -> None:
        readers = [asyncio.create_task(hear(feed, 0, 30)) for _ in range(200)]
        for digest in range(30):
            await change(store, digest)
        heard = await asyncio.gather(*readers)
        assert {tuple(cursors) for cursors, _ in heard} == {tuple(range(1, 31))}
        # A commit, or several, makes one page for each place that readers have come to: a handful, never one a reader.
        assert store.looks < 30 * 10

    feeding(tmp_path, scenario)


def test_a_reader_at_another_place_gets_a_page_of_its_own(tmp_path: Path) -> None:
    async def scenario(store: CountingStore, feed: Feed) -> None:
        for digest in range(5):
            await change(store, digest)
        (whole, of_whole), (rest, of_rest), (_, of_same) = await asyncio.gather(
            hear(feed, 0, 5), hear(feed, 3, 2), hear(feed, 0, 5)
        )
        assert (whole, rest) == ([1, 2, 3, 4, 5], [4, 5])
        assert of_whole[0] is of_same[0]
        assert of_whole[0] is not of_rest[0]

    feeding(tmp_path, scenario)


def test_a_reader_that_leaves_takes_nothing_from_those_that_wait_for_the_same_page(tmp_path: Path) -> None:
    async def scenario(store: CountingStore, feed: Feed) -> None:
        await change(store, 1)
        first, second = (asyncio.create_task(hear(feed, 0, 1)) for _ in range(2))
        await asyncio.sleep(0)
        first.cancel()
        cursors, _ = await second
        assert cursors == [1]
        assert first.cancelled()

    feeding(tmp_path, scenario)


def test_a_look_that_failed_is_told_to_those_that_waited_for_it_and_forgotten(tmp_path: Path) -> None:
    async def scenario(store: CountingStore, feed: Feed) -> None:
        await change(store, 1)
        store.failures = 1
        failed = await asyncio.gather(hear(feed, 0, 1), hear(feed, 0, 1), return_exceptions=True)
        assert [type(error) for error in failed] == [StorageBusyError, StorageBusyError]
        cursors, _ = await hear(feed, 0, 1)
        assert cursors == [1]

    feeding(tmp_path, scenario)


@pytest.mark.parametrize("count", [199, 200, 201, 450])
def test_long_stories_come_whole_in_pages(tmp_path: Path, count: int) -> None:
    async def scenario(store: CountingStore, feed: Feed) -> None:
        await store.note_flows([FlowState(f"f{n}", "ok", "1") for n in range(count)], at_ms=1)
        cursors, _ = await hear(feed, 0, count)
        assert cursors == list(range(1, count + 1))

    feeding(tmp_path, scenario)
