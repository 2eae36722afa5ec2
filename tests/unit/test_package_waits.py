"""Runs whose step is in no package: when they go on, and when they are given up."""

import asyncio
from collections.abc import Callable
from typing import Any, cast

from flowd.domain.definition import Definition
from flowd.domain.run import ProcessStatus, Run
from flowd.domain.waiting import MissedStep
from flowd.engine.completions import Completions
from flowd.engine.package_waits import GONE_AFTER_MS, PackageWaits
from flowd.engine.storage_waits import StorageWaits

STEP = Definition("flow", 1, "/flow", "sha256:0", "step", "exec", "run.sh", 1000, 100)


class World:
    """A store with waiting runs of one step, a catalog, and a clock, all set by hand."""

    def __init__(self) -> None:
        self.waiting = 0
        self.definition_in_force: Definition | None = None
        self.is_package_broken = False
        self.labels_lacking: tuple[str, ...] = ()
        self.clock_ms = 0
        self.rings = 0
        self.failed: list[str] = []
        self.questions = 0
        self.noted_ms: int | None = None
        self.start()

    def start(self) -> None:
        """Another daemon on the same store."""
        anything: Any = self
        self.waits = PackageWaits(
            store=anything,
            catalog=anything,
            steps=anything,
            completions=Completions(),
            clock=anything,
            waits=StorageWaits(lambda: 0.0),
            ring=self.ring,
            look_s=3600,
        )

    def now_ms(self) -> int:
        return self.clock_ms

    steady_ms = now_ms

    def ring(self) -> None:
        self.rings += 1

    def startable(self, *_: str) -> Definition | None:
        return self.definition_in_force

    def lacking(self, *_: str) -> tuple[str, ...]:
        return self.labels_lacking

    def is_broken(self, _: str) -> bool:
        return self.is_package_broken

    async def steps_missed(self) -> list[MissedStep]:
        self.questions += 1
        return [MissedStep("flow", "step", self.noted_ms)] if self.waiting else []

    async def note_removed(self, flow: str, step: str, since_ms: int | None) -> None:
        assert (flow, step) == ("flow", "step")
        self.noted_ms = since_ms

    async def end_package_wait(self, *_: str, at_ms: int) -> int:
        moved, self.waiting, self.noted_ms = self.waiting, 0, None
        return moved

    async def fail_removed(self, *_: str, at_ms: int) -> list[Run]:
        ended = [
            Run(f"r{n}", "e", "flow", 1, "step", "exec", "h", ProcessStatus.FAILED, 1, 1) for n in range(self.waiting)
        ]
        self.waiting = 0
        self.failed += [run.id for run in ended]
        return ended

    def look(self, after_ms: int = 0) -> None:
        self.clock_ms += after_ms
        asyncio.run(self.waits.settle())


def a_world(waiting: int = 1) -> World:
    async def make() -> World:
        return World()

    world = asyncio.run(make())
    world.waiting = waiting
    return world


def test_runs_go_on_when_their_step_is_back() -> None:
    world = a_world()
    world.look()
    world.definition_in_force = STEP
    world.look(GONE_AFTER_MS * 2)
    assert (world.waiting, world.rings, world.failed) == (0, 1, [])


def test_runs_fail_when_their_step_was_gone_all_the_time() -> None:
    world = a_world(waiting=3)
    world.look()
    world.look(GONE_AFTER_MS - 1)
    assert world.failed == []
    world.look(1)
    assert world.failed == ["r0", "r1", "r2"]


def test_an_installer_that_removes_and_copies_has_time_for_that_each_time() -> None:
    world = a_world()
    world.look()
    world.definition_in_force = STEP
    world.look(GONE_AFTER_MS - 1)
    world.waiting, world.definition_in_force = 1, None
    world.look(1)
    world.look(GONE_AFTER_MS - 1)
    assert world.failed == []


def test_a_broken_package_is_waited_for_as_long_as_it_takes() -> None:
    world = a_world()
    world.look()
    world.is_package_broken = True
    world.look(GONE_AFTER_MS * 100)
    assert (world.waiting, world.failed) == (1, [])
    world.is_package_broken = False
    world.look(GONE_AFTER_MS - 1)  # gone from now on
    assert world.failed == []
    world.look(GONE_AFTER_MS)
    assert world.failed == ["r0"]


def test_a_host_that_can_run_a_step_is_waited_for_as_long_as_it_takes() -> None:
    world = a_world()
    world.labels_lacking = ("gpu",)
    world.look(GONE_AFTER_MS * 100)
    assert (world.waiting, world.failed) == (1, [])
    world.labels_lacking, world.definition_in_force = (), STEP
    world.look()
    assert (world.waiting, world.failed, world.rings) == (0, [], 1)


def test_the_time_goes_on_with_the_next_daemon_which_looks_again_itself_before_it_gives_up() -> None:
    world = a_world()
    world.look()
    world.look(GONE_AFTER_MS // 2)
    asyncio.run(restarted(world))
    world.look(1_000)
    world.look(GONE_AFTER_MS // 2 - 1_001)
    assert world.failed == []
    world.look(1)
    assert world.failed == ["r0"]


def test_a_daemon_that_starts_late_gives_an_installer_time_to_put_a_package_back() -> None:
    world = a_world()
    world.look()
    asyncio.run(restarted(world))
    world.look(GONE_AFTER_MS * 10)
    assert world.failed == []
    world.look(9_999)
    assert world.failed == []
    world.look(1)
    assert world.failed == ["r0"]


def test_a_clock_that_was_set_back_between_two_daemons_makes_it_no_longer_than_it_is_in_whole() -> None:
    world = a_world()
    world.clock_ms = 10 * GONE_AFTER_MS
    world.look()
    world.clock_ms = 0
    asyncio.run(restarted(world))
    world.look()
    world.look(GONE_AFTER_MS)
    assert world.failed == ["r0"]


def test_a_package_that_came_back_broken_is_forgotten_to_have_been_gone() -> None:
    world = a_world()
    world.look()
    world.is_package_broken = True
    world.look(1)
    world.is_package_broken = False
    asyncio.run(restarted(world))
    world.look(GONE_AFTER_MS)
    world.look(GONE_AFTER_MS - 1)
    assert world.failed == []


async def restarted(world: World) -> None:
    world.start()


def test_the_store_is_asked_only_while_runs_wait() -> None:
    async def watch(world: World, act: Callable[[], None]) -> int:
        task = asyncio.create_task(world.waits.work())
        await asyncio.sleep(0.01)
        before = world.questions
        act()
        await asyncio.sleep(0.01)
        task.cancel()
        return world.questions - before

    async def scenario() -> None:
        world = World()
        assert await watch(world, world.waits.packages_changed) == 0
        assert await watch(cast("World", world), world.waits.run_waits) == 1

    asyncio.run(scenario())
