"""The leases of attempts, in a store that hosts share. Functions that write run inside the writer's transaction.

All instants are the server's: ``server_ms()`` is its clock.
"""

from flowd.domain import definition as definitions
from flowd.domain.exit import Exit
from flowd.domain.hosts import HostSession
from flowd.domain.ids import attempt_id
from flowd.domain.outcome import Outcome
from flowd.domain.queueing import LeftRunning
from flowd.domain.run import Attempt, Run
from flowd.domain.stored import Output
from flowd.domain.tenure import Held, Lost
from flowd.domain.waiting import TimeWait
from flowd.store.sql import queue, rows, writes
from flowd.store.sql.connection import Connection

_MAX_LOST = 100
"""In one look; the next one finds the rest."""


def renew(
    db: Connection, host: HostSession, *, running: int, places: int, is_draining: bool, now_ms: int
) -> list[Held] | None:
    """See `flowd.ports.hosts.Leases.renew`. ``now_ms`` is by this host's wall clock."""
    seen = db.execute(
        "UPDATE hosts SET seen_at_ms = server_ms(), running = ?, places = ?, is_draining = ?,"
        " clock_offset_ms = ? - server_ms()"
        " WHERE name = ? AND session = ? RETURNING 1",
        (running, places, int(is_draining), now_ms, host.name, host.session),
    ).fetchone()
    if seen is None:
        return None
    held = db.execute(
        "UPDATE attempts a SET lease_until_ms = server_ms() + a.lost_after_ms FROM runs r"
        " WHERE a.session = ? AND a.status = 'running' AND r.seq = a.run_seq"
        " RETURNING r.id, a.number, a.lost_after_ms, r.cancel_requested",
        (host.session,),
    ).fetchall()
    return [Held(attempt_id(run, number), run, number, lost_ms, bool(wish)) for run, number, lost_ms, wish in held]


def cancel_wishes(db: Connection, host: HostSession) -> list[str]:
    """See `flowd.ports.hosts.Leases.cancel_wishes`."""
    found = db.execute(
        "SELECT r.id FROM attempts a JOIN runs r ON r.seq = a.run_seq"
        " WHERE a.session = ? AND a.status = 'running' AND r.cancel_requested = 1",
        (host.session,),
    )
    return [row[0] for row in found]


def is_held(db: Connection, host: HostSession, attempt: Attempt) -> bool:
    """Whether this host holds an attempt. What another one holds, or nobody any more, may have its number."""
    found = db.execute(
        "SELECT session FROM attempts WHERE run_seq = (SELECT seq FROM runs WHERE id = ?) AND number = ?",
        (attempt.run_id, attempt.number),
    ).fetchone()
    return found is not None and bool(found[0] == host.session)


def return_run(db: Connection, host: HostSession, run_id: str, *, at_ms: int) -> bool:
    """See `flowd.ports.hosts.Leases.return_run`."""
    ours = db.execute(
        "SELECT 1 FROM runs r JOIN attempts a ON a.run_seq = r.seq AND a.number = r.attempt_count"
        " WHERE r.id = ? AND a.session = ? AND a.status = 'running'",
        (run_id, host.session),
    ).fetchone()
    return ours is not None and queue.requeue(db, run_id, at_ms=at_ms)


def expired(db: Connection) -> list[Lost]:
    """See `flowd.ports.hosts.Leases.expired`."""
    found = db.execute(
        "SELECT run_seq, host, lost_after_ms, definition_id, lease_until_ms FROM attempts"
        f" WHERE status = 'running' AND lease_until_ms < server_ms() ORDER BY lease_until_ms LIMIT {_MAX_LOST}"
    ).fetchall()
    lost = []
    for run_seq, host, lost_after_ms, definition_id, until_ms in found:
        left = _left(db, run_seq, definition_id)
        if left is not None:
            lost.append(Lost(left, host, lost_after_ms, is_declared=until_ms == 0))
    return lost


def of_session(db: Connection, host: HostSession) -> list[LeftRunning]:
    """The running runs that this host holds, oldest first, each with its last attempt."""
    found = db.execute(
        "SELECT run_seq, definition_id FROM attempts WHERE session = ? AND status = 'running' ORDER BY run_seq",
        (host.session,),
    ).fetchall()
    left = [_left(db, run_seq, definition_id) for run_seq, definition_id in found]
    return [one for one in left if one is not None]


def _left(db: Connection, run_seq: int, definition_id: str) -> LeftRunning | None:
    row = db.execute(f"{rows.RUNS} WHERE r.seq = ? AND r.status = 'running'", (run_seq,)).fetchone()
    if row is None:
        return None
    (body,) = db.execute("SELECT body FROM definitions WHERE id = ?", (definition_id,)).fetchone()
    run = rows.run(row)
    attempt = db.execute(
        f"SELECT {rows.ATTEMPT_COLUMNS} FROM attempts WHERE run_seq = ? AND number = ?", (run_seq, run.attempt_count)
    ).fetchone()
    return LeftRunning(run=run, attempt=rows.attempt(attempt, run.id), definition=definitions.parse(body))


def declare_lost(
    db: Connection, attempt: Attempt, outcome: Outcome, *, at_ms: int, wait: TimeWait | None
) -> Run | None:
    """See `flowd.ports.hosts.Leases.declare_lost`."""
    still = db.execute(
        "SELECT 1 FROM attempts WHERE run_seq = (SELECT seq FROM runs WHERE id = ?) AND number = ?"
        " AND status = 'running' AND lease_until_ms < server_ms()",
        (attempt.run_id, attempt.number),
    ).fetchone()
    if still is None:
        return None
    # What it printed is on the host, if that comes back, and else as far as it was shared.
    output = Output(None, None, is_truncated=True, order=None)
    return writes.end(db, attempt, outcome, Exit(), output, at_ms=at_ms, wait=wait)
