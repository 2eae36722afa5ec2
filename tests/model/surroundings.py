"""What surrounds the engine: clocks, packages and a keeper that are set by hand."""

import asyncio
import json
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path

from model import flows
from model.model import RETRY_MS

from flowd.domain.concurrency import Concurrency
from flowd.domain.definition import Definition
from flowd.domain.exit import Exit
from flowd.domain.flow import BrokenPackage, Flow, Origin, Snapshot
from flowd.domain.instants import instant
from flowd.domain.launching import Command, KeeperRecord, Launch, StepContext
from flowd.domain.retry import Retry
from flowd.domain.step import Runner, Step, Trigger
from flowd.domain.timing import Debounce


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
    """The catalog: every flow in a version of its own, or missing, or broken from the start."""

    def __init__(self, flows: Iterable[flows.Flow]) -> None:
        self._flows = {flow.name: flow for flow in flows}
        self.versions: dict[str, int | None] = dict.fromkeys(self._flows, 1)
        self.is_broken = False
        self.snapshot = Snapshot()
        self.change()

    def change(self) -> None:
        """Take what was set into the snapshot."""
        there = tuple(
            _flow(self._flows[name].in_version(version), version)
            for name, version in self.versions.items()
            if version is not None
        )
        missing = [name for name, version in self.versions.items() if version is None] if self.is_broken else []
        broken = tuple(
            BrokenPackage(f"/{name}", name, Origin.SOURCE, "flow.toml", "bad", "Mend it.") for name in missing
        )
        self.snapshot = Snapshot(there, broken)

    async def reload(self) -> Snapshot:
        return self.snapshot


def _flow(flow: flows.Flow, version: int) -> Flow:
    return Flow(
        flow.name,
        version,
        f"/{flow.name}",
        Origin.SOURCE,
        tuple(map(_step, flow.steps)),
        package_hash=f"sha256:{version}",
        concurrency=_concurrency(flow.key),
    )


def _step(step: flows.Step) -> Step:
    return Step(
        step.name,
        Runner.EXEC,
        "x",
        timeout_ms=1000,
        grace_ms=100,
        trigger=Trigger(step.type) if step.type else None,
        retry=Retry(step.max_attempts, ("exit",), RETRY_MS) if step.max_attempts > 1 else None,
        needs=step.needs,
        when=step.when,
        concurrency=_concurrency(step.key),
        priority=step.priority,
        delay_ms=step.delay_ms,
        queue_timeout_ms=step.queue_timeout_ms,
        debounce=_debounce(step.quiet),
    )


def _debounce(quiet: flows.Quiet | None) -> Debounce | None:
    return quiet and Debounce(quiet.quiet_ms, quiet.max_ms, ("/payload/key",) if quiet.has_key else ())


def _concurrency(key: flows.Key | None) -> Concurrency | None:
    return key and Concurrency(key.group, ("/payload/key",) if key.member else (), key.limit, key.on_busy)


class Keeper:
    """Keeps steps that end as they are told. It outlives the daemon."""

    id = "keeper"
    pid = 1

    def __init__(self) -> None:
        self.running: dict[str, str] = {}
        """Where each prints to."""
        self.exits: dict[str, Exit] = {}
        self.starts: list[str] = []
        self.stopped: set[str] = set()
        self._waiting: dict[str, asyncio.Future[Exit]] = {}

    def records(self) -> list[KeeperRecord]:
        running = [KeeperRecord(id=name, state="running") for name in sorted(self.running)]
        return running + [KeeperRecord(id=name, state="exited") for name in self.exits]

    async def start(self, launch: Launch) -> int:
        self.starts.append(launch.attempt_id)
        self.running[launch.attempt_id] = launch.stdout_path
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

    can_fence = False

    def lease(self, until_s: Mapping[str, float]) -> None:
        """Its steps have none."""

    async def end_strays(self, attempt_id: str) -> None:
        self.running.pop(attempt_id, None)

    async def stop(self, attempt_id: str, *, cause: str, grace_s: float) -> None:
        """Only note it: the step takes its time, and may end well all the same."""
        self.stopped.add(attempt_id)

    async def forget(self, attempt_id: str) -> None:
        self.exits.pop(attempt_id, None)

    def end(self, attempt_id: str, end: flows.End) -> None:
        """Let a step end, after it has printed its result."""
        path = self.running.pop(attempt_id)
        if end.says is not None:
            result = {"status": end.says, "next": _next(end.next)}
            Path(path).write_text(f"FLOW_RESULT {json.dumps(result)}\n", encoding="utf-8")
        exit_ = Exit(signal=15, cause="canceled") if end.code is None else Exit(code=end.code)
        self.exits[attempt_id] = exit_
        waiting = self._waiting.pop(attempt_id, None)
        if waiting is not None and not waiting.done():
            waiting.set_result(exit_)


def _next(events: Sequence[flows.NextEvent] | None) -> object:
    if events is None:
        return "no list"
    return [
        {"type": event.type, "payload": {"key": event.key}, **later(event.not_before_ms)}
        | ({"id": event.id} if event.id else {})
        for event in events
    ]


def later(not_before_ms: int | None) -> dict[str, str]:
    """What an event says of when its runs may start."""
    return {} if not_before_ms is None else {"notBefore": instant(not_before_ms)}


class Runners:
    async def command(self, definition: Definition, context: StepContext) -> Command:
        return Command(("x",), "/", {}, b"")


class Hashes:
    """The hashes of packages that are on no disk."""

    async def now(self, root: str, script: str) -> str | None:
        """None."""
        return None
