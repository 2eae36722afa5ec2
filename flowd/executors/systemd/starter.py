"""Starts attempts as units: files and record first, then systemd's start job, then what has come of it."""

import asyncio
import os
from collections.abc import Mapping
from contextlib import suppress
from typing import Any

from flowd.domain.exit import Exit
from flowd.domain.ids import parse_attempt_id, unit_name
from flowd.domain.launching import BusyStartError, KeeperLostError, Launch, NoRoomError, SpawnError
from flowd.executors import patience
from flowd.executors.own_files import PASSING
from flowd.executors.systemd import properties
from flowd.executors.systemd.bus import SHUTTING_DOWN, UNIT_EXISTS, BusError, Manager
from flowd.executors.systemd.detached import release_unit
from flowd.executors.systemd.follower import UnitFollower
from flowd.executors.systemd.tracked_unit import TrackedUnit, TrackedUnits
from flowd.executors.systemd.unit_records import UnitRecord, UnitRecords, is_valid_value
from flowd.keeper.spawn import can_be_executed


class UnitStarter:
    """Starts units of one workspace with one manager."""

    def __init__(
        self,
        manager: Manager,
        follower: UnitFollower,
        *,
        records: UnitRecords,
        units: TrackedUnits,
        base_env: Mapping[str, str],
        controllers: frozenset[str],
        boot_id: str,
        workspace_mark: str,
    ) -> None:
        """Nothing happens before `start`.

        Args:
            controllers: Those of cgroups that limits can be kept with.
            workspace_mark: Distinguishes the units of this workspace from another's with the same names.
        """
        self._manager = manager
        self._follower = follower
        self._records = records
        self._units = units
        self._base_env = {name: value for name, value in base_env.items() if is_valid_value(value)}
        self._controllers = controllers
        self._boot_id = boot_id
        self._workspace_mark = workspace_mark

    async def start(self, launch: Launch) -> tuple[TrackedUnit, int]:
        """Start a step. Its record is on disk before systemd is asked.

        Tries again for a second where the program is there and could not be run: it may be open for writing just now.

        Returns:
            Its unit, to be followed, and its pid; 0 where systemd has its start still to do.

        Raises:
            NoRoomError: The disk is full, and nothing runs.
            SpawnError: It could not be started, and nothing runs.
            KeeperLostError: The manager is shutting down, and nothing runs.
            BusError: The connection was lost; whether it was started is not known.
        """
        return await patience.start(lambda: self._start(launch))

    async def _start(self, launch: Launch) -> tuple[TrackedUnit, int]:
        unit = TrackedUnit(self._record_of(launch))
        unit_properties = await asyncio.to_thread(self._prepare, launch, unit.record)
        self._units.add(unit)
        try:
            await self._start_unit(unit, unit_properties)
            about = await self._follower.until_started(unit)
        except BusError as error:
            if error.is_lost:
                raise
            raise await self._refused(unit, error) from error
        except TimeoutError:
            return unit, 0
        if why := properties.refusal(about, launch):
            await release_unit(self._manager, unit.record.unit)
            self._discard(unit)
            raise self._refusal_of(launch, why, int(about["ExecMainStatus"]))
        unit.record.is_started = True
        await asyncio.to_thread(self._record_start, unit.record)
        return unit, int(about["ExecMainPID"])

    def _refusal_of(self, launch: Launch, why: str, status: int) -> SpawnError:
        program = launch.command.started_argv[0]
        if status == properties.EXEC_FAILED and can_be_executed(program):  # systemd does not tell the error
            return BusyStartError(
                f"The program {program} cannot be run, though it is there and executable. If it is open for writing, "
                "close it where it is written; else see that its first line names its interpreter, or that it is made "
                "for this machine. Then retry the run.",
                is_shortage=False,
            )
        return SpawnError(why)

    def _record_of(self, launch: Launch) -> UnitRecord:
        return UnitRecord(
            id=launch.attempt_id,
            unit=default_unit(launch.attempt_id),
            boot_id=self._boot_id,
            stdout_path=launch.stdout_path,
            stderr_path=launch.stderr_path,
            grace_s=launch.grace_s,
            max_output_bytes=launch.max_output_bytes,
            detach=launch.detach,
        )

    def _prepare(self, launch: Launch, record: UnitRecord) -> list[tuple[str, Any]]:
        """Write what the unit reads, its output files and its record. All of them, or none."""
        created: list[str] = []
        try:
            return self._write_files(launch, record, created)
        except (OSError, SpawnError) as error:
            self._records.remove(record.id)
            for path in created:
                os.unlink(path)
            if isinstance(error, SpawnError):
                raise
            kind = NoRoomError if error.errno in PASSING else SpawnError
            raise kind(f"The step's files could not be made: {error}. flowd has to be able to write there.") from error

    def _write_files(self, launch: Launch, record: UnitRecord, created: list[str]) -> list[tuple[str, Any]]:
        for name, value in launch.command.env.items():
            if not is_valid_value(value):
                raise SpawnError(f"systemd takes no control characters in a variable's value, and {name} has some.")
        stdin = self._records.write_stdin(record.id, launch.command.stdin)
        environment = self._records.write_environment(record.id, {**self._base_env, **launch.command.env})
        made = properties.of_launch(launch, stdin=stdin, environment=environment, controllers=self._controllers)
        for path in (record.stdout_path, record.stderr_path):
            os.close(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600))
            created.append(path)
        self._records.write(record)
        return made

    async def _start_unit(self, unit: TrackedUnit, unit_properties: list[tuple[str, Any]]) -> None:
        try:
            await self._manager.start_transient(unit.record.unit, unit_properties)
        except BusError as error:
            if error.name != UNIT_EXISTS:
                raise
            # Another workspace had the same event for a step of the same name: its unit has the name.
            name = marked_unit(unit.record.id, self._workspace_mark)
            self._units.rename(unit, name)
            await asyncio.to_thread(self._records.write, unit.record)
            await self._manager.start_transient(name, unit_properties)

    def _record_start(self, record: UnitRecord) -> None:
        self._records.remove_environment(record.id)
        self._records.write(record)

    async def _refused(self, unit: TrackedUnit, error: BusError) -> Exception:
        self._discard(unit)
        if error.name == SHUTTING_DOWN:
            with suppress(BusError):
                await self._manager.unref(unit.record.unit)  # it is loaded, and would be in the way of a later start
            return KeeperLostError(f"systemd is shutting down and starts no more units: {error}")
        return SpawnError(f"systemd refused to start the step: {error}")

    def _discard(self, unit: TrackedUnit) -> None:
        """Leave nothing behind of an attempt that does not run."""
        self._units.remove(unit)
        self._records.remove(unit.record.id)
        unit.remove_output()
        unit.end(Exit())


def default_unit(attempt_id: str) -> str:
    """The unit of an attempt, unless another workspace has one of that name.

    >>> default_unit("run_af8a4654f5aa:2")
    'codex-flow-run-af8a4654f5aa-b746a815ec-2.service'
    """
    run, number = parse_attempt_id(attempt_id)
    return f"{unit_name(run)}{'' if number == 1 else f'-{number}'}.service"


def marked_unit(attempt_id: str, workspace_mark: str) -> str:
    """The unit of an attempt where another workspace has one of the name."""
    return f"{default_unit(attempt_id).removesuffix('.service')}-w{workspace_mark}.service"
