"""Ends steps that run as units when their output outgrows its limit."""

import asyncio
import logging
import signal
from collections.abc import Awaitable
from typing import Protocol

from flowd.domain.launching import KeeperLostError
from flowd.executors.systemd.bus import BusError, Manager
from flowd.executors.systemd.tracked_unit import TrackedUnit, TrackedUnits
from flowd.keeper import output_limit

log = logging.getLogger("flowd.units")


class Stop(Protocol):
    """Ends an attempt; see `flowd.ports.Keeper.stop`."""

    def __call__(self, attempt_id: str, *, cause: str, grace_s: float) -> Awaitable[None]: ...


async def watch(manager: Manager, units: TrackedUnits, stop: Stop) -> None:
    """Look at the output of all running units at intervals, for ever."""
    while True:
        await asyncio.sleep(output_limit.TICK_S)
        for unit in units.running():
            if unit.record.is_started:
                await _check(manager, unit, stop)


async def _check(manager: Manager, unit: TrackedUnit, stop: Stop) -> None:
    record = unit.record
    size = unit.look_at_output()
    if size <= record.max_output_bytes:
        return
    try:
        if record.cause is None:
            await stop(record.id, cause="output_limit", grace_s=record.grace_s)
        elif record.cause == "output_limit" and output_limit.is_flood(size, record.max_output_bytes):
            await manager.kill(record.unit, signal.SIGKILL)
    except (BusError, KeeperLostError, OSError) as error:
        log.warning("output limit not kept", extra={"unit": record.unit, "error": str(error)})
