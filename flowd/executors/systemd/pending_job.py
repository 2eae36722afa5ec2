"""Asks systemd what it is about to do with the unit that this process belongs to."""

import asyncio
import logging
from collections.abc import Mapping

from flowd.domain.errors import StateError
from flowd.observe import own_unit

log = logging.getLogger("flowd.units")

_ASK_WITHIN_S = 3.0


async def pending_job(environ: Mapping[str, str]) -> str | None:
    """The type of our unit's pending job: ``stop``, ``restart`` …; None without one, or where systemd cannot be asked.

    By it a daemon that gets SIGTERM, or a command in ``ExecStopPost=``, distinguishes ``systemctl stop`` from
    ``systemctl restart``: systemd runs the same commands for both, but the job has the type.
    """
    unit = own_unit.current()
    if unit is None:
        return None
    from flowd.executors.systemd.bus import BusError, Manager  # noqa: PLC0415 - takes 40 ms, and few daemons ever ask

    try:
        async with asyncio.timeout(_ASK_WITHIN_S), await Manager.connect(unit.scope, environ) as manager:
            return await manager.job_type(unit.name)
    except (StateError, BusError, TimeoutError) as error:
        log.warning("cannot ask systemd why it stops flowd", extra={"unit": unit.name, "error": str(error)})
        return None
