"""Ending what a keeper still runs when its daemon is gone and no other will come soon."""

import asyncio
import fcntl
import os
from pathlib import Path

from flowd.executors.direct.executor import DirectExecutor
from flowd.keeper.journal import load
from flowd.ports import KeeperLostError


async def end_steps(directory: Path, *, bound_s: float) -> int:
    """End all steps of the living keeper in ``directory``, each with its own grace, and the keeper with them.

    Their ends are in the keeper's journal: the next daemon records them as canceled. Where no keeper lives, nothing
    happens, and none is started. The daemon must be gone: a keeper serves one at a time.

    Args:
        bound_s: How long to wait for their ends; the keeper goes on ending them afterwards, too.

    Returns:
        How many steps were running.

    Raises:
        KeeperLostError: A keeper lives, but does not answer.
    """
    if not _is_alive(directory):
        return 0
    keeper = DirectExecutor(directory, base_env={}, orphan_grace_s=1.0)
    await keeper.open()
    running = [str(record["id"]) for record in keeper.records() if record["state"] == "running"]
    begun, _ = load(str(directory / "keeper.journal"))
    try:
        async with asyncio.timeout(bound_s):
            for attempt_id in running:
                grace_s = float(begun.get(attempt_id, {}).get("begin", {}).get("grace_s", 0))
                await keeper.stop(attempt_id, cause="canceled", grace_s=grace_s)
            await asyncio.gather(*(keeper.wait(attempt_id) for attempt_id in running))
    except (TimeoutError, KeeperLostError):
        pass
    await keeper.close(end_steps=True)
    return len(running)


def _is_alive(directory: Path) -> bool:
    try:
        descriptor = os.open(directory / "keeper.lock", os.O_RDWR | os.O_CLOEXEC)
    except OSError:
        return False
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    finally:
        os.close(descriptor)
    return False
