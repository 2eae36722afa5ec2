"""The feed on a real database: many readers, one look at the journal."""

import asyncio
from collections.abc import Awaitable, Callable
from pathlib import Path

import pytest
from store_rig import STEP, begin

from flowd.domain.errors import StorageBusyError
from flowd.domain.exit import Exit
from flowd.domain.journal import FlowState, Interest, JournalPage
from flowd.domain.masking import masked_run
from flowd.domain.outcome import Outcome
from flowd.domain.queueing import NewRun, StartedRun
from flowd.domain.redaction import Redactor
from flowd.domain.run import ProcessStatus
from flowd.domain.stored import NewEvent, Output
from flowd.engine.feed import Feed
from flowd.engine.output_reader import OutputReader
from flowd.engine.outputs import OutputFiles
from flowd.engine.tails import OutputPlace
from flowd.engine.updates import Batch, Update
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


class EndingStore(CountingStore):
    """Records the end of a run's attempt as soon as somebody has read a page of the journal that does not have it."""

    ending: StartedRun | None = None

    async def journal(self, interest: Interest, *, after: int | None, limit: int) -> JournalPage:
        page = await super().journal(interest, after=after, limit=limit)
        if limit and self.ending is not None:
            attempt, self.ending = self.ending.attempt, None
            outcome = Outcome(ProcessStatus.COMPLETED, exit_code=0)
            await self.finish(attempt, outcome, Exit(code=0), Output(b"said", b"", 4, 0), at_ms=3)
        return page


class Clock:
    def steady_ms(self) -> int:
        return self.now_ms()

    def now_ms(self) -> int:
        return 1


def feeding(path: Path, scenario: Callable[[EndingStore, Feed], Awaitable[None]]) -> None:
    async def run() -> None:
        store = EndingStore(path / "flowd.db", max_queued=10)
        redactor = Redactor((), {})
        reader = OutputReader(store, OutputFiles(path, max_output_bytes=1000), redactor=redactor)
        feed = Feed(
            journal=store, reader=reader, clock=Clock(), redactor=redactor, show=lambda run: masked_run(run, redactor)
        )
        store.tell_commits(feed.ring)
        try:
            async with asyncio.timeout(60):
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


async def accept_run(store: SqliteStore) -> None:
    """The run ``r`` of an event."""
    event = NewEvent("e", "t", None, None, "2026-01-01T00:00:00.000Z", b'{"payload":{}}', b"0")
    await store.accept(event, [NewRun("r", STEP)], at_ms=1)


async def begin_run(store: SqliteStore) -> StartedRun:
    return await begin(store)


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


@pytest.mark.parametrize("places", [(), (OutputPlace("r", 1, stdout=1),)], ids=["unread", "read-in-part"])
def test_output_comes_once_when_its_attempt_ends_while_a_reader_comes_back(
    tmp_path: Path, places: tuple[OutputPlace, ...]
) -> None:
    async def scenario(store: EndingStore, feed: Feed) -> None:
        await accept_run(store)
        store.ending = await begin_run(store)
        begun = await feed.locate(None)
        heard: list[Update] = []
        interest = Interest(frozenset({"run", "output", "flow"}))
        async for update in feed.follow(interest, begun, is_resumed=True, places=places):
            heard.append(update)
            if update.entry is not None and update.entry.kind == "run":
                await change(store, 1)  # one more update, so that what came after the end would be heard
            elif update.entry is not None:
                break
        told = [("chunk", u.chunk.stream, u.chunk.data) if u.chunk else u.entry and u.entry.status for u in heard]
        rest = b"aid" if places else b"said"
        assert told == [("chunk", "stdout", rest), ("chunk", "stderr", b""), "completed", "ok"]

    feeding(tmp_path, scenario)


def test_what_is_left_of_an_attempt_that_ended_before_its_reader_came_is_told_once(tmp_path: Path) -> None:
    async def scenario(store: EndingStore, feed: Feed) -> None:
        await accept_run(store)
        store.ending = await begin_run(store)
        await store.journal(Interest(), after=0, limit=1)  # it ends
        places = [OutputPlace("r", 1, stdout=1)]
        following = feed.follow(Interest(frozenset({"output"})), await feed.locate(None), places=places)
        told = [await anext(following), await anext(following)]
        assert [update.chunk and (update.chunk.data, update.chunk.is_end) for update in told] == [
            (b"aid", True),
            (b"", True),
        ]
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(0.3):
                await anext(following)

    feeding(tmp_path, scenario)


def test_output_comes_once_when_its_attempt_begins_again_while_a_reader_is_behind(tmp_path: Path) -> None:
    async def scenario(store: EndingStore, feed: Feed) -> None:
        await accept_run(store)
        await begin_run(store)  # and its daemon dies before it starts
        heard: list[tuple[str | None, bytes]] = []
        async for update in feed.follow(Interest(frozenset({"run", "output"})), 0, is_resumed=True):
            if update.chunk is not None:
                heard.append((update.chunk.stream, update.chunk.data))
            elif update.entry is not None:
                heard.append((update.entry.status, b""))
            if heard[-1] == ("running", b"") and len(heard) == 2:
                (tmp_path / "r.stdout").write_bytes(b"said")  # it has begun again, and the reader is yet to hear that
            elif heard[-1] == ("stdout", b"said") and len(heard) == 3:
                await store.requeue("r", at_ms=3)
                begun = await begin_run(store)
                outcome = Outcome(ProcessStatus.COMPLETED, exit_code=0)
                await store.finish(begun.attempt, outcome, Exit(code=0), Output(b"said", b"", 4, 0), at_ms=5)
            elif heard[-1][0] == "completed":
                break
        assert heard == [
            *(("queued", b""), ("running", b""), ("stdout", b"said"), ("queued", b""), ("running", b"")),
            *(("stdout", b""), ("stderr", b""), ("completed", b"")),
        ]

    feeding(tmp_path, scenario)
