"""Watches units whose steps have ended and left something alive on purpose (``detach = true``).

Such a unit shows whose processes these are, and lets them be stopped by name. systemd keeps it after the last of them
has ended, because it was asked to remember how the step ended; so whichever daemon runs then has systemd forget it.
"""

import asyncio
import logging
import os
from contextlib import suppress
from pathlib import Path

from flowd.executors.systemd import cgroups, late_output
from flowd.executors.systemd.bus import BusError, Manager, unit_path
from flowd.state import files

log = logging.getLogger("flowd.units")

LOOK_INTERVAL_S = 5.0


class DetachedUnits:
    """An empty file for each such unit, in one folder; its name is the unit's."""

    def __init__(self, folder: Path, *, state_dir: Path) -> None:
        """``state_dir`` is where output files of steps lie, until they are removed."""
        self._folder = folder
        self._state_dir = state_dir

    def add(self, unit: str) -> None:
        """Remember a unit over restarts. Raises `OSError`."""
        self._folder.mkdir(mode=0o700, exist_ok=True)
        os.close(files.open_own(self._folder / unit, os.O_WRONLY | os.O_CREAT))

    async def watch(self, manager: Manager) -> None:
        """Release units as they become empty, and bound what others still print, for ever.

        Raises:
            BusError: The connection is lost.
        """
        while True:
            for unit in self._units():
                if left := await _processes(manager, unit):
                    pids = [process.partition(" ")[0] for process in left]
                    if freed_bytes := await asyncio.to_thread(late_output.drop, pids, self._state_dir):
                        log.warning("late output dropped", extra={"unit": unit, "bytes": freed_bytes})
                else:
                    await release_unit(manager, unit)
                    with suppress(OSError):
                        (self._folder / unit).unlink()
            await asyncio.sleep(LOOK_INTERVAL_S)

    def _units(self) -> list[str]:
        try:
            return os.listdir(self._folder)
        except OSError:  # it is gone, or something is in the place of a folder above it, which its owner tells of
            return []


async def is_empty(manager: Manager, unit: str) -> bool:
    """Whether no process of a unit lives. True as well for a unit that is not loaded."""
    return not await _processes(manager, unit)


async def _processes(manager: Manager, unit: str) -> list[str]:
    about = await manager.describe_at(unit_path(unit))
    return cgroups.processes(str(about["ControlGroup"]))


async def release_unit(manager: Manager, unit: str) -> None:
    """Have systemd forget a unit that has ended."""
    try:
        await manager.stop(unit)
        await manager.reset_failed(unit)
        await manager.unref(unit)
    except BusError as error:
        log.warning("unit not released", extra={"unit": unit, "error": str(error)})
