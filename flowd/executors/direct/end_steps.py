"""Ending the steps of a living keeper whose daemon is gone."""

from pathlib import Path

from flowd.executors import end_steps as shared
from flowd.executors.direct.executor import DirectExecutor
from flowd.keeper import journal


async def end_steps(directory: Path, *, bound_s: float) -> int:
    """End all steps of the living keeper in ``directory``, each with its own grace, and the keeper with them.

    Their ends stay in the keeper's journal: the next daemon records them as canceled. The daemon must be gone, because
    a keeper serves one at a time.

    Args:
        bound_s: How long to wait for their ends; the keeper goes on ending them afterwards, too.

    Returns:
        How many steps were running.

    Raises:
        KeeperLostError: The keeper does not answer.
    """
    executor = DirectExecutor(directory, base_env={}, orphan_grace_s=1.0)
    await executor.open()
    begun, _ = journal.load(str(directory / "keeper.journal"))
    graces_s = {
        attempt_id: float(begun.get(attempt_id, {}).get("begin", {}).get("grace_s", 0))
        for attempt_id in shared.running(executor)
    }
    await shared.cancel(executor, graces_s, bound_s=bound_s)
    await executor.close(end_steps=True)
    return len(graces_s)
