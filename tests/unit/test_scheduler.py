"""How many runs start, when they are asked for, and that nothing is asked for in vain."""

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import replace

import pytest

from flowd.domain.definition import Definition
from flowd.domain.launching import KeeperLostError
from flowd.domain.queueing import Claim, Claimed, StartedRun
from flowd.domain.run import Attempt, ProcessStatus, Run
from flowd.engine.scheduler import Again, Done, Holder, Scheduler

STEP = Definition("flow", 1, "/flow", "sha256:0", "step", "exec", "run.sh", 1000, 100)


def started(run_id: str) -> StartedRun:
    run = Run(run_id, "e", "flow", 1, "step", "exec", "sha256:0", ProcessStatus.RUNNING, 1, 1)
    return StartedRun(run, Attempt(run_id, run_id, 1, ProcessStatus.RUNNING, "keeper", 1), STEP, b"{}")


class Step:
    """Stands for an attempt; ends when it is told."""

    def __init__(self, run_id: str, world: "World") -> None:
        self.run_id = run_id
        self.ended = asyncio.Event()
        self.recorded = asyncio.Event()
        self.recorded.set()
        self.can_record = True
        self.is_keeper_lost = False
        self.follows: Done | Again = Done()
        self._world = world

    def withdraw(self, why: str) -> None:
        self._world.withdrawn.append(self.run_id)
        self.ended.set()

    async def start(self) -> None:
        self._world.started.append(self.run_id)

    async def exited(self) -> None:
        await self.ended.wait()
        if self.is_keeper_lost:
            raise KeeperLostError("it died 7 times in a row")

    async def record(self, claim: Callable[[int], Claim | None]) -> Done | Again:
        asked = claim(0)
        await self.recorded.wait()
        if not self.can_record:
            raise RuntimeError("the database is gone")
        claimed = None if asked is None else self._world.take(asked.limit)
        return replace(self.follows, claimed=claimed)

    def close(self) -> None:
        self._world.closed.append(self.run_id)


class World:
    """A store with a queue in memory, a clock that is set by hand, and what has happened."""

    def __init__(self, *, max_parallel: int) -> None:
        self.ready: list[str] = []
        self.next_due_ms: int | None = None
        self.asked: list[int] = []
        self.gate = asyncio.Event()
        self.gate.set()
        self.started: list[str] = []
        self.withdrawn: list[str] = []
        self.closed: list[str] = []
        self.steps: dict[str, Step] = {}
        self.now_ms = 1000
        self.timers: list[tuple[float, Callable[[], None], asyncio.TimerHandle]] = []
        self.scheduler = Scheduler(
            self.ask,
            self.claim,
            self.begin,
            max_parallel=max_parallel,
            steady_ms=lambda: self.now_ms,
            call_later=self.call_later,
        )

    def ask(self, limit: int) -> Claim:
        self.asked.append(limit)
        return Claim(limit, "keeper", "boot", lambda *_: STEP, self.now_ms, self.now_ms)

    async def claim(self, limit: int) -> Claimed:
        self.asked.append(limit)
        await self.gate.wait()
        return self.take(limit)

    def take(self, limit: int) -> Claimed:
        taken, self.ready = self.ready[:limit], self.ready[limit:]
        return Claimed(tuple(map(started, taken)), self.next_due_ms, has_more=len(taken) == limit)

    def begin(self, claimed: StartedRun) -> Step:
        step = self.steps[claimed.run.id] = Step(claimed.run.id, self)
        return step

    def call_later(self, delay: float, callback: Callable[[], None], /) -> asyncio.TimerHandle:
        handle = asyncio.get_running_loop().call_later(3600, callback)
        self.timers.append((delay, callback, handle))
        return handle

    def pass_time(self, ms: int) -> None:
        self.now_ms += ms
        due, self.timers = self.timers, []
        for delay, callback, handle in due:
            if not handle.cancelled():
                assert delay * 1000 == ms
                handle.cancel()
                callback()

    def queue(self, *run_ids: str) -> None:
        self.ready += run_ids
        self.scheduler.ring()

    async def settle(self) -> None:
        for _ in range(50):
            await asyncio.sleep(0)


def scheduling(scenario: Callable[[World], Awaitable[None]], *, max_parallel: int = 1) -> None:
    async def run() -> None:
        world = World(max_parallel=max_parallel)
        async with asyncio.timeout(60), asyncio.TaskGroup() as tasks:
            world.scheduler.open(tasks)
            await scenario(world)
            world.gate.set()
            await world.settle()
            for step in world.steps.values():
                step.ended.set()
                step.recorded.set()
        world.scheduler.pause()

    asyncio.run(run())


def test_as_many_runs_start_as_there_are_places_and_the_next_as_one_is_free() -> None:
    async def scenario(world: World) -> None:
        world.queue("a", "b", "c", "d")
        await world.settle()
        assert world.started == ["a", "b"]
        world.steps["b"].ended.set()
        await world.settle()
        assert world.started == ["a", "b", "c"]
        world.steps["a"].ended.set()
        await world.settle()
        assert world.started == ["a", "b", "c", "d"]

    scheduling(scenario, max_parallel=2)


def test_nothing_starts_until_nobody_wants_that_any_more() -> None:
    async def scenario(world: World) -> None:
        world.queue("a")
        await world.settle()
        world.gate.clear()
        world.queue("b")
        await world.settle()
        world.scheduler.hold(Holder.DAEMON)
        world.scheduler.hold(Holder.STORE)
        world.gate.set()
        await world.settle()
        assert (world.started, world.withdrawn) == (["a", "b"], ["b"])  # it was being claimed
        world.queue("c")
        world.scheduler.ring_at(world.now_ms + 5)
        world.scheduler.hold(Holder.STORE, is_wanted=False)
        await world.settle()
        assert (world.started, world.timers) == (["a", "b"], [])
        world.scheduler.hold(Holder.DAEMON, is_wanted=False)
        await world.settle()
        assert world.started == ["a", "b", "c"]

    scheduling(scenario, max_parallel=4)


def test_what_is_to_end_starts_nothing_whoever_lets_it() -> None:
    async def scenario(world: World) -> None:
        await world.settle()
        world.scheduler.hold(Holder.STORE)
        world.scheduler.pause()
        world.scheduler.hold(Holder.STORE, is_wanted=False)
        world.queue("a")
        await world.settle()
        assert world.asked == [1]  # at the opening

    scheduling(scenario)


def test_nothing_is_asked_for_where_nothing_can_be_ready_or_no_place_is_free() -> None:
    async def scenario(world: World) -> None:
        await world.settle()
        assert world.asked == [1]  # at the opening, for what an earlier daemon left
        world.queue("a")
        await world.settle()
        assert world.asked == [1, 1]
        world.scheduler.ring()
        world.scheduler.ring()
        await world.settle()
        assert world.asked == [1, 1]
        world.steps["a"].ended.set()
        await world.settle()
        assert world.asked == [1, 1, 1]
        world.scheduler.see_through(Step("adopted", world))
        await world.settle()
        world.queue("b")
        await world.settle()
        assert world.asked == [1, 1, 1]

    async def free_place_without_bell(world: World) -> None:
        world.queue("a")
        await world.settle()
        asked = len(world.asked)
        world.steps["a"].ended.set()
        await world.settle()
        assert len(world.asked) == asked

    scheduling(free_place_without_bell, max_parallel=2)

    async def until_adopted_end(world: World) -> None:
        adopted = Step("adopted", world)
        world.steps["adopted"] = adopted
        await world.settle()
        world.scheduler.see_through(adopted)
        world.queue("b")
        await world.settle()
        assert world.started == ["adopted"]
        adopted.ended.set()
        await world.settle()
        assert world.started == ["adopted", "b"]

    scheduling(until_adopted_end)


def test_a_bell_that_rings_during_a_claim_is_heard_after_it() -> None:
    async def scenario(world: World) -> None:
        await world.settle()
        world.gate.clear()
        world.queue("a")
        await world.settle()
        assert world.scheduler.is_claiming
        world.scheduler.ring()
        world.gate.set()
        await world.settle()
        assert not world.scheduler.is_claiming
        assert world.started == ["a"]
        world.ready.append("b")  # it was what the second ring was about
        world.steps["a"].ended.set()
        await world.settle()
        assert world.started == ["a", "b"]

    scheduling(scenario)


def test_a_place_is_given_away_with_the_record_of_an_end_and_its_attempt_is_closed_before_what_follows() -> None:
    async def scenario(world: World) -> None:
        world.queue("a", "b")
        await world.settle()
        step = world.steps["a"]
        step.recorded.clear()
        step.follows = Again(world.now_ms)
        asked_before = len(world.asked)
        step.ended.set()
        await world.settle()
        assert (world.started, world.closed, world.asked[asked_before:]) == (["a"], [], [1])
        world.ready.append("a")
        step.recorded.set()
        await world.settle()
        assert (world.started, world.closed, world.asked[asked_before:]) == (["a", "b"], ["a"], [1])
        world.steps["b"].ended.set()
        await world.settle()
        assert (world.started, world.closed) == (["a", "b", "a"], ["a", "b"])

    scheduling(scenario)


def test_a_place_is_free_again_where_the_end_could_not_be_recorded() -> None:
    async def scenario(world: World) -> None:
        world.queue("a", "b")
        await world.settle()
        world.steps["a"].can_record = False
        world.steps["a"].ended.set()
        await world.settle()
        assert (world.started, world.closed) == (["a", "b"], ["a"])

    scheduling(scenario)


def test_a_run_whose_keeper_is_lost_is_left_to_the_next_start_and_is_no_error(caplog: pytest.LogCaptureFixture) -> None:
    async def scenario(world: World) -> None:
        world.queue("a", "b")
        await world.settle()
        world.steps["a"].is_keeper_lost = True
        world.steps["a"].ended.set()
        await world.settle()
        assert (world.started, world.closed) == (["a", "b"], ["a"])

    scheduling(scenario)
    assert [(record.levelname, record.exc_info) for record in caplog.records] == [("WARNING", None)]


def test_one_timer_is_set_for_the_earliest_run_that_waits() -> None:
    async def scenario(world: World) -> None:
        await world.settle()
        world.next_due_ms = 5000
        world.scheduler.ring()
        await world.settle()
        world.scheduler.ring_at(9000)
        assert [delay for delay, _, handle in world.timers if not handle.cancelled()] == [4.0]
        world.scheduler.ring_at(3000)
        assert [delay for delay, _, handle in world.timers if not handle.cancelled()] == [2.0]
        world.ready, world.next_due_ms = ["a"], None
        world.pass_time(2000)
        await world.settle()
        assert world.started == ["a"]
        world.scheduler.ring_at(4000)
        world.pass_time(1000)
        await world.settle()
        assert world.asked[-1] == 0  # no place is free, but what has waited gets its place in the order

    scheduling(scenario)


def test_reserved_places_are_for_a_claim_of_ones_own() -> None:
    async def scenario(world: World) -> None:
        await world.settle()
        places = world.scheduler.reserve(5)
        assert places == 2
        assert world.scheduler.is_claiming
        world.queue("late")
        await world.settle()
        assert world.started == []
        world.scheduler.start(Claimed((started("mine"),)), places=places)
        await world.settle()
        assert world.started == ["mine", "late"]
        assert world.scheduler.reserve(1) == 0
        world.scheduler.start(Claimed(), places=0)

    scheduling(scenario, max_parallel=2)


def test_after_a_pause_nothing_starts_and_what_was_being_claimed_goes_back() -> None:
    async def scenario(world: World) -> None:
        world.gate.clear()
        world.queue("a")
        await world.settle()
        world.scheduler.pause()
        world.gate.set()
        await world.settle()
        assert world.withdrawn == ["a"]
        assert world.scheduler.reserve(1) == 0
        world.queue("b")
        world.scheduler.ring_at(5000)
        await world.settle()
        assert world.withdrawn == ["a"]
        assert not [handle for _, _, handle in world.timers if not handle.cancelled()]

    scheduling(scenario)


def test_places_can_be_added_and_taken_away_while_runs_are_under_way() -> None:
    async def scenario(world: World) -> None:
        world.queue("a", "b", "c", "d")
        await world.settle()
        assert world.started == ["a"]
        world.scheduler.set_max_parallel(3)
        await world.settle()
        assert world.started == ["a", "b", "c"]
        world.scheduler.set_max_parallel(1)
        world.steps["a"].ended.set()
        world.steps["b"].ended.set()
        await world.settle()
        assert world.started == ["a", "b", "c"]  # c has the only place
        world.steps["c"].ended.set()
        await world.settle()
        assert world.started == ["a", "b", "c", "d"]

    scheduling(scenario)


def test_an_attempt_that_breaks_costs_nobody_else_a_place() -> None:
    async def scenario(world: World) -> None:
        async def broken() -> None:
            raise RuntimeError("broken")

        world.queue("a", "b")
        original = world.begin

        def begin(claimed: StartedRun) -> Step:
            step = original(claimed)
            if claimed.run.id == "a":
                step.exited = broken  # type: ignore[method-assign]
            return step

        world.scheduler._begin = begin
        await world.settle()
        assert world.started == ["a", "b"]
        assert world.closed == ["a"]

    scheduling(scenario)
