"""Ending the units of a daemon that is gone."""

from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path

from flowd.domain.launching import KeeperLostError
from flowd.executors import end_steps as shared
from flowd.executors.systemd.executor import SystemdExecutor
from flowd.observe.own_unit import Scope


async def end_steps(directory: Path, *, scope: Scope, boot_id: str, environ: Mapping[str, str], bound_s: float) -> int:
    """Stop the units that a daemon has left running. The next daemon records them as canceled, by the unit records.

    systemd forgets them, and all others that have ended, because there may be no next daemon.

    Args:
        bound_s: How long to wait for their ends; systemd goes on ending them afterwards, too.

    Returns:
        How many were running.
    """
    executor = SystemdExecutor(directory, base_env={}, scope=scope, boot_id=boot_id, environ=environ)
    await executor.open()
    try:
        graces_s = dict.fromkeys(shared.running(executor), float("inf"))  # each unit has its own
        exits = await shared.cancel(executor, graces_s, bound_s=bound_s)
        if exits is None:
            return len(graces_s)
        with suppress(KeeperLostError):
            await executor.release()
        return sum(exit_.cause == "canceled" for exit_ in exits)  # others had ended before, unread
    finally:
        await executor.close(end_steps=False)
