"""The real engine on a real store, with a keeper, packages and clocks that are set by hand, and a way to die."""

import asyncio
from collections.abc import Awaitable, Callable, Coroutine
from pathlib import Path
from typing import Any

from flowd import wiring
from flowd.catalog.schema_checks import SchemaChecks
from flowd.domain.definition import Definition
from flowd.domain.exit import Exit
from flowd.domain.flow import BrokenPackage, Flow, Origin, Retry, Runner, Snapshot, Step, Trigger
from flowd.domain.launching import Command, KeeperRecord, Launch, StepContext
from flowd.domain.redaction import Redactor
from flowd.domain.run import Run
from flowd.domain.stored import RunFilter
from flowd.settings import sources as settings_sources
from flowd.store.sqlite.store import SqliteStore

MAX_PARALLEL = 3
RETRY_MS = 1_000
STEPS = ("plain", "again")
"""Each in a flow of its own name, triggered by ``go``. ``again`` has a retry policy: three attempts in all."""

CRASH_POINTS = (
    "accept", "add_runs", "claim", "finish", "requeue", "cancel_queued", "request_cancel", "retry",
    "end_package_wait", "fail_removed",
)  # fmt: skip


class Clock:
    """Both clocks. The steady one is read from the wall clock at a start."""

    def __init__(self) -> None:
        self.wall_ms = self._steady_ms = 1_000_000
        self.timers: list[tuple[int, Callable[[], None], asyncio.TimerHandle]] = []

    def now_ms(self) -> int:
        return self.wall_ms

    def steady_ms(self) -> int:
        return self._steady_ms

    def restart(self) -> None:
        self._steady_ms = self.wall_ms
        self.timers.clear()

    def call_later(self, delay: float, callback: Callable[[], None], /) -> asyncio.TimerHandle:
        handle = asyncio.get_running_loop().call_later(86_400, callback)
        self.timers.append((self._steady_ms + round(delay * 1000), callback, handle))
        return handle

    def pass_time(self, ms: int) -> None:
        self.wall_ms += ms
        self._steady_ms += ms
        due = [timer for timer in self.timers if timer[0] <= self._steady_ms]
        self.timers = [timer for timer in self.timers if timer[0] > self._steady_ms]
        for _, callback, handle in due:
            if not handle.cancelled():
                handle.cancel()
                callback()


class Packages:
    """The catalog: both flows, each in a version of its own, or missing, or broken from the start."""

    def __init__(self) -> None:
        self.versions: dict[str, int | None] = dict.fromkeys(STEPS, 1)
        self.is_broken = False
        self.snapshot = Snapshot()
        self.change()

    def change(self) -> None:
        """Take what was set into the snapshot."""
        flows = tuple(
            Flow(
                name=name,
                version=version,
                root=f"/{name}",
                origin=Origin.SOURCE,
                steps=(
                    Step(
                        name,
                        Runner.EXEC,
                        "x",
                        timeout_ms=1000,
                        grace_ms=100,
                        trigger=Trigger("go"),
                        retry=Retry(3, ("exit",), RETRY_MS) if name == "again" else None,
                    ),
                ),
                package_hash=f"sha256:{version}",
            )
            for name, version in self.versions.items()
            if version is not None
        )
        missing = [name for name, version in self.versions.items() if version is None] if self.is_broken else []
        broken = tuple(
            BrokenPackage(f"/{name}", name, Origin.SOURCE, "flow.toml", "bad", "Mend it.") for name in missing
        )
        self.snapshot = Snapshot(flows, broken)

    async def reload(self) -> Snapshot:
        return self.snapshot


class Keeper:
    """Keeps steps that end as they are told. It outlives the daemon."""

    id = "keeper"
    pid = 1

    def __init__(self) -> None:
        self.running: set[str] = set()
        self.exits: dict[str, Exit] = {}
        self.starts: list[str] = []
        self._waiting: dict[str, asyncio.Future[Exit]] = {}

    def records(self) -> list[KeeperRecord]:
        running = [KeeperRecord(id=name, state="running") for name in sorted(self.running)]
        return running + [KeeperRecord(id=name, state="exited") for name in self.exits]

    async def start(self, launch: Launch) -> int:
        self.starts.append(launch.attempt_id)
        self.running.add(launch.attempt_id)
        return 1

    async def wait(self, attempt_id: str) -> Exit:
        if attempt_id not in self.exits:
            self._waiting[attempt_id] = asyncio.get_running_loop().create_future()
            return await self._waiting[attempt_id]
        return self.exits[attempt_id]

    async def knows(self, attempt_id: str) -> bool:
        return attempt_id in self.running or attempt_id in self.exits

    def remembers(self, worker_id: str) -> bool:
        return True

    async def end_strays(self, attempt_id: str) -> None:
        self.running.discard(attempt_id)

    async def stop(self, attempt_id: str, *, cause: str, grace_s: float) -> None:
        if attempt_id in self.running:
            self.end(attempt_id, Exit(signal=15, cause="canceled"))

    async def forget(self, attempt_id: str) -> None:
        self.exits.pop(attempt_id, None)

    def end(self, attempt_id: str, exit_: Exit) -> None:
        self.running.remove(attempt_id)
        self.exits[attempt_id] = exit_
        waiting = self._waiting.pop(attempt_id, None)
        if waiting is not None and not waiting.done():
            waiting.set_result(exit_)


class Runners:
    async def command(self, definition: Definition, context: StepContext) -> Command:
        return Command(("x",), "/", {}, b"")


class MortalStore(SqliteStore):
    """A store in which one call of one kind never comes back, before it has done anything or after its commit."""

    def __init__(self, path: Path) -> None:
        super().__init__(path, max_queued=1000)
        self.arming: tuple[str, str] | None = None
        self.died_at: tuple[str, str] | None = None
        self.under_way = 0
        self.changed = asyncio.Event()

    async def tracked(self, name: str, work: Callable[[], Awaitable[Any]]) -> Any:
        await self._pass(name, "before")
        self.under_way += 1
        try:
            value = await work()
        finally:
            self.under_way -= 1
            self.changed.set()
        await self._pass(name, "after")
        return value

    async def _pass(self, name: str, when: str) -> None:
        if self.arming == (name, when):
            self.died_at, self.arming = self.arming, None
            self.changed.set()
            await asyncio.Event().wait()


def _track(name: str) -> Callable[..., Coroutine[Any, Any, Any]]:
    original = getattr(SqliteStore, name)

    async def method(self: MortalStore, *args: Any, **kwargs: Any) -> Any:
        return await self.tracked(name, lambda: original(self, *args, **kwargs))

    return method


for _name in (
    *CRASH_POINTS,
    "event",
    "run",
    "runs",
    "left_running",
    "steps_missed",
    "shorten_waits",
    "output",
    "note_start",
):
    setattr(MortalStore, _name, _track(_name))


class Hashes:
    """The hashes of packages that are on no disk."""

    async def now(self, root: str, script: str) -> str | None:
        """None."""
        return None


class World:
    """A daemon's engine, its surroundings, and what is asked of it."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.clock = Clock()
        self.packages = Packages()
        self.keeper = Keeper()
        flags = {"state_dir": folder, "max_parallel": MAX_PARALLEL}
        self._settings = settings_sources.load(workspace=folder, flags=flags)
        self._calls: set[asyncio.Task[Any]] = set()
        self.refused: list[str] = []

    async def open(self) -> None:
        """Start a daemon."""
        self._others = asyncio.all_tasks()
        self.clock.restart()
        self.store = MortalStore(self.folder / "flowd.db")
        self.engine, _ = wiring.assemble(
            self._settings,
            store=self.store,
            keeper=self.keeper,
            catalog=self.packages,
            checks=SchemaChecks(budget_s=1),
            packages=Hashes(),
            runners=Runners(),
            redactor=Redactor((), {}),
            clock=self.clock,
            call_later=self.clock.call_later,
        )
        self._is_open = asyncio.Event()
        self._end = asyncio.Event()
        self._life = asyncio.create_task(self._live(), name="life")
        await self._is_open.wait()
        await self.settle()

    async def _live(self) -> None:
        async with asyncio.TaskGroup() as tasks:
            await self.engine.open(tasks)
            self._is_open.set()
            await self._end.wait()
            for task in asyncio.all_tasks():
                if task.get_name().startswith("run "):
                    task.cancel()

    async def die(self) -> None:
        """End the daemon as a kill does: whatever waits for something is never gone on with."""
        self.engine.drain()  # else a place that a cancelled task gives back would be given away
        for task in self._calls:
            task.cancel()
        await asyncio.gather(*self._calls, return_exceptions=True)
        everything = asyncio.all_tasks() - self._others - {self._life}
        self._end.set()
        for task in everything:
            task.cancel()
        await asyncio.gather(self._life, *everything, return_exceptions=True)
        for _, _, handle in self.clock.timers:
            handle.cancel()
        await self.store.close()

    async def stop(self) -> None:
        """End the daemon as it ends by itself, leaving its steps to the keeper."""
        self.engine.drain()
        await self.settle()
        assert not self.engine.is_idle or not self.keeper.running
        await self.die()

    def call(self, work: Coroutine[Any, Any, Any]) -> None:
        """Ask the engine for something. A refusal is noted."""

        async def ask() -> None:
            try:
                await work
            except Exception as error:
                self.refused.append(getattr(error, "slug", repr(error)))

        task = asyncio.create_task(ask())
        self._calls.add(task)
        task.add_done_callback(self._calls.discard)

    async def settle(self) -> None:
        """Return when nothing goes on any more but what waits for an outside."""
        quiet = 0
        while quiet < 12:
            if self.store.under_way:
                self.store.changed.clear()
                await self.store.changed.wait()
                quiet = 0
            else:
                await asyncio.sleep(0)
                quiet += 1

    async def look(self) -> list[Run]:
        """All runs, oldest first."""
        page = await SqliteStore.runs(self.store, RunFilter(), limit=500, cursor=None)
        return list(reversed(page.items))
