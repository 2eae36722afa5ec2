"""The real engine on a real store, in surroundings that are set by hand, and a way to die."""

import asyncio
import functools
import inspect
import tempfile
from collections.abc import Awaitable, Callable, Coroutine, Iterable
from pathlib import Path
from typing import Any

from model import flows
from model.acts import MAX_TREE_EVENTS, Act
from model.surroundings import Clock, Hashes, Keeper, Packages, Runners, later
from model.times import LOOK_MS

from flowd import wiring
from flowd.catalog.schema_checks import SchemaChecks
from flowd.domain.filters import RunFilter
from flowd.domain.pauses import Paused
from flowd.domain.people import Person, ResolutionStatus
from flowd.domain.redaction import Redactor
from flowd.domain.run import Run
from flowd.settings import sources as settings_sources
from flowd.store.sql.readers import Readers
from flowd.store.sqlite.connection import open_writer
from flowd.store.sqlite.store import SqliteStore

MAX_PARALLEL = 3

CRASH_POINTS = (
    "accept", "add_runs", "claim", "finish", "requeue", "cancel_queued", "request_cancel", "retry", "resolve", "answer",
    "end_package_wait", "fail_removed", "begin_pause", "take_back", "end_pause", "let_go",
    "call_off", "end_called_off",
)  # fmt: skip
ME = Person("socket", 0, "me")


@functools.cache
def _empty_database() -> bytes:
    """With its schema, which takes longer to make than a sequence."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "flowd.db"
        open_writer(path).close()
        return path.read_bytes()


def _paused(scope: str) -> Paused:
    flow, _, step = scope.partition("/")
    return Paused(None if scope == "*" else flow, step or None)


class _AtOnce(Readers):
    """Reads here and now: the turn of another thread takes longer than a question."""

    async def ask(self, question: Callable[[Any], Any]) -> Any:
        return self._ask(question)


class MortalStore(SqliteStore):
    """A store in which one call of one kind never comes back, before it has done anything or after its commit."""

    def __init__(self, path: Path, clock: Clock) -> None:
        super().__init__(path, max_queued=1000, max_tree_events=MAX_TREE_EVENTS, clock=clock)
        self._readers = _AtOnce(self._database)
        self.arming: tuple[str, str] | None = None
        self.died_at: tuple[str, str] | None = None
        self.has_claimed = False
        """Whether any run got a place, or was found to have no package, since this was set."""
        self.under_way = 0
        self.changed = asyncio.Event()

    async def tracked(self, name: str, work: Callable[[], Awaitable[Any]]) -> Any:
        await self._pass(name, "before")
        self.under_way += 1
        try:
            value = await work()
            claimed = value if name == "claim" else getattr(value, "claimed", None)  # accepts and ends claim, too
            self.has_claimed |= claimed is not None and bool(claimed.started or claimed.is_missing_package)
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


for _name, _method in inspect.getmembers(SqliteStore):
    if inspect.iscoroutinefunction(_method) and not _name.startswith("_") and _name != "close":
        setattr(MortalStore, _name, _track(_name))


class World:
    """A daemon's engine, its surroundings, and what is asked of it."""

    def __init__(self, folder: Path, declared: Iterable[flows.Flow]) -> None:
        self.folder = folder
        self.clock = Clock()
        self.packages = Packages(declared)
        self.keeper = Keeper()
        flags = {"state_dir": folder, "max_parallel": MAX_PARALLEL, "max_tree_events": MAX_TREE_EVENTS}
        self._settings = settings_sources.load(workspace=folder, flags=flags)
        self._calls: set[asyncio.Task[Any]] = set()
        self.refused: list[str] = []
        self.seen: list[Run] = []
        (folder / "flowd.db").write_bytes(_empty_database())

    async def open(self) -> None:
        """Start a daemon."""
        self._others = asyncio.all_tasks()
        self.clock.restart()
        self.store = MortalStore(self.folder / "flowd.db", self.clock)
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
        """All runs, oldest first; ``seen`` from then on."""
        page = await SqliteStore.runs(self.store, RunFilter(), limit=500, cursor=None)
        self.seen = list(reversed(page.items))
        return self.seen

    # --- what is asked of it

    async def perform(self, act: Act) -> None:
        """Let an act happen to it, and let it come to rest."""
        await getattr(self, f"_{act.verb}")(*act.arguments)
        await self.settle()

    async def _restart(self) -> None:
        await self.die()
        await self.open()

    async def _stop(self) -> None:
        await self.stop()
        await self.open()

    async def _accept(self, event: str, type_: str, key: str, not_before_ms: int | None) -> None:
        self.call(
            self.engine.sending.dispatch({"id": event, "type": type_, "payload": {"key": key}, **later(not_before_ms)})
        )

    async def _dispatch_from(self, number: int, event: str, type_: str, key: str, not_before_ms: int | None) -> None:
        run = self.seen[number]
        value = {"id": event, "type": type_, "payload": {"key": key}, **later(not_before_ms)}
        self.call(self.engine.sending.dispatch(value, caused_by=run.id))

    async def _replay(self, event: str, names: tuple[str, ...] | None, and_below: bool) -> None:
        self.call(
            self.engine.sending.replay(event, None if and_below else names, from_steps=names if and_below else None)
        )

    async def _exit(self, number: int, end: flows.End) -> None:
        run = self.seen[number]
        self.keeper.end(run.attempts[-1].id, end)

    async def _cancel(self, number: int) -> None:
        self.call(self.engine.cancels.run(self.seen[number].id))

    async def _retry(self, number: int) -> None:
        self.call(self.engine.sending.retry_run(self.seen[number].id))

    async def _resolve(self, number: int, status: ResolutionStatus) -> None:
        self.call(self.engine.questions.resolve(self.seen[number].id, status, by=ME))

    async def _answer(self, number: int) -> None:
        self.call(self.engine.questions.answer(self.seen[number].id, None, by=ME))

    async def _parallel(self, places: int) -> None:
        self.engine.set_max_parallel(places)

    async def _cancel_event(self, event: str, is_tree: bool) -> None:
        self.call(self.engine.cancels.event(event, is_tree=is_tree, by=ME))

    async def _pause(self, scope: str) -> None:
        self.call(self.engine.pauses.pause(_paused(scope), by=ME))

    async def _resume(self, scope: str) -> None:
        self.call(self.engine.pauses.resume(_paused(scope), by=ME))

    async def _pass_time(self, ms: int) -> None:
        self.clock.pass_time(ms)

    async def _step_clock(self, ms: int) -> None:
        self.clock.wall_ms += ms
        self.clock.pass_time(LOOK_MS)

    async def _edit(self, flow: str, version: int | None, is_broken: bool) -> None:
        self.packages.versions[flow], self.packages.is_broken = version, is_broken
        self.packages.change()
        self.engine.packages_changed(self.packages.snapshot)
