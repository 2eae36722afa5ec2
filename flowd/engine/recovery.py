"""What becomes of the runs that an earlier daemon left unfinished."""

import asyncio
import logging

from flowd.engine.scheduler import Scheduler
from flowd.engine.supervisor import Supervisor
from flowd.ports import Clock, Keeper, Store

log = logging.getLogger("flowd.engine")


async def reconcile(
    *,
    store: Store,
    keeper: Keeper,
    supervisor: Supervisor,
    scheduler: Scheduler,
    clock: Clock,
    boot_id: str,
    tasks: asyncio.TaskGroup,
) -> dict[str, int]:
    """Take up every unfinished run: queued ones are queued again, running ones adopted, or ended truthfully.

    A running one that the keeper has no record of was never started, if this is still the boot in which it was begun:
    the keeper journals a start before it makes a process, and its journal outlives everything but the machine. After a
    reboot the journal's tail may be lost, so there nothing is started a second time.

    Returns:
        How many were ``queued``, ``adopted``, ``requeued`` and ``abandoned``.
    """
    counts = {"queued": 0, "adopted": 0, "requeued": 0, "abandoned": 0}
    for unfinished in await store.unfinished():
        run, attempt = unfinished.run, unfinished.attempt
        if attempt is None:
            counts["queued"] += 1
            scheduler.submit_later(run.id, (unfinished.not_before_ms - clock.now_ms()) / 1000)
        elif attempt.boot_id == boot_id and await keeper.knows(attempt.id):
            counts["adopted"] += 1
            tasks.create_task(
                supervisor.adopt(run, attempt, unfinished.definition, scheduler.occupy()), name=f"adopted {run.id}"
            )
        elif attempt.boot_id == boot_id and not run.cancel_requested:
            counts["requeued"] += 1
            await store.requeue(run.id, at_ms=clock.now_ms())
            scheduler.submit([run.id])
        else:
            counts["abandoned"] += 1
            await supervisor.abandon(run, attempt, unfinished.definition)
    if any(counts.values()):
        log.info("unfinished runs reconciled", extra=counts)
    return counts
