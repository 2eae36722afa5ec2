"""What a run causes, exactly once. Each function runs inside the writer's transaction."""

from collections.abc import Sequence
from dataclasses import replace

from flowd.domain import trees
from flowd.domain.errors import CauseCanceledError, ChainLimitError
from flowd.domain.exit import Exit
from flowd.domain.outcome import Outcome
from flowd.domain.queueing import MAX_AT_ONCE, Claim, Finished, QueueBounds
from flowd.domain.run import Attempt, Reason
from flowd.domain.stored import Accepted, NewEventRuns, Output
from flowd.domain.trees import MAX_DEPTH, TreeBounds
from flowd.store.sql import bounds, causing, queue, writes
from flowd.store.sql.causing import Cause, Known
from flowd.store.sql.connection import Connection

_CAUSE = (
    "SELECT r.seq, r.id, r.flow_name, r.step_name, r.round, r.cancel_requested, e.seq, e.id,"
    " coalesce(e.root_seq, e.seq), coalesce(e.root_id, e.id), e.depth, r.attempt_count"
    " FROM runs r JOIN events e ON e.seq = r.event_seq WHERE r.id = ?"
)


def running(db: Connection, run_id: str) -> tuple[Cause, int] | None:
    """A running run with the number of its attempt; None where it does not run."""
    row = db.execute(f"{_CAUSE} AND r.status = 'running'", (run_id,)).fetchone()
    return None if row is None else (Cause(*row[:-1]), row[-1])


def cause(db: Connection, run_id: str) -> Cause:
    """A run that is there."""
    return Cause(*db.execute(_CAUSE, (run_id,)).fetchone()[:-1])


def finish(
    db: Connection,
    attempt: Attempt,
    outcome: Outcome,
    exit_: Exit,
    output: Output,
    *,
    at_ms: int,
    follows: Sequence[NewEventRuns],
    within: TreeBounds,
    claim: Claim | None,
) -> Finished:
    """End a run, with what its result causes; then claim, if that is asked. A second time causes nothing.

    Where that is more than is allowed, the run ends ``failed`` and causes nothing. One whose cancel was asked ends
    as it did, and causes nothing either.
    """
    cause, number = running(db, attempt.run_id) or (None, 0)
    if cause is None or cause.is_canceled or number != attempt.number:
        return writes.finish(db, attempt, outcome, exit_, output, at_ms=at_ms, wait=None, claim=claim)
    known = causing.known(db, follows)
    try:
        check(db, cause, follows, known, within)
    except ChainLimitError as error:
        sentence = f"Step {cause.flow_name}/{cause.step_name} causes too much: {error.message}"
        outcome, follows = outcome.undone(Reason.CHAIN_LIMIT, sentence), ()
    run = writes.end(db, attempt, outcome, exit_, output, at_ms=at_ms, wait=None)
    due_ms = 0 if claim is None else claim.steady_ms + 1  # not by this claim, in this transaction
    run = replace(run, error=causing.cause_all(db, cause, follows, known, at_ms=at_ms, due_ms=due_ms) or run.error)
    return Finished(run, None if claim is None else queue.claim(db, claim), outcome)


def check(db: Connection, cause: Cause, follows: Sequence[NewEventRuns], known: Known, within: TreeBounds) -> None:
    """Raise where a run must not cause these events, or not so many.

    Raises:
        ChainLimitError: They are too deep below the root of their tree, or too many for it or for the queue.
    """
    size = _size(db, cause.root_seq)
    if cause.depth >= MAX_DEPTH or size + len(follows) > within.max_events:
        _check_tree(cause, size, len({new.event.id for new in follows} - known.keys()), within.max_events)
    now, more = bounds.load(db), bounds.of(run for new in follows for run in new.runs)
    if sum(more) > MAX_AT_ONCE:
        raise trees.too_many_runs()
    full = bounds.problem(db, now, more, within.queue)
    if full is not None:
        what = f"{now.ready} runs are queued" if "queued" in full.details else f"{now.waiting} runs wait"
        bound = "max_queued" if "queued" in full.details else "max_waiting"
        raise ChainLimitError(f"{what}, and {sum(more)} more would be more than twice {bound}")


def _check_tree(cause: Cause, size: int, more: int, max_events: int) -> None:
    if more and cause.depth >= MAX_DEPTH:
        raise ChainLimitError(
            f"event {cause.event_id} is {cause.depth} events below {cause.root_id}, and no chain goes deeper. "
            f"Is it one without an end?"
        )
    if more and size + more > max_events:
        raise ChainLimitError(
            f"the tree of event {cause.root_id} has {size} events, and with {more} more it would have more than "
            f"max_tree_events, which is {max_events}"
        )


def accept(
    db: Connection,
    new: NewEventRuns,
    *,
    at_ms: int,
    queue_bounds: QueueBounds,
    within: TreeBounds,
    claim: Claim | None,
    caller_run_id: str,
) -> Accepted:
    """Store an event that a step dispatches while it runs, so that its run is the cause.

    Raises:
        CauseCanceledError: Somebody has asked to cancel it.
        ChainLimitError: The event is too deep, or one too many.
        QueueFullError: Too many runs are queued.
    """
    cause, _ = running(db, caller_run_id) or (None, 0)
    if cause is None:
        accepted = writes.accept(db, new.event, new.runs, at_ms=at_ms, within=queue_bounds, claim=claim)
        return replace(accepted, is_cause_idle=True)
    if cause.is_canceled:
        raise CauseCanceledError(f"Run {caller_run_id} is being canceled, and causes nothing more.")
    known = causing.known(db, (new,))
    if not known:
        bounds.refuse_overflow(db, bounds.load(db), bounds.of(new.runs), queue_bounds)
    check(db, cause, (new,), known, within)
    due_ms = 0 if claim is None else claim.steady_ms + 1
    accepted = causing.cause_one(db, cause, new, known, at_ms=at_ms, due_ms=due_ms)
    if claim is not None and not accepted.is_duplicate:
        accepted = replace(accepted, claimed=queue.claim(db, claim))
    return accepted


def _size(db: Connection, root_seq: int) -> int:
    found = db.execute("SELECT events FROM trees WHERE root_seq = ?", (root_seq,)).fetchone()
    return 1 if found is None else int(found[0])
