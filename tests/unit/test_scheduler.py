"""What starts, and in which order."""

import asyncio
from collections.abc import Awaitable, Callable

from flowd.engine.scheduler import Release, Scheduler


class Steps:
    """Stands for the supervisor: notes what is started, and ends it when told."""

    def __init__(self) -> None:
        self.started: list[str] = []
        self._ends: dict[str, asyncio.Event] = {}

    async def supervise(self, run_id: str, release: Release) -> None:
        self.started.append(run_id)
        end = self._ends[run_id] = asyncio.Event()
        await end.wait()
        release()

    async def until_started(self, *run_ids: str) -> None:
        async with asyncio.timeout(5):
            while self.started != list(run_ids):
                await asyncio.sleep(0)

    def end(self, run_id: str) -> None:
        self._ends[run_id].set()


def scheduling(scenario: Callable[[Scheduler, Steps], Awaitable[None]], *, max_parallel: int = 1) -> None:
    async def run() -> None:
        steps = Steps()
        scheduler = Scheduler(steps.supervise, max_parallel=max_parallel)
        async with asyncio.timeout(10), asyncio.TaskGroup() as tasks:
            scheduler.open(tasks)
            await scenario(scheduler, steps)

    asyncio.run(run())


def test_runs_start_in_order_as_places_are_free() -> None:
    async def scenario(scheduler: Scheduler, steps: Steps) -> None:
        scheduler.submit(["a", "b", "c", "d"])
        await steps.until_started("a", "b")
        steps.end("b")
        await steps.until_started("a", "b", "c")
        steps.end("a")
        await steps.until_started("a", "b", "c", "d")
        steps.end("c")
        steps.end("d")

    scheduling(scenario, max_parallel=2)


def test_a_run_that_is_queued_twice_starts_once() -> None:
    async def scenario(scheduler: Scheduler, steps: Steps) -> None:
        scheduler.submit(["a", "b", "c"])
        scheduler.submit(["b"])  # canceled and retried while it waited
        assert scheduler.waiting == 2
        await steps.until_started("a")
        for ended, started in (("a", "b"), ("b", "c")):
            steps.end(ended)
            await steps.until_started(*["a", "b", "c"][: "abc".index(started) + 1])
        assert scheduler.waiting == 0
        steps.end("c")

    scheduling(scenario)


def test_a_run_that_waits_for_its_time_and_is_queued_starts_once() -> None:
    async def scenario(scheduler: Scheduler, steps: Steps) -> None:
        scheduler.submit_later("a", 3600)
        scheduler.submit_later("a", 1800)
        assert scheduler.waiting == 1
        scheduler.submit(["a"])
        await steps.until_started("a")
        assert scheduler.waiting == 0
        steps.end("a")

    scheduling(scenario)


def test_a_run_that_has_started_may_be_queued_again() -> None:
    async def scenario(scheduler: Scheduler, steps: Steps) -> None:
        scheduler.submit(["a"])
        await steps.until_started("a")
        scheduler.submit(["a"])
        steps.end("a")
        await steps.until_started("a", "a")
        steps.end("a")

    scheduling(scenario)
