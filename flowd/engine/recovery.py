"""What becomes of the runs that an earlier daemon left unfinished."""

import asyncio
import logging
from collections.abc import Coroutine
from dataclasses import replace
from typing import Any

from flowd.domain.retry import delay_before_next_ms
from flowd.domain.run import Attempt
from flowd.engine.scheduler import Scheduler
from flowd.engine.supervisor import Supervisor
from flowd.ports import Clock, Keeper, Store, Unfinished

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
    found = await store.unfinished()
    await _let_go_of_recorded(keeper, supervisor, {entry.attempt.id for entry in found if entry.attempt is not None})
    pids = {str(record["id"]): record.get("pid") for record in keeper.records()}
    for unfinished in found:
        run, attempt = unfinished.run, unfinished.attempt
        if attempt is None:
            counts["queued"] += 1
            scheduler.submit_later(run.id, _delay_s(unfinished, clock.now_ms()))
        elif await keeper.knows(attempt.id):  # of another boot, too: its journal may have the exit
            counts["adopted"] += 1
            seen = _with_pid(attempt, pids.get(attempt.id))
            work = supervisor.adopt(run, seen, unfinished.definition, scheduler.occupy())
            tasks.create_task(_guarded(work, run.id), name=f"adopted {run.id}")
        elif attempt.boot_id == boot_id and not run.cancel_requested:
            counts["requeued"] += 1
            tasks.create_task(_guarded(supervisor.start_over(run.id), run.id), name=f"adopted {run.id}")
        else:
            counts["abandoned"] += 1
            work = supervisor.abandon(run, attempt, unfinished.definition)
            tasks.create_task(_guarded(work, run.id), name=f"adopted {run.id}")
    if any(counts.values()):
        log.info("unfinished runs reconciled", extra=counts)
    return counts


def _with_pid(attempt: Attempt, pid: object) -> Attempt:
    """The attempt with the pid that the keeper knows, for a daemon that died before it wrote one down."""
    return replace(attempt, pid=pid) if attempt.pid is None and isinstance(pid, int) and pid > 0 else attempt


async def _guarded(work: Coroutine[Any, Any, None], run_id: str) -> None:
    try:
        await work
    except Exception:
        # One run's trouble must not end the others; the store still has it, and the next start reconciles it.
        log.exception("supervision failed", extra={"run_id": run_id})


async def _let_go_of_recorded(keeper: Keeper, supervisor: Supervisor, unfinished: set[str]) -> None:
    """An earlier daemon may have died between an outcome's commit and what follows it: do that now."""
    for record in keeper.records():
        attempt_id = str(record["id"])
        if attempt_id in unfinished:
            continue
        if record["state"] == "exited":
            await supervisor.let_go(attempt_id)
        else:
            log.warning("the keeper has a step that no run wants", extra={"attempt_id": attempt_id})


def _delay_s(queued: Unfinished, now_ms: int) -> float:
    """What is left of the wait before an attempt; never more than the whole, should the clock have been set back."""
    run = queued.run
    whole_ms = delay_before_next_ms(
        queued.definition.retry, attempt_number=max(1, run.attempt_count), reason=run.reason
    )
    return min(queued.not_before_ms - now_ms, whole_ms or 0) / 1000
