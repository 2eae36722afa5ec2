"""Bursts: events of one step and key that come before it is quiet, for all of which the run of the last one stands. Each
function runs inside the writer's transaction.
"""

from flowd.domain.timing import MAX_EARLIER, Burst, WantedQuiet
from flowd.domain.waiting import TimeWait
from flowd.store.sql import clocks, superseding
from flowd.store.sql.connection import Connection
from flowd.store.sql.passing import Ended

_OPEN = (
    "SELECT b.seq, b.run_seq, b.latest_ms, b.earlier, e.id, r.waits_for = 'time' AND r.wait_why = 'debounce'"
    " AND r.status = 'queued' AND r.called_off IS NULL FROM bursts b LEFT JOIN runs r ON r.seq = b.run_seq"
    " LEFT JOIN events e ON e.seq = r.event_seq"
    " WHERE b.flow_name = ? AND b.step_name = ? AND b.key = ? AND b.is_open = 1"
)


def come(
    db: Connection, run: tuple[int, str], step: tuple[str, str], wanted: WantedQuiet, at_ms: int
) -> tuple[TimeWait, list[Ended]]:
    """A new run comes to a burst, or begins one: how long it waits, and what is ended for it.

    Args:
        run: Its number and its id.
        step: The names of its flow and its step.
    """
    run_seq, run_id = run
    now_ms = clocks.steady_ms(db, at_ms)
    latest_ms = None if wanted.max_ms is None else now_ms + wanted.max_ms
    found = db.execute(_OPEN, (*step, wanted.key)).fetchone()
    if found is not None and not found[5]:  # its run has gone on, or was ended
        db.execute("UPDATE bursts SET is_open = 0 WHERE seq = ?", (found[0],))
        found = None
    ended: list[Ended] = []
    if found is None:
        db.execute(
            "INSERT INTO bursts (flow_name, step_name, key, run_seq, latest_ms) VALUES (?, ?, ?, ?, ?)",
            (*step, wanted.key, run_seq, latest_ms),
        )
    else:
        burst_seq, older_seq, known_ms, earlier, event_id, _ = found
        if latest_ms is not None and known_ms is not None:
            latest_ms = min(latest_ms, known_ms)
        if earlier < MAX_EARLIER:
            db.execute("INSERT INTO burst_events VALUES (?, ?, ?)", (burst_seq, earlier, event_id))
        db.execute(
            "UPDATE bursts SET run_seq = ?, latest_ms = ?, earlier = earlier + 1 WHERE seq = ?",
            (run_seq, latest_ms, burst_seq),
        )
        ended = superseding.for_later_event(db, older_seq, run_id, at_ms)
    until_ms = now_ms + wanted.quiet_ms
    until_ms = until_ms if latest_ms is None else min(until_ms, latest_ms)
    return TimeWait(until_ms, max(0, until_ms - now_ms), "debounce"), ended


def close(db: Connection, run_seq: int) -> None:
    """It was quiet, or nobody waits for that any more: who comes from now on begins another burst."""
    db.execute("UPDATE bursts SET is_open = 0 WHERE run_seq = ? AND is_open = 1", (run_seq,))


def of_run(db: Connection, run_seq: int) -> Burst:
    """The events for which a run stands beside its own."""
    found = db.execute("SELECT seq, earlier FROM bursts WHERE run_seq = ? ORDER BY seq DESC LIMIT 1", (run_seq,))
    burst = found.fetchone()
    if burst is None:
        return Burst((), 0)
    names = db.execute("SELECT event_id FROM burst_events WHERE burst_seq = ? ORDER BY place", (burst[0],))
    return Burst(tuple(name for (name,) in names.fetchall()), burst[1])


def forget(db: Connection, theirs: str, event_seqs: list[int]) -> None:
    """Forget the bursts of the runs of events. ``theirs`` is a condition of these runs with so many values."""
    runs = f"SELECT seq FROM runs WHERE timing IS NOT NULL AND {theirs}"
    of_runs = f"SELECT seq FROM bursts WHERE run_seq IN ({runs})"
    db.execute(f"DELETE FROM burst_events WHERE burst_seq IN ({of_runs})", event_seqs)
    db.execute(f"DELETE FROM bursts WHERE run_seq IN ({runs})", event_seqs)
