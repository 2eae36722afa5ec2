"""Accepts, replays, starts, ends and cancels. Each function runs inside the writer's transaction."""

from collections.abc import Sequence
from dataclasses import replace

from flowd.domain.awaited import Waiting
from flowd.domain.errors import EventNotFoundError
from flowd.domain.exit import Exit
from flowd.domain.matching import LeftOut
from flowd.domain.outcome import Outcome
from flowd.domain.queueing import Claim, Finished, NewRun, QueueBounds
from flowd.domain.run import ATTENTION, Attempt, ProcessStatus, Run
from flowd.domain.stored import Accepted, NewEvent, Output
from flowd.domain.waiting import TimeWait
from flowd.store.sql import (
    bounds,
    called_off,
    clocks,
    copied_needs,
    earlier_rounds,
    gates,
    held_up,
    journal,
    new_events,
    notices,
    queue,
    reads,
    rounds,
    rows,
    superseding,
    times,
)
from flowd.store.sql.connection import Connection
from flowd.store.sql.copied_needs import Copies
from flowd.store.sql.rounds import Inserted

_KNOWN = (
    "SELECT e.seq, e.id, e.type, e.source, e.occurred_at, e.received_at, e.body, e.created_at_ms, e.fingerprint, e.left_out,"
    " e.cause_run_id, e.cause_event_id, e.root_id, e.depth, e.traceparent, c.n,"
    " (SELECT n FROM counts WHERE name = 'waiting') FROM counts c LEFT JOIN events e ON e.id = ? WHERE c.name = 'queued'"
)
"""`rows.EVENT_COLUMNS` of an event, all NULL where there is none, and how many runs are queued, and of these wait."""


def accept(
    db: Connection,
    event: NewEvent,
    runs: Sequence[NewRun],
    *,
    at_ms: int,
    within: QueueBounds,
    claim: Claim | None,
) -> Accepted:
    """Store an event with its queued runs, or return what its id already stands for; then claim, if that is asked."""
    *known, queued, waiting = db.execute(_KNOWN, (event.id,)).fetchone()
    if known[0] is not None:
        return _duplicate(db, known, event)
    bounds.refuse_overflow(db, bounds.Load(queued - waiting, waiting), bounds.of(runs), within)
    before_keys = rounds.wait_before_keys([runs], due_ms=0 if claim is None else claim.steady_ms + 1)
    _, stored = new_events.insert(db, event, runs, at_ms=at_ms, before_keys=before_keys)
    return replace(stored, claimed=None if claim is None else queue.claim(db, claim))


def duplicate(db: Connection, event: NewEvent) -> Accepted:
    """What the id of a known event stands for already."""
    *known, _, _ = db.execute(_KNOWN, (event.id,)).fetchone()
    return _duplicate(db, known, event)


def _duplicate(db: Connection, known: rows.Row, event: NewEvent) -> Accepted:
    found = db.execute(
        f"{rows.RUNS} WHERE r.event_seq = ? AND r.replay_of IS NULL ORDER BY r.seq", (known[0],)
    ).fetchall()
    attempts = reads.attempts_by_run(db, found)
    stored = tuple(rows.run(row, attempts.get(row[0], ())) for row in found)
    return Accepted(
        event=rows.event(known, [run.id for run in stored]),
        runs=stored,
        is_duplicate=True,
        is_conflict=known[8] != event.fingerprint,
    )


def add_runs(
    db: Connection,
    event_id: str,
    runs: Sequence[NewRun],
    *,
    at_ms: int,
    within: QueueBounds,
    left_out: tuple[LeftOut, ...] | None = None,
    waiting: Waiting | None = None,
) -> tuple[Run, ...]:
    """Queue more runs for a stored event; a first run that the event has already is left out. Undone where a step could
    not wait for them that is about to."""
    found = db.execute("SELECT seq FROM events WHERE id = ?", (event_id,)).fetchone()
    if found is None:
        raise EventNotFoundError(event_id)
    event_seq = found[0]
    runs = copied_needs.instead(_without_known(db, event_seq, runs))
    bounds.refuse_overflow(db, bounds.load(db), bounds.of(runs), within)
    copies = copied_needs.read(db, event_seq, event_id, runs)
    notices.begin_anew(db, event_seq)
    if left_out is not None:
        db.execute("UPDATE events SET left_out = ? WHERE seq = ?", (rows.left_out(left_out), event_seq))
    made = insert_round(db, event_seq, event_id, runs, copies, at_ms=at_ms).runs
    held_up.refuse(db, waiting, [run.id for run in made])
    return made


def insert_round(
    db: Connection, event_seq: int, event_id: str, runs: Sequence[NewRun], copies: Copies, *, at_ms: int
) -> Inserted:
    """The next round of a known event."""
    wait = rounds.wait_before_keys([runs])
    numbers = rounds.next_numbers(db, event_seq, runs)
    inserted = rounds.insert(db, event_seq, event_id, runs, at_ms, numbers=numbers, copies=copies, before_keys=wait)
    journal.add_accepted(db, at_ms, [(event_seq, inserted.seqs)], known={event_seq})
    if inserted.has_links:
        inserted = rounds.settle(db, event_seq, runs, inserted, at_ms, before_keys=wait)
    return inserted


def _without_known(db: Connection, event_seq: int, runs: Sequence[NewRun]) -> list[NewRun]:
    """The replays, and the first runs of steps that have none."""
    steps = [(event_seq, run.definition.flow_name, run.definition.step_name) for run in runs]
    known = earlier_rounds.first_runs(db, (step for step, run in zip(steps, runs, strict=True) if not run.replay_of))
    return [run for step, run in zip(steps, runs, strict=True) if run.replay_of is not None or step not in known]


def note_start(db: Connection, attempt: Attempt) -> None:
    """Remember what runs: its pid, command and working directory, and its package as it was."""
    db.write(
        "UPDATE attempts SET pid = ?, command = ?, cwd = ?, package_hash = coalesce(?, package_hash)"
        " WHERE run_seq = (SELECT seq FROM runs WHERE id = ?) AND number = ?",
        (
            attempt.pid,
            rows.strings(attempt.command),
            attempt.cwd,
            attempt.package_hash,
            attempt.run_id,
            attempt.number,
        ),
    )
    db.write(
        "UPDATE runs SET package_hash = coalesce(?, package_hash) WHERE id = ? AND attempt_count = ?",
        (attempt.package_hash, attempt.run_id, attempt.number),
    )


def finish(
    db: Connection,
    attempt: Attempt,
    outcome: Outcome,
    exit_: Exit,
    output: Output,
    *,
    at_ms: int,
    wait: TimeWait | None,
    claim: Claim | None = None,
) -> Finished:
    """Record how an attempt ended; then claim, if that is asked."""
    run = end(db, attempt, outcome, exit_, output, at_ms=at_ms, wait=wait)
    return Finished(run, None if claim is None else queue.claim(db, claim))


def end(
    db: Connection,
    attempt: Attempt,
    outcome: Outcome,
    exit_: Exit,
    output: Output,
    *,
    at_ms: int,
    wait: TimeWait | None,
) -> Run:
    """Running → final, or back to queued with a wait: then the result is the attempt's alone. What was called off asks
    nobody. A second time changes nothing."""
    wait = clocks.of_store(db, wait)
    completed_at_ms = exit_.completed_at_ms(attempt.started_at_ms, at_ms)
    if outcome.status is ProcessStatus.CANCELED or wait is not None:
        outcome, wait = superseding.mended(db, attempt.run_id, outcome, wait)
    result, reported, given_up = outcome.result, outcome.reported_result, None
    if wait is not None:
        result, reported, given_up = None, None, outcome.result
    ended = db.execute(
        "UPDATE attempts SET status = ?, completed_at_ms = ?, reason = ?, error = ?, exit_code = ?, signal = ?,"
        " leftovers = ?, survivors = ?, max_rss_bytes = ?, cpu_ms = ?, duration_ms = ?, stdout_bytes = ?,"
        " stderr_bytes = ?, truncated = ?, stdout = ?, stderr = ?, stream_order = ?, result_status = ?, result = ?,"
        " pid = coalesce(?, pid), command = coalesce(?, command),"
        " cwd = coalesce(?, cwd), package_hash = coalesce(?, package_hash)"
        " WHERE run_seq = (SELECT seq FROM runs WHERE id = ?) AND number = ? AND status = 'running'"
        f" RETURNING {rows.ATTEMPT_COLUMNS}",
        (
            outcome.status,
            completed_at_ms,
            outcome.reason,
            outcome.error,
            outcome.exit_code,
            outcome.signal,
            rows.strings(exit_.leftovers),
            rows.strings(exit_.survivors),
            exit_.max_rss_bytes,
            exit_.cpu_ms,
            exit_.duration_ms,
            output.stdout_bytes,
            output.stderr_bytes,
            output.is_truncated,
            output.stdout,
            output.stderr,
            output.order,
            given_up.status if given_up else None,
            given_up.text if given_up else None,
            attempt.pid,
            rows.strings(attempt.command),
            attempt.cwd,
            attempt.package_hash,
            attempt.run_id,
            attempt.number,
        ),
    ).fetchone()
    if ended is None:
        return whole_run(db, attempt.run_id)
    status = outcome.status if wait is None else ProcessStatus.QUEUED
    row = db.execute(
        "UPDATE runs SET status = ?, updated_at_ms = ?, completed_at_ms = ?, reason = ?, error = ?, exit_code = ?,"
        " signal = ?, result_status = ?, result = ?, reported_status = ?, reported_result = ?, wants_person = ?,"
        " waits_for = ?, wait_why = ?, not_before_ms = ?, wait_ms = ?, package_hash = coalesce(?, package_hash),"
        " progress = NULL"
        f" WHERE id = ? AND status = 'running' AND attempt_count = ? RETURNING {rows.RETURNING_RUN}",
        (
            status,
            at_ms,
            completed_at_ms if wait is None else None,
            outcome.reason,
            outcome.error,
            outcome.exit_code,
            outcome.signal,
            result.status if result else None,
            result.text if result else None,
            reported.status if reported else None,
            reported.text if reported else None,
            int(result is not None and result.status in ATTENTION),
            *times.columns(wait),
            attempt.package_hash,
            attempt.run_id,
            attempt.number,
        ),
    ).fetchone()
    if row is None:  # an attempt of before, ended late
        return whole_run(db, attempt.run_id)
    journal.add_run(db, at_ms, row[rows.EVENT_SEQ], row[0], status, attempt=attempt.number)
    asks = result is not None and result.status in ATTENTION
    if asks and row[rows.CANCEL_REQUESTED] and called_off.close(db, row[0], at_ms):
        row = db.execute(f"{rows.RUNS} WHERE r.seq = ?", (row[0],)).fetchone()
    has_links = row[rows.ROUND_SEQ] is not None or row[rows.STEP_KEY] is not None
    if has_links:  # else nothing can wait for it
        (gates.ended if wait is None else gates.paused)(db, row[0], at_ms=at_ms)
    earlier = _attempts(db, row[0], attempt.run_id)[:-1] if attempt.number > 1 else []
    return rows.run(row, [*earlier, rows.attempt(ended, attempt.run_id)])


def cancel_queued(db: Connection, run_id: str, *, at_ms: int) -> Run | None:
    """Queued → canceled."""
    changed = db.execute(
        "UPDATE runs SET status = 'canceled', cancel_requested = 1, waits_for = NULL, updated_at_ms = ?, completed_at_ms = ?,"
        " reason = 'canceled', error = 'The run was canceled before it started'"
        " WHERE id = ? AND status = 'queued' RETURNING seq, event_seq",
        (at_ms, at_ms, run_id),
    ).fetchone()
    if changed is None:
        return None
    journal.add_run(db, at_ms, changed[1], changed[0], ProcessStatus.CANCELED)
    gates.ended(db, changed[0], at_ms=at_ms)
    return whole_run(db, run_id)


def request_cancel(db: Connection, run_id: str, *, at_ms: int) -> bool:
    """Note the wish on a running run. False when it is not running."""
    done = db.execute(
        "UPDATE runs SET cancel_requested = 1, updated_at_ms = ? WHERE id = ? AND status = 'running'", (at_ms, run_id)
    )
    return done.rowcount == 1


def whole_run(db: Connection, run_id: str) -> Run:
    """A run as it is now, with its attempts."""
    row = db.execute(f"{rows.RUNS} WHERE r.id = ?", (run_id,)).fetchone()
    return rows.run(row, _attempts(db, row[0], run_id))


def _attempts(db: Connection, seq: int, run_id: str) -> list[Attempt]:
    found = db.execute(f"SELECT {rows.ATTEMPT_COLUMNS} FROM attempts WHERE run_seq = ? ORDER BY number", (seq,))
    return [rows.attempt(row, run_id) for row in found]
