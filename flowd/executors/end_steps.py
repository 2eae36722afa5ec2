"""Cancelling what an executor still runs, when its daemon is gone and no other will come soon."""

import asyncio
from collections.abc import Mapping

from flowd.domain.exit import Exit
from flowd.domain.launching import KeeperLostError
from flowd.ports import Keeper


def running(executor: Keeper) -> list[str]:
    """The attempts that ran when the executor was opened."""
    return [str(record["id"]) for record in executor.records() if record["state"] == "running"]


async def cancel(executor: Keeper, graces_s: Mapping[str, float], *, bound_s: float) -> list[Exit] | None:
    """Cancel attempts and wait until all have ended.

    Args:
        graces_s: By attempt, how long it has between SIGTERM and SIGKILL.
        bound_s: How long to wait for their ends. The executor goes on ending them afterwards.

    Returns:
        How they ended; None where not all have ended within the bound, or the executor was lost.
    """
    try:
        async with asyncio.timeout(bound_s):
            for attempt_id, grace_s in graces_s.items():
                await executor.stop(attempt_id, cause="canceled", grace_s=grace_s)
            return await asyncio.gather(*map(executor.wait, graces_s))
    except (TimeoutError, KeeperLostError):
        return None
