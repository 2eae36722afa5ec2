"""Follows a unit from its start to its end: waits for changes, reads how it ended, and leaves nothing of it behind."""

import asyncio
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from flowd.domain.exit import Exit
from flowd.executors.exit_facts import facts_of
from flowd.executors.systemd import cgroups, properties
from flowd.executors.systemd.bus import Manager
from flowd.executors.systemd.tracked_unit import TrackedUnit
from flowd.executors.systemd.unit_records import UnitRecords
from flowd.keeper import output_limit
from flowd.keeper.step import QUIET_S, SETTLE_S

_START_WITHIN_S = 60.0
_LOOK_AGAIN_S = 5.0
"""Changes are reported by signals; a signal that was lost costs this much and no more."""


class UnitFollower:
    """Follows units of one manager. All methods raise `BusError` when the connection is lost."""

    def __init__(self, manager: Manager, records: UnitRecords) -> None:
        self._manager = manager
        self._records = records

    async def until_started(self, unit: TrackedUnit) -> Mapping[str, Any]:
        """A unit's properties once it runs, has run, or could not be started.

        Raises:
            TimeoutError: Neither came about for very long.
        """
        async with asyncio.timeout(_START_WITHIN_S):
            while True:
                unit.changed.clear()
                about = await self._manager.describe_at(unit.path)
                if about["ActiveState"] != "activating" and not about["Job"][0]:
                    return about
                await _change(unit)

    async def until_ended(self, unit: TrackedUnit) -> Exit:
        """How a unit ended. Nothing of it is left then, and its record says how."""
        leftovers: tuple[str, ...] = ()
        while True:
            unit.changed.clear()
            about = await self._manager.describe_at(unit.path)
            if properties.has_ended(about):
                break
            if properties.is_ending_leftovers(about):  # what ends at the first SIGTERM has gone by now, without a name
                leftovers = leftovers or tuple(cgroups.processes(str(about["ControlGroup"])))
            await _change(unit)
        exit_ = replace(properties.exit_of(about, unit.record.cause), leftovers=leftovers)
        if about["ActiveState"] == "active" and not unit.record.detach:
            exit_ = await self._sweep(unit, about, exit_)
        return await asyncio.to_thread(self._record, unit, exit_)

    async def _sweep(self, unit: TrackedUnit, about: Mapping[str, Any], exit_: Exit) -> Exit:
        """End and name what a step that ended well has left in its cgroup. After one that failed, systemd does."""
        control_group = str(about["ControlGroup"])
        if not cgroups.processes(control_group):
            return exit_
        leftovers, was_writing = await self._settled(unit, control_group)
        if not leftovers:
            return exit_
        exit_ = replace(exit_, was_writing=was_writing)
        unit.record.exit = facts_of(replace(exit_, leftovers=leftovers))
        await asyncio.to_thread(self._records.write, unit.record)  # stopped, the unit may forget how its step ended
        await self._manager.stop(unit.record.unit)
        while True:
            unit.changed.clear()
            now = await self._manager.describe_at(unit.path)
            if now["ActiveState"] not in ("active", "deactivating"):
                break
            await _change(unit)
        return replace(exit_, leftovers=leftovers, survivors=tuple(cgroups.processes(control_group)))

    async def _settled(self, unit: TrackedUnit, control_group: str) -> tuple[tuple[str, ...], bool]:
        """What is left when nothing of it prints any more, or when its grace is over and something still prints."""
        loop = asyncio.get_running_loop()
        over_s = loop.time()
        size_bytes, enough_s = output_limit.total_bytes(unit.output_paths), over_s + SETTLE_S
        grace_ends_s = over_s + max(SETTLE_S, unit.record.grace_s)
        while True:
            await asyncio.sleep(SETTLE_S)
            leftovers, now_s = tuple(cgroups.processes(control_group)), loop.time()
            if (printed_bytes := output_limit.total_bytes(unit.output_paths)) > size_bytes:
                size_bytes, enough_s = printed_bytes, now_s + QUIET_S
            if not leftovers or now_s >= min(enough_s, grace_ends_s):
                return leftovers, now_s < enough_s

    def _record(self, unit: TrackedUnit, exit_: Exit) -> Exit:
        record = unit.record
        unit.look_at_output()
        exit_ = replace(exit_, shrunk=tuple(unit.shrunk))
        if output_limit.cut(unit.output_paths, record.max_output_bytes):
            exit_ = replace(exit_, cause=exit_.cause or "output_limit")
        record.exit = facts_of(exit_)
        self._records.write(record)
        return exit_


async def _change(unit: TrackedUnit) -> None:
    # Not wait_for: in Python 3.11 that swallows a cancellation that comes together with the change.
    try:
        async with asyncio.timeout(_LOOK_AGAIN_S):
            await unit.changed.wait()
    except TimeoutError:
        pass
