"""One unit from its start to its end: waiting for changes, reading how it ended, and leaving nothing of it behind."""

import asyncio
import logging
import os
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from flowd.domain.run import Exit
from flowd.executors.systemd import cgroups, properties
from flowd.executors.systemd.bus import Manager, unit_path
from flowd.executors.systemd.unit_records import UnitRecord, UnitRecords

log = logging.getLogger("flowd.units")

SETTLE_S = 0.1
"""What ends together with its leader is no leftover."""
_START_WITHIN_S = 60.0
_LOOK_AGAIN_S = 5.0
"""Changes are told by signals; a signal that was lost costs this much and no more."""


@dataclass(slots=True)
class TrackedUnit:
    """An attempt that runs, or has ended and is not forgotten.

    Attributes:
        changed: Set when systemd tells of a change of its unit.
        ended: Set when ``exit`` is there, or never will be.
    """

    note: UnitRecord
    changed: asyncio.Event = field(default_factory=asyncio.Event)
    ended: asyncio.Event = field(default_factory=asyncio.Event)
    exit: Exit | None = None
    killing: asyncio.TimerHandle | None = None

    @property
    def path(self) -> str:
        """Its unit's object on the bus."""
        return unit_path(self.note.unit)

    def end(self, exit_: Exit) -> None:
        """It has ended so."""
        if self.killing is not None:
            self.killing.cancel()
        self.exit = exit_
        self.ended.set()

    def output_bytes(self) -> int:
        """The size of the larger output file."""
        return max(_size(self.note.stdout_path), _size(self.note.stderr_path))

    def remove_output(self) -> None:
        """Nothing ran: leave no files."""
        for path in (self.note.stdout_path, self.note.stderr_path):
            Path(path).unlink(missing_ok=True)


class Follower:
    """Follows units of one manager. Everything raises `BusError` when the connection is lost."""

    def __init__(self, manager: Manager, notes: UnitRecords) -> None:
        self._manager = manager
        self._notes = notes

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
        """How it ended, when nothing of it is left, and its note says so."""
        leftovers: tuple[str, ...] = ()
        while True:
            unit.changed.clear()
            about = await self._manager.describe_at(unit.path)
            if properties.has_ended(about):
                break
            if properties.is_ending_leftovers(about):  # those that go at the first SIGTERM are gone by now, unnamed
                leftovers = leftovers or tuple(cgroups.processes(cgroups.folder(str(about["ControlGroup"]))))
            await _change(unit)
        exit_ = replace(properties.exit_of(about, unit.note.cause), leftovers=leftovers)
        if about["ActiveState"] == "active" and not unit.note.detach:
            exit_ = await self._sweep(unit, about, exit_)
        return await asyncio.to_thread(self._record, unit, exit_)

    async def _sweep(self, unit: TrackedUnit, about: Mapping[str, Any], exit_: Exit) -> Exit:
        """End what a step that ended well has left in its cgroup, by name. Of one that ended badly, systemd has."""
        folder = cgroups.folder(str(about["ControlGroup"]))
        if not cgroups.processes(folder):
            return exit_
        await asyncio.sleep(SETTLE_S)
        leftovers = tuple(cgroups.processes(folder))
        if not leftovers:
            return exit_
        unit.note.exit = facts_of(replace(exit_, leftovers=leftovers))
        await asyncio.to_thread(self._notes.write, unit.note)  # stopped, the unit may forget how its step ended
        await self._manager.stop(unit.note.unit)
        while True:
            unit.changed.clear()
            now = await self._manager.describe_at(unit.path)
            if now["ActiveState"] not in ("active", "deactivating"):
                break
            await _change(unit)
        return replace(exit_, leftovers=leftovers, survivors=tuple(cgroups.processes(folder)))

    def _record(self, unit: TrackedUnit, exit_: Exit) -> Exit:
        note = unit.note
        facts = facts_of(exit_)
        for path in (note.stdout_path, note.stderr_path):
            if _size(path) > note.max_output_bytes:
                os.truncate(path, note.max_output_bytes)
                facts["cause"] = exit_.cause or "output_limit"
        note.exit = facts
        self._notes.write(note)
        return exit_from(facts)


async def _change(unit: TrackedUnit) -> None:
    # Not wait_for: in Python 3.11 that swallows a cancellation that comes together with the change.
    try:
        async with asyncio.timeout(_LOOK_AGAIN_S):
            await unit.changed.wait()
    except TimeoutError:
        pass


def facts_of(exit_: Exit) -> dict[str, Any]:
    """An exit, JSON-ready."""
    return {name: getattr(exit_, name) for name in Exit.__slots__}


def exit_from(facts: Mapping[str, Any]) -> Exit:
    """An exit of a note.

    >>> exit_from(facts_of(Exit(code=3, leftovers=("7 sleep",)))) == Exit(code=3, leftovers=("7 sleep",))
    True
    """
    lists = {name: tuple(facts.get(name) or ()) for name in ("leftovers", "survivors")}
    plain = {name: facts.get(name) for name in ("code", "signal", "cause", "max_rss_bytes", "cpu_ms", "ended_at_ms")}
    return Exit(**plain, **lists, out_of_memory=bool(facts.get("out_of_memory")))  # type: ignore[arg-type]


def _size(path: str) -> int:
    try:
        return os.stat(path).st_size
    except OSError:
        return 0
