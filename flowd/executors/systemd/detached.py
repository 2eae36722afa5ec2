"""Units whose steps have ended, and left something alive on purpose (``detach = true``).

Such a unit shows whose the processes are, and lets them be stopped by name. Nothing in systemd lets go of it when the
last of them has ended, because it was told to remember how its step ended. So this does, at whichever daemon is there.
"""

import asyncio
import logging
import os
from pathlib import Path

from flowd.executors.systemd import cgroups
from flowd.executors.systemd.bus import BusError, Manager, unit_path

log = logging.getLogger("flowd.units")

LOOK_INTERVAL_S = 5.0


class Detached:
    """An empty file for each such unit, in one folder; its name is the unit's."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def add(self, unit: str) -> None:
        """Remember a unit over restarts. Raises `OSError`."""
        self._folder.mkdir(mode=0o700, exist_ok=True)
        os.close(os.open(self._folder / unit, os.O_WRONLY | os.O_CREAT | os.O_CLOEXEC, 0o600))

    async def follow(self, manager: Manager) -> None:
        """Let go of units as they end, for ever. Raises `BusError` when the connection is lost."""
        while True:
            for unit in self._units():
                if await is_empty(manager, unit):
                    await let_go(manager, unit)
                    (self._folder / unit).unlink(missing_ok=True)
            await asyncio.sleep(LOOK_INTERVAL_S)

    def _units(self) -> list[str]:
        try:
            return os.listdir(self._folder)
        except FileNotFoundError:
            return []


async def is_empty(manager: Manager, unit: str) -> bool:
    """Whether no process of a unit lives; so it is for one that is not loaded."""
    about = await manager.describe_at(unit_path(unit))
    return not cgroups.processes(cgroups.folder(str(about["ControlGroup"]))) if about["ControlGroup"] else True


async def let_go(manager: Manager, unit: str) -> None:
    """Let systemd forget a unit that has ended."""
    try:
        await manager.stop(unit)
        await manager.reset_failed(unit)
        await manager.unref(unit)
    except BusError as error:
        log.warning("unit not released", extra={"unit": unit, "error": str(error)})
