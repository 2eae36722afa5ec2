"""The executor ``systemd``: asks a systemd manager to start and end steps, and adopts what an earlier daemon left."""

import asyncio
import hashlib
import logging
import os
import signal
from collections.abc import Callable, Mapping
from contextlib import suppress
from pathlib import Path

from flowd.domain.errors import StateError
from flowd.domain.exit import Exit
from flowd.domain.launching import KeeperLostError, KeeperRecord, Launch, SpawnError
from flowd.executors.systemd import cgroups, output_watch, properties, strays
from flowd.executors.systemd.adoption import adopt
from flowd.executors.systemd.background import BackgroundWork
from flowd.executors.systemd.bus import BusError, Manager
from flowd.executors.systemd.detached import DetachedUnits, is_empty, release_unit
from flowd.executors.systemd.follower import UnitFollower
from flowd.executors.systemd.starter import UnitStarter, default_unit, marked_unit
from flowd.executors.systemd.tracked_unit import TrackedUnit, TrackedUnits
from flowd.executors.systemd.unit_records import UnitRecords
from flowd.observe.own_unit import Scope

log = logging.getLogger("flowd.keeper")

_CLOSE_MARGIN_S = 30.0
_MANAGER_WITHIN_S = 20.0
"""At boot, a service may come up before its user's manager."""


class SystemdExecutor:
    """A `flowd.ports.Keeper`.

    Nothing of it must stay alive for steps to go on: systemd remembers how units ended until we have read it, and the
    records on disk say which are ours. So there is no orphan grace: without a daemon, steps end by their timeouts.
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
            directory: Private to us; holds the records and what units read at their start.
            base_env: The environment of steps, below what each launch adds.
            boot_id: Names this boot: units of another one are gone.
            on_lost: Called when the connection to systemd is lost; every waiting call raises then.
        """
        self._directory = directory.absolute()
        self._records_on_disk = UnitRecords(directory / "units")
        self._workspace_mark = hashlib.sha256(os.fsencode(self._directory)).hexdigest()[:8]
        self._detached = DetachedUnits(directory / "units" / "detached", state_dir=self._directory.parent)
        self._base_env = base_env
        self._scope: Scope = scope
        self._environ = environ
        self._on_lost = on_lost
        self._boot_id = boot_id
        self._units = TrackedUnits()
        self._starting: dict[str, asyncio.Task[int]] = {}
        self._records: tuple[KeeperRecord, ...] = ()
        self._background = BackgroundWork(self._cannot_go_on)
        self._failure: KeeperLostError | None = None
        self._manager: Manager | None = None
        self._controllers: frozenset[str] = frozenset()

    @property
    def id(self) -> str:
        """Names systemd's manager."""
        return f"systemd-{self._scope}"

    @property
    def pid(self) -> int | None:
        """None: systemd is not flowd's process."""
        return None

    @property
    def restarts(self) -> int:
        """0: a manager that is executed anew is not seen."""
        return 0

    @property
    def outdated(self) -> None:
        """None: systemd keeps what its own version can."""
        return None

    @property
    def can_fence(self) -> bool:
        """False: systemd ends a unit by its timeout alone, and nothing of ours lives on without a daemon."""
        return False

    def lease(self, until_s: Mapping[str, float]) -> None:
        """Nothing, see `can_fence`."""

    def remembers(self, worker_id: str) -> bool:  # noqa: ARG002 - systemd stays the same one
        """See `flowd.ports.Keeper.remembers`. What counts is our own folder, as it was found."""
        return not self._records_on_disk.is_new

    def restore(self) -> None:
        """Write the records again that somebody has removed."""
        if not self._records_on_disk.is_there():
            log.warning("unit records removed", extra={"folder": str(self._directory), "remedy": "they are made again"})
            self._records_on_disk.restore([unit.record for unit in self._units])

    async def end_strays(self, attempt_id: str) -> None:
        """See `flowd.ports.Keeper.end_strays`."""
        with suppress(BusError, KeeperLostError):  # most have no such unit
            units = (default_unit(attempt_id), marked_unit(attempt_id, self._workspace_mark))
            await strays.end(self._bus, units, records=self._directory / "units")

    def records(self) -> tuple[KeeperRecord, ...]:
        """What was known of every attempt at `open`."""
        return self._records

    async def open(self) -> None:
        """Connect, and adopt the units of an earlier daemon.

        Raises:
            NotYetError: There is no systemd to ask; the message has the remedy.
            StateError: It does not say what has become of steps.
        """
        patience_s = _MANAGER_WITHIN_S if self._environ.get("NOTIFY_SOCKET") else 0.0
        self._manager = manager = await Manager.connect(self._scope, self._environ, patience_s=patience_s)
        try:
            self._follower = UnitFollower(manager, self._records_on_disk)
            self._controllers = await cgroups.controllers(manager)
            await manager.watch(self._units.on_changed)
            for record in self._records_on_disk.open().values():
                unit = await adopt(manager, record, self._records_on_disk, boot_id=self._boot_id)
                if unit is not None:
                    self._units.add(unit)
                    if unit.is_running:
                        self._background.start(self._follow, unit)
        except (BusError, OSError) as error:
            raise StateError(f"Cannot adopt the steps that systemd runs: {error}") from error
        self._starter = UnitStarter(
            manager,
            self._follower,
            records=self._records_on_disk,
            units=self._units,
            base_env=self._base_env,
            controllers=self._controllers,
            boot_id=self._boot_id,
            workspace_mark=self._workspace_mark,
        )
        self._records = tuple(
            KeeperRecord(id=unit.record.id, state="running" if unit.is_running else "exited") for unit in self._units
        )
        self._background.start(self._watch_bus, manager)
        self._background.start(output_watch.watch, manager, self._units, self.stop)
        self._background.start(self._detached.watch, manager)

    async def close(self, *, end_steps: bool) -> None:
        """Disconnect from systemd. Waiting calls raise `KeeperLostError`.

        Args:
            end_steps: Stop all units first, each with its grace; else they go on without us.
        """
        if end_steps and self._failure is None:
            with suppress(BusError, KeeperLostError, TimeoutError):
                await self._end_all()
        self._on_lost = None
        self._fail(KeeperLostError("flowd is closing its connection to systemd"))
        starting = tuple(self._starting.values())
        for task in starting:
            task.cancel()
        await asyncio.gather(*starting, return_exceptions=True)
        await self._background.cancel()
        if self._manager is not None:
            await self._manager.close()

    async def start(self, launch: Launch) -> int:
        """Start a step and return its pid; 0 when it was started before and has ended, or systemd has it still to do.

        Its record is on disk before systemd is asked. Cancelling this call does not undo the start.

        Raises:
            NoRoomError: The disk is full, and nothing runs.
            SpawnError: It could not be started, and nothing runs.
            KeeperLostError: The connection to systemd was lost, or its manager is shutting down; ask `knows`.
        """
        if launch.lease_until_s is not None:
            raise SpawnError(
                'The executor "systemd" keeps no leases; steps of a shared store need executor = "direct".'
            )
        self._check()
        self._records_on_disk.is_new = False  # of this attempt we do know
        starting = self._starting.get(launch.attempt_id)
        if starting is None:
            if (unit := self._units.get(launch.attempt_id)) is not None:
                return await self._pid(unit)
            starting = asyncio.get_running_loop().create_task(self._start(launch))
            self._starting[launch.attempt_id] = starting
            starting.add_done_callback(lambda done: self._started(launch.attempt_id, done))
        return await asyncio.shield(starting)

    async def wait(self, attempt_id: str) -> Exit:
        """How the attempt ended; without code and signal when that was never seen, or for an unknown attempt.

        Cancelling this call changes nothing else.

        Raises:
            KeeperLostError: The connection to systemd was lost, or closed.
        """
        unit = self._units.get(attempt_id)
        return Exit() if unit is None else await unit.wait()

    async def knows(self, attempt_id: str) -> bool:
        """Whether this attempt was begun and is not forgotten. False: no process of it was ever started.

        Raises:
            KeeperLostError: The connection to systemd was lost, or closed.
        """
        self._check()
        if (starting := self._starting.get(attempt_id)) is not None:
            await asyncio.wait([starting])
            self._check()
        return self._units.get(attempt_id) is not None

    async def stop(self, attempt_id: str, *, cause: str, grace_s: float) -> None:
        """Ask for the end of an attempt: SIGTERM to its whole cgroup, SIGKILL after ``grace_s``. Idempotent.

        Raises:
            KeeperLostError: The connection to systemd was lost, or closed, or it refused.
        """
        self._check()
        unit = self._units.get(attempt_id)
        if unit is None or not unit.is_running:
            return
        try:
            if unit.record.cause is None and not properties.has_ended(await self._bus.describe_at(unit.path)):
                unit.record.cause = cause
                await asyncio.to_thread(self._records_on_disk.write, unit.record)
            if grace_s <= 0:
                await self._bus.kill(unit.record.unit, signal.SIGKILL)
            elif grace_s < unit.record.grace_s and unit.kill_timer is None:  # the unit itself has the longer one
                loop = asyncio.get_running_loop()
                unit.kill_timer = loop.call_later(grace_s, self._background.start, self._kill, unit)
            await self._bus.stop(unit.record.unit)
        except BusError as error:
            raise KeeperLostError(f"systemd did not stop {unit.record.unit}: {error}") from error

    async def forget(self, attempt_id: str) -> None:
        """Forget an attempt whose outcome is on disk, and have systemd forget the unit. Idempotent."""
        unit = self._units.get(attempt_id)
        if unit is None or unit.is_running:
            return
        is_kept = await self._is_kept(unit)
        if is_kept:
            await asyncio.to_thread(self._detached.add, unit.record.unit)
        await asyncio.to_thread(self._records_on_disk.remove, attempt_id)
        self._units.remove(unit)
        if not is_kept:
            self._background.start(release_unit, self._bus, unit.record.unit)

    async def release(self) -> None:
        """Have systemd forget the units of all attempts that have ended. The records say how, to the next daemon."""
        for unit in self._units:
            if not unit.is_running and not await self._is_kept(unit):
                await release_unit(self._bus, unit.record.unit)

    # --- starting and following

    async def _start(self, launch: Launch) -> int:
        try:
            unit, pid = await self._starter.start(launch)
        except BusError as error:
            loss = KeeperLostError(f"systemd may have started a step, but did not confirm it: {error}")
            self._fail(loss)
            raise loss from error
        self._background.start(self._follow, unit)
        return pid

    def _started(self, attempt_id: str, done: "asyncio.Task[int]") -> None:
        self._starting.pop(attempt_id, None)
        if not done.cancelled():
            done.exception()  # its caller may have been cancelled

    async def _pid(self, unit: TrackedUnit) -> int:
        try:
            about = await self._bus.describe_at(unit.path)
        except BusError as error:
            raise KeeperLostError(f"systemd did not describe {unit.record.unit}: {error}") from error
        return 0 if properties.has_ended(about) else int(about["ExecMainPID"])

    async def _follow(self, unit: TrackedUnit) -> None:
        unit.end(await self._follower.until_ended(unit))

    # --- ending

    async def _end_all(self) -> None:
        running = self._units.running()
        for unit in running:
            await self._bus.stop(unit.record.unit)
        bound_s = max((unit.record.grace_s for unit in running), default=0.0) + _CLOSE_MARGIN_S
        await asyncio.wait_for(asyncio.gather(*(unit.wait() for unit in running)), bound_s)

    async def _kill(self, unit: TrackedUnit) -> None:
        with suppress(BusError):  # it has ended
            await self._bus.kill(unit.record.unit, signal.SIGKILL)

    async def _is_kept(self, unit: TrackedUnit) -> bool:
        """Whether something is left in the unit on purpose."""
        try:
            return unit.record.detach and not await is_empty(self._bus, unit.record.unit)
        except BusError as error:
            raise KeeperLostError(f"systemd did not describe {unit.record.unit}: {error}") from error

    # --- the connection, and what runs in the background

    @property
    def _bus(self) -> Manager:
        if self._manager is None:
            raise KeeperLostError("The executor is not open")
        return self._manager

    def _check(self) -> None:
        if self._failure is not None:
            raise self._failure

    async def _watch_bus(self, manager: Manager) -> None:
        await manager.wait_for_loss()
        self._fail(KeeperLostError("The connection to systemd was lost; units go on, and the next daemon adopts them"))

    def _cannot_go_on(self, error: Exception) -> None:
        if self._failure is None:
            self._fail(KeeperLostError(f"systemd cannot be followed any more: {error}"))

    def _fail(self, error: KeeperLostError) -> None:
        is_first, self._failure = self._failure is None, self._failure or error
        for unit in self._units:
            unit.fail(self._failure)
        if is_first and self._on_lost is not None:
            self._on_lost(error)
