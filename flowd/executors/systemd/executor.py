"""The executor ``systemd``: each attempt is a transient service, and systemd is the parent of all steps."""

import asyncio
import hashlib
import logging
import os
import signal
from collections.abc import Awaitable, Callable, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

from flowd.domain.errors import StateError
from flowd.domain.ids import parse_attempt_id, unit_name
from flowd.domain.run import Exit
from flowd.executors.systemd import cgroups, properties
from flowd.executors.systemd.bus import SHUTTING_DOWN, UNIT_EXISTS, BusError, Manager, Scope, unit_path
from flowd.executors.systemd.detached import Detached, is_empty, let_go
from flowd.executors.systemd.following import Follower, TrackedUnit, exit_from
from flowd.executors.systemd.unit_records import UnitRecord, UnitRecords, is_fit
from flowd.ports import KeeperLostError, Launch, NoRoomError, SpawnError

log = logging.getLogger("flowd.units")

TICK_S = 0.25
"""How often output sizes are looked at."""
FLOOD_FACTOR = 4
"""A step that goes on writing while it is being ended for its output gets no grace beyond this many times the limit."""
_STOP_MARGIN_S = 30.0
_PATIENCE_S = 20.0
"""At boot, a service may come up before its user's manager."""


class SystemdExecutor:
    """A `flowd.ports.Keeper` that asks a systemd manager.

    Nothing of it must stay alive for steps to go on: systemd remembers how units ended until we have read it, and the
    notes on disk say which are ours. So there is no orphan grace either: without a daemon, steps end by their timeouts.
    """

    def __init__(
        self,
        directory: Path,
        *,
        base_env: Mapping[str, str],
        scope: Scope,
        boot_id: str,
        environ: Mapping[str, str] = os.environ,
        on_lost: Callable[[KeeperLostError], None] | None = None,
    ) -> None:
        """Nothing happens before `open`.

        Args:
            directory: Private to us; holds the notes and what units read at their start.
            base_env: The environment of steps, below what each launch adds.
            boot_id: Names this boot: units of another one are gone.
            on_lost: Called when the connection to systemd is lost; every waiting call raises then.
        """
        self._notes = UnitRecords(directory / "units")
        self._detached = Detached(directory / "units" / "detached")
        self._workspace_mark = hashlib.sha256(os.fsencode(directory.absolute())).hexdigest()[:8]
        self._base_env = {name: value for name, value in base_env.items() if is_fit(value)}
        self._scope: Scope = scope
        self._environ = environ
        self._on_lost = on_lost
        self._boot_id = boot_id
        self._units: dict[str, TrackedUnit] = {}
        self._by_path: dict[str, TrackedUnit] = {}
        self._records: tuple[dict[str, Any], ...] = ()
        self._tasks: set[asyncio.Task[None]] = set()
        self._failure: KeeperLostError | None = None
        self._manager: Manager | None = None
        self._controllers: frozenset[str] = frozenset()

    @property
    def id(self) -> str:
        """Names systemd's manager."""
        return f"systemd-{self._scope}"

    @property
    def pid(self) -> int | None:
        """systemd is no process of ours."""
        return None

    @property
    def restarts(self) -> int:
        """None that we would see."""
        return 0

    @property
    def capabilities(self) -> frozenset[str]:
        """The cgroup controllers that limits can be kept with."""
        return self._controllers

    def records(self) -> tuple[dict[str, Any], ...]:
        """What was known at `open`: ``id`` and ``state`` (running, exited) of every attempt."""
        return self._records

    async def open(self) -> None:
        """Connect, and take up the units of an earlier daemon.

        Raises:
            NotYetError: There is no systemd to ask; the message has the remedy.
            StateError: It does not tell what became of steps.
        """
        patience_s = _PATIENCE_S if self._environ.get("NOTIFY_SOCKET") else 0.0
        self._manager = manager = await Manager.connect(self._scope, self._environ, patience_s=patience_s)
        try:
            self._follower = Follower(manager, self._notes)
            self._controllers = await cgroups.controllers(manager)
            await manager.watch(self._on_changed)
            for note in self._notes.open().values():
                await self._adopt(note)
        except (BusError, OSError) as error:
            raise StateError(f"Cannot take up steps from systemd: {error}") from error
        self._records = tuple(
            {"id": name, "state": "running" if unit.exit is None else "exited"} for name, unit in self._units.items()
        )
        self._spawn(self._watch_bus, manager)
        self._spawn(self._tick)
        self._spawn(self._detached.follow, manager)

    async def close(self, *, end_steps: bool) -> None:
        """Hang up. Waiting calls raise `KeeperLostError`.

        Args:
            end_steps: Stop all units first, each with its grace; else they go on without us.
        """
        if end_steps and self._failure is None:
            running = [unit for unit in self._units.values() if unit.exit is None]
            try:
                for unit in running:
                    await self._bus.stop(unit.note.unit)
                if running:
                    bound_s = max(unit.note.grace_s for unit in running) + _STOP_MARGIN_S
                    await asyncio.wait_for(asyncio.gather(*(unit.ended.wait() for unit in running)), bound_s)
            except (BusError, TimeoutError):
                pass
        self._on_lost = None
        self._fail(KeeperLostError("flowd is closing its connection to systemd"))
        for task in tuple(self._tasks):
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        if self._manager is not None:
            await self._manager.close()

    async def start(self, launch: Launch) -> int:
        """Start a step and return its pid. Its note is on disk before systemd is asked.

        Raises:
            NoRoomError: The disk is full, and nothing runs.
            SpawnError: It could not be started, and nothing runs.
            KeeperLostError: The connection to systemd was lost, or its manager is being shut down; ask `knows`.
        """
        self._check()
        note = self._note(launch)
        try:
            unit_properties = await asyncio.to_thread(self._prepare, launch, note)
        except OSError as error:
            self._discard(launch)
            kind = NoRoomError if error.errno in (28, 122) else SpawnError  # ENOSPC, EDQUOT
            raise kind(f"The step's files could not be made: {error}") from error
        except SpawnError:
            self._discard(launch)
            raise
        unit = self._units[launch.attempt_id] = TrackedUnit(note)
        try:
            await self._start_unit(note, unit_properties)
            about = await self._follower.until_started(unit)
        except BusError as error:
            raise await self._start_failed(launch, error) from error
        except TimeoutError:  # systemd has its start still to do: it is followed like one that runs
            self._spawn(self._follow, unit)
            return 0
        if why := properties.refusal(about, launch):
            with suppress(BusError):
                await self._bus.reset_failed(note.unit)
            self._discard(launch)
            raise SpawnError(why)
        note.is_started = True
        await asyncio.to_thread(self._settled, note)
        self._spawn(self._follow, unit)
        return int(about["ExecMainPID"])

    async def wait(self, attempt_id: str) -> Exit:
        """How the attempt ended; without code and signal when that was never seen, or for an unknown attempt.

        Raises:
            KeeperLostError: The connection to systemd was lost, or closed.
        """
        unit = self._units.get(attempt_id)
        if unit is None:
            return Exit()
        await unit.ended.wait()
        if unit.exit is None:
            raise self._failure or KeeperLostError("The connection to systemd is closed")
        return unit.exit

    async def knows(self, attempt_id: str) -> bool:
        """Whether this attempt was begun and is not forgotten. False: no process of it was ever started."""
        self._check()
        return attempt_id in self._units

    async def stop(self, attempt_id: str, *, cause: str, grace_s: float) -> None:
        """Ask for the end of an attempt: SIGTERM to its whole cgroup, SIGKILL after the grace. Idempotent."""
        self._check()
        unit = self._units.get(attempt_id)
        if unit is None or unit.exit is not None:
            return
        try:
            if unit.note.cause is None and not properties.has_ended(await self._bus.describe_at(unit.path)):
                unit.note.cause = cause
                await asyncio.to_thread(self._notes.write, unit.note)
            if grace_s <= 0:
                await self._bus.kill(unit.note.unit, signal.SIGKILL)
            elif grace_s < unit.note.grace_s and unit.killing is None:  # the unit itself has the longer one
                unit.killing = asyncio.get_running_loop().call_later(grace_s, self._kill_soon, unit)
            await self._bus.stop(unit.note.unit)
        except BusError as error:
            raise KeeperLostError(f"systemd did not stop {unit.note.unit}: {error}") from error

    async def forget(self, attempt_id: str) -> None:
        """The attempt's outcome is on disk: drop its note, and let systemd drop the unit. Idempotent."""
        unit = self._units.get(attempt_id)
        if unit is None or unit.exit is None:
            return
        is_kept = await self._is_kept(unit)
        if is_kept:
            await asyncio.to_thread(self._detached.add, unit.note.unit)
        await asyncio.to_thread(self._notes.remove, attempt_id)
        self._units.pop(attempt_id, None)
        self._by_path.pop(unit.path, None)
        if not is_kept:
            self._spawn(let_go, self._bus, unit.note.unit)

    async def release(self) -> None:
        """Let systemd drop the units of all attempts that have ended: their notes say how, to the next daemon."""
        for unit in self._units.values():
            if unit.exit is not None and not await self._is_kept(unit):
                await let_go(self._bus, unit.note.unit)

    async def _is_kept(self, unit: TrackedUnit) -> bool:
        try:
            return unit.note.detach and not await is_empty(self._bus, unit.note.unit)
        except BusError as error:
            raise KeeperLostError(f"systemd did not describe {unit.note.unit}: {error}") from error

    # --- starting

    def _note(self, launch: Launch) -> UnitRecord:
        run, number = parse_attempt_id(launch.attempt_id)
        suffix = "" if number == 1 else f"-{number}"
        return UnitRecord(
            id=launch.attempt_id,
            unit=f"{unit_name(run)}{suffix}.service",
            boot_id=self._boot_id,
            stdout_path=launch.stdout_path,
            stderr_path=launch.stderr_path,
            grace_s=launch.grace_s,
            max_output_bytes=launch.max_output_bytes,
            detach=launch.detach,
        )

    def _prepare(self, launch: Launch, note: UnitRecord) -> list[tuple[str, Any]]:
        for name, value in launch.command.env.items():
            if not is_fit(value):
                raise SpawnError(f"systemd takes no control characters in a variable's value, and {name} has some.")
        stdin = self._notes.stdin(launch.attempt_id, launch.command.stdin)
        environment = self._notes.environment(launch.attempt_id, {**self._base_env, **launch.command.env})
        made = properties.of_launch(launch, stdin=stdin, environment=environment, controllers=self._controllers)
        for path in (launch.stdout_path, launch.stderr_path):
            os.close(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600))
        self._notes.write(note)
        return made

    async def _start_unit(self, note: UnitRecord, unit_properties: list[tuple[str, Any]]) -> None:
        self._by_path[unit_path(note.unit)] = self._units[note.id]
        try:
            await self._bus.start_transient(note.unit, unit_properties)
        except BusError as error:
            if error.name != UNIT_EXISTS:
                raise
            # Another workspace had the same event for a step of the same name: its unit has the name.
            del self._by_path[unit_path(note.unit)]
            note.unit = note.unit.removesuffix(".service") + f"-w{self._workspace_mark}.service"
            await asyncio.to_thread(self._notes.write, note)
            self._by_path[unit_path(note.unit)] = self._units[note.id]
            await self._bus.start_transient(note.unit, unit_properties)

    def _settled(self, note: UnitRecord) -> None:
        self._notes.drop_secrets(note.id)
        self._notes.write(note)

    async def _start_failed(self, launch: Launch, error: BusError) -> Exception:
        if error.is_lost:
            loss = KeeperLostError(f"systemd may have started a step without saying so: {error}")
            self._fail(loss)
            return loss
        note = self._units[launch.attempt_id].note
        self._discard(launch)
        if error.name == SHUTTING_DOWN:
            with suppress(BusError):
                await self._bus.unref(note.unit)  # it is loaded, and would be in the way of the same start later on
            return KeeperLostError(f"systemd ends everything, and starts nothing: {error}")
        return SpawnError(f"systemd refused to start the step: {error}")

    def _discard(self, launch: Launch) -> None:
        """Nothing runs: leave nothing behind."""
        unit = self._units.pop(launch.attempt_id, None)
        if unit is not None:
            self._by_path.pop(unit.path, None)
        self._notes.remove(launch.attempt_id)
        for path in (launch.stdout_path, launch.stderr_path):
            Path(path).unlink(missing_ok=True)

    # --- following

    async def _adopt(self, note: UnitRecord) -> None:
        unit = TrackedUnit(note)
        if note.exit is not None:
            unit.end(exit_from(note.exit))
        elif note.boot_id != self._boot_id:
            unit.end(Exit())  # units do not outlive a boot
        else:
            about = await self._bus.describe_at(unit_path(note.unit))
            if about["LoadState"] == "not-found" and not note.is_started and note.cause is None:
                self._notes.remove(note.id)  # systemd was never asked: what it starts stays until we have read its end
                unit.remove_output()
                return
            await self._hold(note)
            self._by_path[unit_path(note.unit)] = unit
            self._spawn(self._follow, unit)
        self._units[note.id] = unit

    async def _hold(self, note: UnitRecord) -> None:
        try:
            await self._bus.ref(note.unit)
        except BusError as error:
            if error.is_lost:
                raise
            # Its end may be forgotten before we have read it; that is no reason to leave all others alone.
            log.warning("unit cannot be held", extra={"unit": note.unit, "error": str(error)})

    async def _follow(self, unit: TrackedUnit) -> None:
        unit.end(await self._follower.until_ended(unit))

    # --- what happens by itself

    async def _tick(self) -> None:
        while True:
            await asyncio.sleep(TICK_S)
            for unit in [unit for unit in self._units.values() if unit.exit is None and unit.note.is_started]:
                await self._check_output(unit)

    async def _check_output(self, unit: TrackedUnit) -> None:
        note = unit.note
        size = unit.output_bytes()
        if size <= note.max_output_bytes:
            return
        try:
            if note.cause is None:
                await self.stop(note.id, cause="output_limit", grace_s=note.grace_s)
            elif note.cause == "output_limit" and size > note.max_output_bytes * FLOOD_FACTOR:
                await self._bus.kill(note.unit, signal.SIGKILL)
        except (BusError, KeeperLostError, OSError) as error:
            log.warning("output limit not kept", extra={"unit": note.unit, "error": str(error)})

    def _kill_soon(self, unit: TrackedUnit) -> None:
        self._spawn(self._kill, unit)

    async def _kill(self, unit: TrackedUnit) -> None:
        with suppress(BusError):  # it has ended
            await self._bus.kill(unit.note.unit, signal.SIGKILL)

    def _on_changed(self, path: str) -> None:
        unit = self._by_path.get(path)
        if unit is not None:
            unit.changed.set()

    async def _watch_bus(self, manager: Manager) -> None:
        await manager.wait_for_loss()
        self._fail(KeeperLostError("The connection to systemd was lost; units go on, and the next daemon finds them"))

    def _fail(self, error: KeeperLostError) -> None:
        is_first, self._failure = self._failure is None, self._failure or error
        for unit in self._units.values():
            unit.ended.set()
            unit.changed.set()
        if is_first and self._on_lost is not None:
            self._on_lost(error)

    @property
    def _bus(self) -> Manager:
        if self._manager is None:
            raise KeeperLostError("The executor is not open")
        return self._manager

    def _check(self) -> None:
        if self._failure is not None:
            raise self._failure

    def _spawn(self, work: Callable[..., Awaitable[None]], *arguments: object) -> None:
        # Called in the task: one that is cancelled before its first turn leaves nothing behind that nobody awaits.
        task: asyncio.Task[None] = asyncio.get_running_loop().create_task(self._guarded(work, *arguments))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _guarded(self, work: Callable[..., Awaitable[None]], *arguments: object) -> None:
        try:
            await work(*arguments)
        except (BusError, KeeperLostError, OSError) as error:
            if self._failure is None:
                self._fail(KeeperLostError(f"systemd cannot be followed any more: {error}"))
