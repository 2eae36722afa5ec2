"""How long a run may wait for its key and its place. Each function runs inside the writer's transaction.

The time begins where it comes to the gate of keys, stands still while something else keeps it, and is whole again for
each attempt.
"""

from flowd.domain.run import ProcessStatus, Reason
from flowd.store.sql import clocks, journal, timings
from flowd.store.sql.connection import Connection

EXPIRED = (
    "SELECT seq, event_seq, flow_name, step_name, timing FROM runs WHERE expires_at_ms IS NOT NULL"
    " AND status = 'queued' AND called_off IS NULL AND expires_at_ms <= ? AND coalesce(waits_for, 'key') = 'key'"
    " ORDER BY expires_at_ms, seq LIMIT ?"
)
NEXT = (
    "(SELECT min(expires_at_ms) FROM runs WHERE expires_at_ms IS NOT NULL AND status = 'queued' AND called_off IS NULL"
    " AND coalesce(waits_for, 'key') = 'key')"
)
"""When the next one's time is over. A host of before queue timeouts holds none of them, so only those count that wait."""

HOLD = "queue_left_ms = CASE WHEN expires_at_ms IS NULL THEN queue_left_ms ELSE expires_at_ms - ? END, expires_at_ms = NULL"
"""Of an UPDATE of runs that wait for something else from now on, which is the value: by the steady clock of the store."""

_SHORTEN = (
    "UPDATE runs SET expires_at_ms = ? + queue_left_ms WHERE seq IN (SELECT seq FROM runs WHERE expires_at_ms IS NOT NULL"
    " AND status = 'queued' AND called_off IS NULL AND expires_at_ms > ? + queue_left_ms LIMIT ?)"
)


def begin(db: Connection, run_seq: int, timeout_ms: int, at_ms: int) -> None:
    """A run waits for its key or its place from now on, if it has not done so before."""
    now_ms = clocks.steady_ms(db, at_ms)
    begun = db.execute(
        "UPDATE runs SET expires_at_ms = ? + coalesce(queue_left_ms, ?), queue_left_ms = coalesce(queue_left_ms, ?)"
        " WHERE seq = ? AND expires_at_ms IS NULL RETURNING expires_at_ms",
        (now_ms, timeout_ms, timeout_ms, run_seq),
    ).fetchone()
    if begun is not None:
        clocks.note_due(db, begun[0])


def end(db: Connection, now_ms: int, *, at_ms: int, limit: int) -> list[int]:
    """End the next of those whose time is over; which they are. What follows from that is the caller's.

    Args:
        now_ms: By the steady clock of the store.
    """
    found = db.execute(EXPIRED, (now_ms, limit)).fetchall()
    for seq, event_seq, flow, step, timing in found:
        whole_ms = timings.read(timing).queue_timeout_ms or 0
        error = f"Step {flow}/{step} was not started: it had waited {_spelt(whole_ms)} for its turn (queue_timeout_ms)"
        db.execute(
            "UPDATE runs SET status = 'failed', waits_for = NULL, wait_why = NULL, expires_at_ms = NULL,"
            " queue_left_ms = NULL, updated_at_ms = ?, completed_at_ms = ?, reason = ?, error = ?, exit_code = NULL,"
            " signal = NULL WHERE seq = ?",
            (at_ms, at_ms, Reason.QUEUE_TIMEOUT, error, seq),
        )
        journal.add_run(db, at_ms, event_seq, seq, ProcessStatus.FAILED)
    return [row[0] for row in found]


def shorten(db: Connection, now_ms: int, *, limit: int) -> int:
    """Let some wait no longer from now than they may in whole; how many."""
    return db.execute(_SHORTEN, (now_ms, now_ms, limit)).rowcount


def _spelt(ms: int) -> str:
    return f"{ms} ms" if ms < 1_000 else f"{ms / 1_000:g} s"
