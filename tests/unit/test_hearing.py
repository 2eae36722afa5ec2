"""What other hosts commit: who waits here hears of ends, what runs here of wishes, and the scheduler of runs."""

import asyncio
from collections.abc import Callable
from typing import Any

from flowd.domain.hosts import Startable
from flowd.domain.journal import Interest, JournalEntry, JournalPage
from flowd.domain.run import ProcessStatus, Run
from flowd.engine.completions import Completions
from flowd.engine.hearing import Hearing


def a_run(run_id: str, status: ProcessStatus = ProcessStatus.COMPLETED) -> Run:
    return Run(run_id, "e", "flow", 1, "step", "exec", "h", status, 1, 1)


class World:
    """A journal, and what is under way here."""

    def __init__(self, poll_s: float = 3600) -> None:
        self.entries: list[JournalEntry] = []
        self.oldest = 1
        self.active: tuple[str, ...] = ()
        self.wishes: list[str] = []
        self.said: list[tuple[object, ...]] = []
        self.reads = 0
        self.is_any_ready = True
        self.is_held = False
        self.holds: list[bool] = []
        self.due_in_ms: int | None = None
        self.news: Callable[[], None] = lambda: None
        anything: Any = self
        self.counted: list[str] = []
        self.completions = Completions(lambda run: self.counted.append(run.id))
        self.hearing = Hearing(
            journal=anything,
            leases=anything,
            attempts=anything,
            completions=self.completions,
            ring=lambda: self.said.append(("ring",)),
            ring_in=lambda left_ms: self.said.append(("ring in", left_ms)),
            hold=self.holds.append,
            poll_s=poll_s,
        )

    def tell_news(self, listener: Callable[[], None]) -> None:
        self.news = listener

    async def journal(self, interest: Interest, *, after: int | None, limit: int) -> JournalPage:
        self.reads += 1
        newest = len(self.entries)
        begin = newest if after is None else max(after, self.oldest - 1)
        found = tuple(self.entries[begin : begin + limit])
        return JournalPage(found, begin + len(found), self.oldest, newest)

    async def startable(self) -> Startable:
        return Startable(self.is_any_ready, self.due_in_ms, self.is_held)

    async def cancel_wishes(self) -> list[str]:
        return self.wishes

    async def cancel_once(self, run_id: str) -> None:
        self.said.append(("cancel", run_id))

    def commit(self, run: Run) -> None:
        self.entries.append(JournalEntry(len(self.entries) + 1, 1, "run", run.status.value, run=run))


def test_an_end_on_another_host_is_told_to_who_waits_for_it_and_counted_nowhere() -> None:
    async def test() -> None:
        world = World()
        ended = world.completions.expect("r")
        await world.hearing.look()
        assert ended.done()  # it may have ended before anybody followed the journal: look at the store
        assert ended.result() is None
        world.completions.drop("r", ended)
        ended = world.completions.expect("r")
        world.commit(a_run("other"))
        world.commit(a_run("r", ProcessStatus.RUNNING))
        await world.hearing.look()
        assert ended.result() is None  # it goes on, and who waits looks again
        world.completions.drop("r", ended)
        ended = world.completions.expect("r")
        world.commit(a_run("r"))
        await world.hearing.look()
        assert ended.result() == a_run("r")
        assert world.counted == []

    asyncio.run(test())


def test_an_end_that_the_journal_keeps_no_more_makes_everybody_look() -> None:
    async def test() -> None:
        world = World()
        keeping = world.completions.expect("kept waiting")
        await world.hearing.look()
        ended = world.completions.expect("r")
        for number in range(5):
            world.commit(a_run(f"other-{number}"))
        world.oldest = 4
        await world.hearing.look()
        assert ended.result() is None
        keeping.cancel()

    asyncio.run(test())


def test_more_entries_than_a_page_are_all_heard() -> None:
    async def test() -> None:
        world = World()
        first = world.completions.expect("first")
        await world.hearing.look()
        ends = [world.completions.expect(f"r{number}") for number in (0, 1500)]
        for number in range(1501):
            world.commit(a_run(f"r{number}"))
        await world.hearing.look()
        assert [end.result().id for end in ends if end.result()] == ["r0", "r1500"]
        first.cancel()

    asyncio.run(test())


def test_nobody_reads_the_journal_for_nobody() -> None:
    async def test() -> None:
        world = World()
        world.commit(a_run("r"))
        await world.hearing.look()
        assert world.reads == 0
        assert world.said == [("ring",)]

    asyncio.run(test())


def test_the_scheduler_hears_of_what_this_host_can_start_and_of_times_to_come() -> None:
    async def test() -> None:
        world = World()
        world.is_any_ready = False
        await world.hearing.look()
        assert world.said == []
        world.due_in_ms = 7
        await world.hearing.look()
        assert world.said == [("ring in", 7)]

    asyncio.run(test())


def test_the_scheduler_hears_whether_somebody_wants_nothing_to_start() -> None:
    async def test() -> None:
        world = World()
        for is_held in (True, False):
            world.is_held = is_held
            await world.hearing.look()
        assert world.holds == [True, False]

    asyncio.run(test())


def test_wishes_are_asked_for_while_something_runs() -> None:
    async def test() -> None:
        world = World()
        world.wishes = ["r"]
        await world.hearing.look()
        assert ("cancel", "r") not in world.said
        world.active = ("r",)
        await world.hearing.look()
        assert ("cancel", "r") in world.said

    asyncio.run(test())


def test_news_is_followed_at_once_and_lost_news_after_a_while() -> None:
    async def heard(world: World, *, is_told: bool) -> None:
        task = asyncio.create_task(world.hearing.work())
        async with asyncio.timeout(60):
            while not world.said:
                await asyncio.sleep(0)
            world.said.clear()
            if is_told:
                world.news()
            while not world.said:
                await asyncio.sleep(0)
        task.cancel()

    asyncio.run(heard(World(), is_told=True))
    asyncio.run(heard(World(poll_s=0.0), is_told=False))
