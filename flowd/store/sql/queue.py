"""The queue: which runs may start, in which order, and what keeps the others. Each function runs inside the writer's
transaction.

A queued run that waits for nothing, and was not called off, is *ready*, and has a number from when it became so. Runs of a higher priority start
first, and within a priority in the order of these numbers.
"""

from flowd.domain import definition as definitions
from flowd.domain.definition import Definition
from flowd.domain.ids import attempt_id
from flowd.domain.queueing import Claim, Claimed, StartedRun
from flowd.domain.run import Attempt, ProcessStatus
from flowd.domain.tenure import may_run_until_s
from flowd.store.sql import able, bursts, clocks, expiring, gates, journal, need_ends, pauses, rows, timings
from flowd.store.sql.connection import Connection, WriteNotes
from flowd.store.sql.passing import Ended, Passing

MAX_MOVED = 500
"""Runs that begin or end to wait in one transaction, so that nobody waits long behind it."""

NEXT = (
    f"SELECT {rows.RUN_COLUMNS}, r.ready_seq, e.traceparent, coalesce((SELECT body FROM causes WHERE seq = r.cause_seq), e.body)"
    " FROM runs r INDEXED BY runs_ready JOIN events e ON e.seq = r.event_seq"
    " WHERE r.status = 'queued' AND r.waits_for IS NULL AND r.called_off IS NULL"
    " ORDER BY r.priority DESC, r.ready_seq LIMIT ?"
)
DUE = (
    "SELECT seq, event_seq, timing IS NOT NULL AND wait_why IN ('delay', 'debounce') FROM runs"
    " WHERE waits_for = 'time' AND not_before_ms <= ? ORDER BY not_before_ms, seq LIMIT ?"
)
AT_INSTANT = (
    "SELECT seq, event_seq, 1 FROM runs WHERE waits_for = 'instant' AND not_before_ms <= ?"
    " ORDER BY not_before_ms, seq LIMIT ?"
)
_SHORTEN = (
    "UPDATE runs SET not_before_ms = ? + wait_ms WHERE seq IN"
    " (SELECT seq FROM runs WHERE waits_for = 'time' AND not_before_ms > ? + wait_ms LIMIT ?)"
)
_SHORTENED = 10_000
NEXT_DUE = (
    "SELECT (SELECT min(not_before_ms) FROM runs WHERE waits_for = 'time'),"
    f" (SELECT min(not_before_ms) FROM runs WHERE waits_for = 'instant'), {expiring.NEXT}"
)


def claim(db: Connection, ask: Claim) -> Claimed:
    """Queued → running for the next runs that may start, each with a new attempt; see `flowd.ports.Store.claim`."""
    next_due_ms, is_behind = _end_waits(db, ask)
    if is_behind:  # what waited too long must not start
        return Claimed(next_due_ms=next_due_ms, has_more=True)
    has_more = ask.limit == 0  # then nobody looked
    started: list[StartedRun] = []
    parked = left = 0
    while len(started) < ask.limit and parked < MAX_MOVED and not left:
        wanted = min(ask.limit - len(started), MAX_MOVED - parked)
        found = db.execute(NEXT, (wanted + 1,)).fetchall()  # one more, to see whether there is any
        if ask.host is not None:
            found = able.next_runs(db, ask, found, wanted + 1)
        has_more = len(found) > wanted
        if not found:
            break
        for row in found[:wanted]:
            definition = ask.definition_of(row[rows.FLOW_NAME], row[rows.STEP_NAME])
            if definition is None and ask.host is not None:
                left += 1  # its abilities are about to change
            elif definition is None:
                parked += 1
                _wait_for_package(db, row, ask.at_ms)
                if row[rows.STEP_KEY] is not None:
                    break  # who got its key may go before the others
            else:
                started.append(_start(db, row, definition, ask))
    if ask.limit and isinstance(db, WriteNotes):
        db.is_any_ready = False  # what is left is told with the claim
    return Claimed(
        started=tuple(started),
        next_due_ms=next_due_ms,
        has_more=has_more or parked == MAX_MOVED,  # what gave its key back there has perhaps let others come
        is_missing_package=parked > 0,
    )


def requeue(db: Connection, run_id: str, *, at_ms: int) -> bool:
    """Running → queued, in its old place if nobody has paused it, forgetting an attempt that no process was ever started
    for."""
    changed = db.execute(
        "UPDATE runs SET status = 'queued', attempt_count = attempt_count - 1, updated_at_ms = ?,"
        " started_at_ms = CASE attempt_count WHEN 1 THEN NULL ELSE started_at_ms END"
        " WHERE id = ? AND status = 'running' AND cancel_requested = 0 RETURNING seq, event_seq, attempt_count, timing",
        (at_ms, run_id),
    ).fetchone()
    if changed is None:
        return False
    seq, event_seq, left, timing = changed
    db.execute("DELETE FROM attempts WHERE run_seq = ? AND number = ?", (seq, left + 1))
    if left:
        _show_attempt(db, seq, left)
    if pauses.look(db, seq, event_seq, at_ms) is Passing.FREE:
        timeout_ms = None if timing is None else timings.read(timing).queue_timeout_ms
        if timeout_ms is not None:
            expiring.begin(db, seq, timeout_ms, at_ms)
        journal.add_run(db, at_ms, event_seq, seq, ProcessStatus.QUEUED)
    else:
        gates.paused(db, seq, at_ms=at_ms)
    return True


def _show_attempt(db: Connection, seq: int, number: int) -> None:
    """Let a run show what this attempt was made with."""
    made_with = db.execute(
        "SELECT d.body, a.package_hash FROM attempts a JOIN definitions d ON d.id = a.definition_id"
        " WHERE a.run_seq = ? AND a.number = ?",
        (seq, number),
    ).fetchone()
    if made_with is not None:  # an imported attempt has no definition
        definition = definitions.parse(made_with[0])
        db.execute(
            "UPDATE runs SET flow_version = ?, runner = ?, package_hash = ? WHERE seq = ?",
            (definition.flow_version, definition.runner, made_with[1], seq),
        )


def shorten_waits(db: Connection, steady_ms: int) -> None:
    """Let no wait for a time last longer from now than it is in whole. ``steady_ms`` is by this host's clock."""
    now_ms = steady_ms + (clocks.ahead_ms(db) or 0)
    # Some at a time: what undoes a statement is kept in memory.
    while db.execute(_SHORTEN, (now_ms, now_ms, _SHORTENED)).rowcount == _SHORTENED:
        pass
    while expiring.shorten(db, now_ms, limit=_SHORTENED) == _SHORTENED:
        pass


def _end_waits(db: Connection, ask: Claim) -> tuple[int | None, bool]:
    """Let go on what has waited for its time, and end what has waited too long for its turn: the rest of very many at
    the next call. When the next one's time comes, by this host's steady clock; and whether some may still wait that
    should have been ended."""
    ahead_ms = clocks.ahead_ms(db)
    if ahead_ms is not None:
        _mend_waits(db, ask.steady_ms)
    now_ms = ask.steady_ms + (ahead_ms or 0)
    wall_ms = ask.at_ms if ahead_ms is None else now_ms
    next_ones = db.execute(NEXT_DUE).fetchone()
    if next_ones == (None, None, None):
        return None, False
    is_due = [due is not None and due <= now for due, now in zip(next_ones, (now_ms, wall_ms, now_ms), strict=True)]
    due = db.execute(DUE, (now_ms, MAX_MOVED)).fetchall() if is_due[0] else []
    due += db.execute(AT_INSTANT, (wall_ms, MAX_MOVED)).fetchall() if is_due[1] else []
    for seq, event_seq, has_more_times in due:
        gates.advance(db, seq, event_seq, at_ms=ask.at_ms, behind="person" if has_more_times else "time")
    ended = expiring.end(db, now_ms, at_ms=ask.at_ms, limit=MAX_MOVED) if is_due[2] else []
    gates.do(db, map(Ended, ended), at_ms=ask.at_ms)
    if any(is_due):
        next_ones = db.execute(NEXT_DUE).fetchone()
    timed, at_instant, expiring_ms = next_ones
    left = [one - now_ms for one in (timed, expiring_ms) if one is not None]
    if at_instant is not None:
        left.append(min(clocks.LOOK_MS, at_instant - wall_ms))
    return (ask.steady_ms + min(left) if left else None), len(ended) == MAX_MOVED


def _mend_waits(db: Connection, steady_ms: int) -> None:
    if isinstance(db, WriteNotes) and db.was_set_back:
        db.was_set_back = False
        shorten_waits(db, steady_ms)


def _wait_for_package(db: Connection, row: rows.Row, at_ms: int) -> None:
    db.execute(
        f"UPDATE runs SET waits_for = 'package', updated_at_ms = ?, {expiring.HOLD} WHERE seq = ?",
        (at_ms, clocks.steady_ms(db, at_ms), row[0]),
    )
    journal.add_run(db, at_ms, row[rows.EVENT_SEQ], row[0], ProcessStatus.QUEUED)
    if row[rows.STEP_KEY] is not None:
        gates.paused(db, row[0], at_ms=at_ms)


def _start(db: Connection, row: rows.Row, definition: Definition, ask: Claim) -> StartedRun:
    seq, event_seq = row[0], row[rows.EVENT_SEQ]
    fence, trace, body = row[-3:]
    run = rows.started(row, definition, ask.at_ms)
    number = run.attempt_count
    db.write(
        "UPDATE runs SET status = 'running', attempt_count = ?, updated_at_ms = ?, started_at_ms = ?, flow_version = ?,"
        " runner = ?, package_hash = ?, reason = NULL, error = NULL, exit_code = NULL, signal = NULL, progress = NULL,"
        " expires_at_ms = NULL, queue_left_ms = NULL"
        " WHERE seq = ?",
        (
            number,
            run.updated_at_ms,
            run.started_at_ms,
            definition.flow_version,
            definition.runner,
            definition.package_hash,
            seq,
        ),
    )
    db.write(
        "INSERT INTO definitions (id, body) VALUES (?, ?) ON CONFLICT DO NOTHING", (definition.id, definition.body)
    )
    db.write(
        "INSERT INTO attempts"
        " (run_seq, number, status, worker_id, boot_id, started_at_ms, definition_id, package_hash, answer)"
        " VALUES (?, ?, 'running', ?, ?, ?, ?, ?, ?)",
        (seq, number, ask.worker_id, ask.boot_id, ask.at_ms, definition.id, definition.package_hash, row[rows.ANSWER]),
    )
    lease_until_s = None
    if ask.host is not None:
        able.begin(db, seq, number, definition, ask.host)
        lost_after_ms, grace_ms = definition.lost_after_ms, definition.grace_ms
        lease_until_s = may_run_until_s(ask.asked_s, lost_after_ms=lost_after_ms, grace_ms=grace_ms)
    journal.add_run(db, ask.at_ms, event_seq, seq, ProcessStatus.RUNNING, attempt=number)
    attempt = Attempt(
        id=attempt_id(run.id, number),
        run_id=run.id,
        number=number,
        status=ProcessStatus.RUNNING,
        worker_id=ask.worker_id,
        boot_id=ask.boot_id,
        started_at_ms=ask.at_ms,
        package_hash=definition.package_hash,
        answer=run.answer,
        host=None if ask.host is None else ask.host.name,
    )
    ends = () if row[rows.RUN_WHEN] is None else tuple(need_ends.of_run(db, seq))
    burst = bursts.of_run(db, seq) if definition.waits_for_quiet else None
    return StartedRun(run, attempt, definition, body.encode(), ends, trace, lease_until_s, fence, burst)
