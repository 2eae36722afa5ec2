"""Ending the units of a daemon that is gone, when no other will come soon."""

import asyncio
from collections.abc import Mapping
from pathlib import Path

from flowd.executors.systemd.bus import Scope
from flowd.executors.systemd.executor import SystemdExecutor
from flowd.ports import KeeperLostError


async def end_units(directory: Path, *, scope: Scope, boot_id: str, environ: Mapping[str, str], bound_s: float) -> int:
    """Stop the units that a daemon which is gone has left running; the next daemon records them as canceled.

    It has that from the notes. So systemd forgets those and all others that have ended: there may be no next daemon.

    Returns:
        How many were running.
    """
    keeper = SystemdExecutor(directory, base_env={}, scope=scope, boot_id=boot_id, environ=environ)
    await keeper.open()
    running = [str(record["id"]) for record in keeper.records() if record["state"] == "running"]
    try:
        async with asyncio.timeout(bound_s):
            for attempt_id in running:
                await keeper.stop(attempt_id, cause="canceled", grace_s=float("inf"))
            exits = await asyncio.gather(*(keeper.wait(attempt_id) for attempt_id in running))
            await keeper.release()
            return sum(exit_.cause == "canceled" for exit_ in exits)  # some had ended, and nobody had asked how
    except (TimeoutError, KeeperLostError):
        return len(running)
    finally:
        await keeper.close(end_steps=False)
