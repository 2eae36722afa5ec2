"""What a run causes, exactly once. Each function runs inside the writer's transaction."""

from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass, replace

from flowd.domain import ids, trees
from flowd.domain.errors import CauseCanceledError, ChainLimitError
from flowd.domain.exit import Exit
from flowd.domain.outcome import Outcome
from flowd.domain.queueing import MAX_AT_ONCE, Caused, Claim, Finished, NewRun, QueueBounds
from flowd.domain.run import Attempt, Reason
from flowd.domain.stored import Accepted, NewEventRuns, Output
from flowd.domain.trees import MAX_DEPTH, TreeBounds
from flowd.domain.waiting import TimeWait
from flowd.store.sql import bounds, inserting, new_events, queue, rounds, writes
from flowd.store.sql.connection import Connection, WriteNotes


@dataclass(frozen=True, slots=True)
class Cause:
    """A run and its place in a tree."""

    run_seq: int
    run_id: str
    flow_name: str
    step_name: str
    round: int
    is_canceled: int
    event_seq: int
    event_id: str
    root_seq: int
    root_id: str
    depth: int

    @property
    def place_below(self) -> new_events.Place:
        """Of what it causes."""
        return self.run_id, self.event_id, self.root_id, self.root_seq, self.depth + 1, self.event_seq


_ASKED_AT_ONCE = 500
"""Ids in a statement."""

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
    try:
        check(db, cause, follows, within)
    except ChainLimitError as error:
        sentence = f"Step {cause.flow_name}/{cause.step_name} causes too much: {error.message}"
        outcome, follows = outcome.undone(Reason.CHAIN_LIMIT, sentence), ()
    run = writes.end(db, attempt, outcome, exit_, output, at_ms=at_ms, wait=None)
    due_ms = 0 if claim is None else claim.steady_ms + 1  # not by this claim, in this transaction
    run = replace(run, error=cause_all(db, cause, follows, at_ms=at_ms, due_ms=due_ms) or run.error)
    return Finished(run, None if claim is None else queue.claim(db, claim), outcome)


def check(db: Connection, cause: Cause, follows: Sequence[NewEventRuns], within: TreeBounds) -> None:
    """Raise where a run must not cause these events, or not so many.

    Raises:
        ChainLimitError: They are too deep below the root of their tree, or too many for it or for the queue.
    """
    size = _size(db, cause.root_seq)
    if cause.depth >= MAX_DEPTH or size + len(follows) > within.max_events:
        _check_tree(cause, size, _unknown(db, follows), within.max_events)
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


def _unknown(db: Connection, follows: Sequence[NewEventRuns]) -> int:
    """How many of these events are not stored yet."""
    names = {new.event.id for new in follows}
    return len(names) - len(_stored(db, names))


def _stored(db: Connection, event_ids: Collection[str]) -> set[str]:
    """Those of these ids that stand for an event already."""
    names, known = list(event_ids), set()
    for first in range(0, len(names), _ASKED_AT_ONCE):
        some = names[first : first + _ASKED_AT_ONCE]
        found = db.execute(f"SELECT id FROM events WHERE id IN ({','.join('?' * len(some))})", some)
        known |= {name for (name,) in found}
    return known


def cause_all(
    db: Connection, cause: Cause, follows: Sequence[NewEventRuns], *, at_ms: int, due_ms: int = 0
) -> str | None:
    """Store what a run that has ended causes; see `cause_one`. Where the id of an event stands for another one already,
    that is noted with the run: its error from then on, else None. For ``due_ms`` see `rounds.wait_before_keys`."""
    before_keys = rounds.wait_before_keys((new.runs for new in follows), due_ms=due_ms)
    caused, taken = [], []
    for part in _parts(db, follows, are_kept_from_gates=before_keys is not None):
        if len(part) > 1:
            caused += _cause_new(db, cause, part, at_ms, before_keys)
        else:
            accepted = cause_one(db, cause, part[0], at_ms=at_ms)
            caused.append(accepted.as_caused)
            taken += [accepted.event.id] * accepted.is_conflict
    if isinstance(db, WriteNotes):
        db.caused += caused
    if not taken:
        return None
    (error,) = db.execute(
        "UPDATE runs SET error = ? || coalesce(? || error, '') WHERE seq = ? RETURNING error",
        (f"Step {cause.flow_name}/{cause.step_name} {trees.conflict(taken)}", "\n", cause.run_seq),
    ).fetchone()
    return str(error)


def _parts(
    db: Connection, follows: Sequence[NewEventRuns], *, are_kept_from_gates: bool
) -> Iterator[Sequence[NewEventRuns]]:
    """The same events in their order: those that follow each other, are new and bring nothing to a gate together, the
    others each for itself."""
    known = _stored(db, {new.event.id for new in follows})
    alike: list[NewEventRuns] = []
    for new in follows:
        if new.event.id not in known and (are_kept_from_gates or not any(map(rounds.comes_to_gate, new.runs))):
            known.add(new.event.id)
            alike.append(new)
            continue
        known.add(new.event.id)
        if alike:
            yield alike
            alike = []
        yield (new,)
    if alike:
        yield alike


def _cause_new(
    db: Connection, cause: Cause, news: Sequence[NewEventRuns], at_ms: int, before_keys: TimeWait | None
) -> list[Caused]:
    """Store many events that are new: what a result of thousands of them causes is one transaction, for which all others
    wait that write."""
    seqs = new_events.insert_many(db, news, at_ms=at_ms, place=cause.place_below, before_keys=before_keys)
    inserting.insert(db, f"causes ({_NOTED})", [_noted(cause, event_seq, None) for event_seq in seqs])
    _grow(db, cause, len(seqs))
    return [Caused("accepted", tuple(run.definition.flow_name for run in new.runs)) for new in news]


def cause_one(db: Connection, cause: Cause, new: NewEventRuns, *, at_ms: int) -> Accepted:
    """Store an event that a run causes, or give one that it causes again a new round.

    A known event has a new round where another round of the same flow for the same event has caused it, and this one has
    not yet. Else it is a duplicate: its first cause stays.
    """
    known = db.execute("SELECT seq FROM events WHERE id = ?", (new.event.id,)).fetchone()
    if known is not None:
        return _again(db, cause, new, known[0], at_ms)
    event_seq, accepted = new_events.insert(db, new.event, new.runs, at_ms=at_ms, place=cause.place_below)
    _note(db, cause, event_seq, body=None)
    _grow(db, cause, 1)
    return accepted


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
    if _unknown(db, (new,)):
        bounds.refuse_overflow(db, bounds.load(db), bounds.of(new.runs), queue_bounds)
    check(db, cause, (new,), within)
    accepted = cause_one(db, cause, new, at_ms=at_ms)
    if claim is not None and not accepted.is_duplicate:
        accepted = replace(accepted, claimed=queue.claim(db, claim))
    return accepted


def _size(db: Connection, root_seq: int) -> int:
    found = db.execute("SELECT events FROM trees WHERE root_seq = ?", (root_seq,)).fetchone()
    return 1 if found is None else int(found[0])


def _again(db: Connection, cause: Cause, new: NewEventRuns, event_seq: int, at_ms: int) -> Accepted:
    known = writes.duplicate(db, new.event)
    numbers = db.execute(
        "SELECT cause_round FROM causes WHERE event_seq = ? AND cause_event_seq = ? AND cause_flow = ?",
        (event_seq, cause.event_seq, cause.flow_name),
    ).fetchall()
    if not numbers or (cause.round,) in numbers:
        return known
    cause_seq = _note(db, cause, event_seq, body=new.event.body.decode() if known.is_conflict else None)
    runs = [_repeated(db, event_seq, new.event.id, run, cause) for run in new.runs]
    inserted = writes.insert_round(db, event_seq, new.event.id, runs, {}, at_ms=at_ms)
    db.executemany("UPDATE runs SET cause_seq = ? WHERE seq = ?", [(cause_seq, seq) for seq in inserted.seqs])
    return replace(known, runs=inserted.runs, is_duplicate=False, is_conflict=False)


def _repeated(db: Connection, event_seq: int, event_id: str, run: NewRun, cause: Cause) -> NewRun:
    """A replay of the event's first run of this step; a first run where it has none."""
    names = run.definition.flow_name, run.definition.step_name
    first = db.execute(
        "SELECT id FROM runs WHERE event_seq = ? AND flow_name = ? AND step_name = ? AND replay_of IS NULL",
        (event_seq, *names),
    ).fetchone()
    if first is None:
        return run
    return replace(run, id=ids.replay_run_id(event_id, *names, cause.run_id), replay_of=first[0])


_NOTED = "event_seq, cause_event_seq, cause_flow, cause_round, cause_run_seq, body"


def _noted(cause: Cause, event_seq: int, body: str | None) -> tuple[object, ...]:
    """That this round has caused the event."""
    return event_seq, cause.event_seq, cause.flow_name, cause.round, cause.run_seq, body


def _note(db: Connection, cause: Cause, event_seq: int, *, body: str | None) -> int:
    sql = f"INSERT INTO causes ({_NOTED}) VALUES (?, ?, ?, ?, ?, ?) RETURNING seq"
    (seq,) = db.execute(sql, _noted(cause, event_seq, body)).fetchone()
    return int(seq)


def _grow(db: Connection, cause: Cause, more: int) -> None:
    """The tree has so many more events."""
    db.execute(
        "INSERT INTO trees (root_seq, events) VALUES (?, ?) ON CONFLICT (root_seq) DO UPDATE SET events = trees.events + ?",
        (cause.root_seq, 1 + more, more),
    )
