"""Ending the units of a daemon that is gone, when no other will come soon."""

import asyncio
from collections.abc import Mapping
from pathlib import Path

from flowd.ports import KeeperLostError
from flowd.units.bus import Scope
from flowd.units.keeper import UnitKeeper


async def end_units(directory: Path, *, scope: Scope, boot_id: str, environ: Mapping[str, str], bound_s: float) -> int:
    """Stop the units that a daemon which is gone has left running; the next daemon records them as canceled.

    Returns:
        How many were running.
    """
    keeper = UnitKeeper(directory, base_env={}, scope=scope, boot_id=boot_id, environ=environ)
    await keeper.open()
    running = [str(record["id"]) for record in keeper.records() if record["state"] == "running"]
    try:
        async with asyncio.timeout(bound_s):
            for attempt_id in running:
                await keeper.stop(attempt_id, cause="canceled", grace_s=float("inf"))
            await asyncio.gather(*(keeper.wait(attempt_id) for attempt_id in running))
    except (TimeoutError, KeeperLostError):
        pass
    await keeper.close(end_steps=False)
    return len(running)
