"""Every change to the database, one function a use case. Each runs inside the writer's transaction."""

import sqlite3
from collections.abc import Sequence
from dataclasses import replace
from functools import lru_cache

from flowd.domain import definition as definitions
from flowd.domain.definition import Definition
from flowd.domain.errors import EventNotFoundError, QueueFullError
from flowd.domain.ids import attempt_id
from flowd.domain.run import Attempt, Exit, Outcome, ProcessStatus, Run
from flowd.ports import Accepted, NewEvent, NewRun, Output, StartedRun, StoredEvent
from flowd.store.sqlite import journal, reads, rows


def accept(db: sqlite3.Connection, event: NewEvent, runs: Sequence[NewRun], *, at_ms: int, max_queued: int) -> Accepted:
    """Store an event with its queued runs, or return what its id already stands for."""
    known = db.execute(f"SELECT {rows.EVENT_COLUMNS} FROM events WHERE id = ?", (event.id,)).fetchone()
    if known is not None:
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
    _refuse_overflow(db, len(runs), max_queued)
    seq = db.execute(
        "INSERT INTO events (id, type, source, occurred_at, received_at, created_at_ms, fingerprint, body)"
        " VALUES (?, ?, ?, ?, ?, ?, ?, ?)",
        (
            event.id,
            event.type,
            event.source,
            event.occurred_at,
            event.received_at,
            at_ms,
            event.fingerprint,
            event.body.decode(),
        ),
    ).lastrowid
    assert seq is not None
    journal.add_event(db, at_ms, seq)
    created = tuple(_insert_run(db, seq, event.id, run, at_ms) for run in runs)
    stored_event = StoredEvent(
        event.id,
        event.type,
        event.source,
        event.occurred_at,
        event.received_at,
        event.body,
        at_ms,
        tuple(run.id for run in created),
    )
    return Accepted(event=stored_event, runs=created)


def add_runs(
    db: sqlite3.Connection, event_id: str, runs: Sequence[NewRun], *, at_ms: int, max_queued: int
) -> tuple[Run, ...]:
    """Queue more runs for a stored event."""
    found = db.execute("SELECT seq FROM events WHERE id = ?", (event_id,)).fetchone()
    if found is None:
        raise EventNotFoundError(event_id)
    _refuse_overflow(db, len(runs), max_queued)
    return tuple(_insert_run(db, found[0], event_id, run, at_ms) for run in runs)


def begin(db: sqlite3.Connection, run_id: str, *, worker_id: str, boot_id: str, at_ms: int) -> StartedRun | None:
    """Queued → running, with a new attempt."""
    changed = db.execute(
        "UPDATE runs SET status = 'running', attempt_count = attempt_count + 1, updated_at_ms = ?1, not_before_ms = 0,"
        " started_at_ms = coalesce(started_at_ms, ?1) WHERE id = ?2 AND status = 'queued'"
        " RETURNING seq, event_seq, definition_id, attempt_count",
        (at_ms, run_id),
    ).fetchone()
    if changed is None:
        return None
    seq, event_seq, definition_id, number = changed
    db.execute(
        "INSERT INTO attempts (run_seq, number, status, worker_id, boot_id, started_at_ms) VALUES (?, ?, 'running', ?, ?, ?)",
        (seq, number, worker_id, boot_id, at_ms),
    )
    journal.add_run(db, at_ms, event_seq, seq, ProcessStatus.RUNNING, attempt=number)
    (definition,) = db.execute("SELECT body FROM definitions WHERE id = ?", (definition_id,)).fetchone()
    (body,) = db.execute("SELECT body FROM events WHERE seq = ?", (event_seq,)).fetchone()
    attempt = Attempt(
        id=attempt_id(run_id, number),
        run_id=run_id,
        number=number,
        status=ProcessStatus.RUNNING,
        worker_id=worker_id,
        boot_id=boot_id,
        started_at_ms=at_ms,
    )
    return StartedRun(read_run(db, seq), attempt, _definition(definition), body.encode())


@lru_cache(maxsize=1024)
def _definition(body: str) -> Definition:
    return definitions.parse(body)


def note_start(db: sqlite3.Connection, attempt: Attempt) -> None:
    """Remember what runs: its pid, command and working directory."""
    db.execute(
        "UPDATE attempts SET pid = ?, command = ?, cwd = ? WHERE run_seq = (SELECT seq FROM runs WHERE id = ?) AND number = ?",
        (attempt.pid, rows.strings(attempt.command), attempt.cwd, attempt.run_id, attempt.number),
    )


def finish(
    db: sqlite3.Connection,
    attempt: Attempt,
    outcome: Outcome,
    exit_: Exit,
    output: Output,
    *,
    at_ms: int,
    retry_at_ms: int | None,
) -> Run:
    """Running → final, or back to queued. A second time changes nothing."""
    seq, event_seq = db.execute("SELECT seq, event_seq FROM runs WHERE id = ?", (attempt.run_id,)).fetchone()
    completed_at_ms = exit_.completed_at_ms(attempt.started_at_ms, at_ms)
    ended = db.execute(
        "UPDATE attempts SET status = ?, completed_at_ms = ?, reason = ?, error = ?, exit_code = ?, signal = ?,"
        " leftovers = ?, survivors = ?, max_rss_bytes = ?, cpu_ms = ?, stdout_bytes = ?, stderr_bytes = ?, truncated = ?,"
        " stdout = ?, stderr = ?, pid = coalesce(?, pid), command = coalesce(?, command), cwd = coalesce(?, cwd)"
        " WHERE run_seq = ? AND number = ? AND status = 'running'",
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
            output.stdout_bytes,
            output.stderr_bytes,
            output.is_truncated,
            output.stdout,
            output.stderr,
            attempt.pid,
            rows.strings(attempt.command),
            attempt.cwd,
            seq,
            attempt.number,
        ),
    )
    if ended.rowcount == 0:
        return _whole_run(db, seq)
    result, reported = outcome.result, outcome.reported_result
    status = outcome.status if retry_at_ms is None else ProcessStatus.QUEUED
    db.execute(
        "UPDATE runs SET status = ?1, updated_at_ms = ?2, completed_at_ms = ?3, not_before_ms = ?4, reason = ?5, error = ?6,"
        " exit_code = ?7, signal = ?8, result_status = ?9, result = ?10, reported_status = ?11, reported_result = ?12"
        " WHERE seq = ?13 AND status = 'running' AND attempt_count = ?14",
        (
            status,
            at_ms,
            completed_at_ms if retry_at_ms is None else None,
            retry_at_ms or 0,
            outcome.reason,
            outcome.error,
            outcome.exit_code,
            outcome.signal,
            result.status if result else None,
            result.text if result else None,
            reported.status if reported else None,
            reported.text if reported else None,
            seq,
            attempt.number,
        ),
    )
    journal.add_run(db, at_ms, event_seq, seq, status, attempt=attempt.number)
    return _whole_run(db, seq)


def requeue(db: sqlite3.Connection, run_id: str, *, at_ms: int) -> None:
    """Running → queued, forgetting an attempt that no process was ever started for."""
    changed = db.execute(
        "UPDATE runs SET status = 'queued', attempt_count = attempt_count - 1, updated_at_ms = ?1,"
        " started_at_ms = CASE attempt_count WHEN 1 THEN NULL ELSE started_at_ms END"
        " WHERE id = ?2 AND status = 'running' RETURNING seq, event_seq, attempt_count",
        (at_ms, run_id),
    ).fetchone()
    if changed is not None:
        seq, event_seq, left = changed
        db.execute("DELETE FROM attempts WHERE run_seq = ? AND number = ?", (seq, left + 1))
        journal.add_run(db, at_ms, event_seq, seq, ProcessStatus.QUEUED)


def cancel_queued(db: sqlite3.Connection, run_id: str, *, at_ms: int) -> Run | None:
    """Queued → canceled."""
    changed = db.execute(
        "UPDATE runs SET status = 'canceled', cancel_requested = 1, updated_at_ms = ?1, completed_at_ms = ?1,"
        " reason = 'canceled', error = 'The run was canceled before it started'"
        " WHERE id = ?2 AND status = 'queued' RETURNING seq, event_seq",
        (at_ms, run_id),
    ).fetchone()
    if changed is None:
        return None
    journal.add_run(db, at_ms, changed[1], changed[0], ProcessStatus.CANCELED)
    return _whole_run(db, changed[0])


def request_cancel(db: sqlite3.Connection, run_id: str, *, at_ms: int) -> None:
    """Note the wish on a running run."""
    db.execute(
        "UPDATE runs SET cancel_requested = 1, updated_at_ms = ? WHERE id = ? AND status = 'running'", (at_ms, run_id)
    )


def retry(
    db: sqlite3.Connection, run_id: str, definition: Definition | None, *, at_ms: int, max_queued: int
) -> Run | None:
    """Final → queued."""
    found = db.execute("SELECT seq, event_seq, status FROM runs WHERE id = ?", (run_id,)).fetchone()
    if found is None or not ProcessStatus(found[2]).is_final:
        return None
    _refuse_overflow(db, 1, max_queued)
    seq, event_seq, _ = found
    db.execute(
        "UPDATE runs SET status = 'queued', updated_at_ms = ?, completed_at_ms = NULL, cancel_requested = 0, reason = NULL,"
        " error = NULL, exit_code = NULL, signal = NULL, result_status = NULL, result = NULL, reported_status = NULL,"
        " reported_result = NULL WHERE seq = ?",
        (at_ms, seq),
    )
    if definition is not None:
        _remember(db, definition)
        db.execute(
            "UPDATE runs SET definition_id = ?, flow_version = ?, runner = ?, package_hash = ? WHERE seq = ?",
            (definition.id, definition.flow_version, definition.runner, definition.package_hash, seq),
        )
    journal.add_run(db, at_ms, event_seq, seq, ProcessStatus.QUEUED)
    return read_run(db, seq)


def read_run(db: sqlite3.Connection, seq: int) -> Run:
    """A run without its attempts, as this transaction sees it."""
    return rows.run(db.execute(f"{rows.RUNS} WHERE r.seq = ?", (seq,)).fetchone())


def _whole_run(db: sqlite3.Connection, seq: int) -> Run:
    run = read_run(db, seq)
    found = db.execute(f"SELECT {rows.ATTEMPT_COLUMNS} FROM attempts WHERE run_seq = ? ORDER BY number", (seq,))
    return replace(run, attempts=tuple(rows.attempt(row, run.id) for row in found))


def _insert_run(db: sqlite3.Connection, event_seq: int, event_id: str, new: NewRun, at_ms: int) -> Run:
    definition = new.definition
    _remember(db, definition)
    seq = db.execute(
        "INSERT INTO runs (id, event_seq, definition_id, flow_name, flow_version, step_name, runner, package_hash,"
        " replay_of, status, created_at_ms, updated_at_ms) VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, 'queued', ?10, ?10)",
        (
            new.id,
            event_seq,
            definition.id,
            definition.flow_name,
            definition.flow_version,
            definition.step_name,
            definition.runner,
            definition.package_hash,
            new.replay_of,
            at_ms,
        ),
    ).lastrowid
    assert seq is not None
    journal.add_run(db, at_ms, event_seq, seq, ProcessStatus.QUEUED)
    return Run(
        id=new.id,
        event_id=event_id,
        flow_name=definition.flow_name,
        flow_version=definition.flow_version,
        step_name=definition.step_name,
        runner=definition.runner,
        package_hash=definition.package_hash,
        status=ProcessStatus.QUEUED,
        created_at_ms=at_ms,
        updated_at_ms=at_ms,
        replay_of=new.replay_of,
    )


def _remember(db: sqlite3.Connection, definition: Definition) -> None:
    db.execute("INSERT OR IGNORE INTO definitions (id, body) VALUES (?, ?)", (definition.id, definition.body))


def _refuse_overflow(db: sqlite3.Connection, more: int, max_queued: int) -> None:
    (queued,) = db.execute("SELECT n FROM counts WHERE name = 'queued'").fetchone()
    if more and queued + more > max_queued:
        raise QueueFullError(
            f"{queued} runs are queued already and max_queued is {max_queued}; nothing was stored. "
            f"Send the event again when the queue is shorter.",
            queued=queued,
            maxQueued=max_queued,
        )
