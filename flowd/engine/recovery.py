"""Takes up the runs that an earlier daemon left running. Queued ones need nothing: they are claimed."""

import asyncio
import logging
from dataclasses import replace

from flowd.domain.queueing import LeftRunning
from flowd.engine.attempts import Attempts
from flowd.engine.scheduler import Scheduler
from flowd.ports import Clock, Keeper, Store

log = logging.getLogger("flowd.engine")


async def reconcile(
    *,
    store: Store,
    keeper: Keeper,
    attempts: Attempts,
    scheduler: Scheduler,
    clock: Clock,
    boot_id: str,
    tasks: asyncio.TaskGroup,
) -> dict[str, int]:
    """Take up every running run: adopt its attempt, queue it again, or end it truthfully.

    One that the keeper has no record of was never started, if this is still the boot in which it was begun: the keeper
    journals a start before it makes a process, and its journal outlives everything but the machine. After a reboot the
    journal's tail may be lost, and somebody may have removed the journal itself, which does not know the keeper of that
    start then: so there nothing is started a second time.

    Returns:
        How many were ``adopted``, ``requeued`` and ``abandoned``.
    """
    counts = {"adopted": 0, "requeued": 0, "abandoned": 0}
    await store.shorten_waits(clock.steady_ms())
    found = await store.left_running()
    await _let_go_of_recorded(keeper, attempts, {left.attempt.id for left in found})
    pids = {record["id"]: record.get("pid") for record in keeper.records()}
    for left in found:
        if await keeper.knows(left.attempt.id):  # of another boot, too: its journal may have the exit
            counts["adopted"] += 1
            work = attempts.adopt(_with_pid(left, pids.get(left.attempt.id)))
        elif (
            left.attempt.boot_id == boot_id
            and keeper.remembers(left.attempt.worker_id)
            and not left.run.cancel_requested
        ):
            counts["requeued"] += 1
            work = attempts.start_over(left)
        else:
            counts["abandoned"] += 1
            work = attempts.end_unseen(left)
        scheduler.see_through(work, tasks)
    if any(counts.values()):
        log.info("unfinished runs reconciled", extra=counts)
    return counts


def _with_pid(left: LeftRunning, pid: int | None) -> LeftRunning:
    """The run with the pid that the keeper knows, for a daemon that died before it wrote one down."""
    if left.attempt.pid is not None or pid is None or pid <= 0:
        return left
    return replace(left, attempt=replace(left.attempt, pid=pid))


async def _let_go_of_recorded(keeper: Keeper, attempts: Attempts, running: set[str]) -> None:
    """An earlier daemon may have died between an outcome's commit and what follows it: do that now."""
    for record in keeper.records():
        attempt_id = record["id"]
        if attempt_id in running:
            continue
        if record["state"] == "exited":
            await attempts.let_go(attempt_id)
        else:
            log.warning("the keeper has a step that no run wants", extra={"attempt_id": attempt_id})
