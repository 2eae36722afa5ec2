"""Ends the units of attempts whose records were taken away: all that is known of such an attempt is its id."""

import asyncio
import os
import signal
from collections.abc import Iterable, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

from flowd.executors.systemd import properties
from flowd.executors.systemd.bus import BusError, Manager, unit_path
from flowd.executors.systemd.detached import release_unit

_WITHIN_S = 10.0
"""What outlives SIGKILL so long waits for a disk, and may do so for ever."""
_INTERVAL_S = 0.05


async def end(manager: Manager, units: Iterable[str], *, records: Path) -> None:
    """Kill those of these units that are of this folder's attempts, and have systemd forget them.

    Another workspace may have a unit of the same name, for the same event; it is left alone.

    Args:
        records: The folder that such a unit reads its environment from.

    Raises:
        BusError: The connection is lost.
    """
    for unit in units:
        if _is_of(await manager.describe_at(unit_path(unit)), records):
            with suppress(BusError):  # nothing of it is left to be killed
                await manager.kill(unit, signal.SIGKILL)
            await manager.stop(unit)
            await _until_ended(manager, unit)
            await release_unit(manager, unit)


def _is_of(about: Mapping[str, Any], records: Path) -> bool:
    return any(os.path.dirname(path) == os.path.abspath(records) for path, _ in about.get("EnvironmentFiles", ()))


async def _until_ended(manager: Manager, unit: str) -> None:
    with suppress(TimeoutError):
        async with asyncio.timeout(_WITHIN_S):
            while not properties.has_ended(await manager.describe_at(unit_path(unit))):  # noqa: ASYNC110 - an event of another process
                await asyncio.sleep(_INTERVAL_S)
