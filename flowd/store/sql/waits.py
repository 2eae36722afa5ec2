"""The ends of waits for a package and for a person's word. Each function runs inside the writer's transaction."""

from flowd.domain.run import ProcessStatus, Reason, Run
from flowd.domain.waiting import MissedStep
from flowd.store.sql import gates, journal, queue, rows
from flowd.store.sql.connection import Connection

_FORGET = "UPDATE runs SET wait_why = NULL, not_before_ms = 0"


def steps_missed(db: Connection) -> list[MissedStep]:
    """The steps of the runs that wait for their package."""
    found = db.execute(
        "SELECT flow_name, step_name, min(CASE WHEN wait_why = 'removed' THEN not_before_ms END) FROM runs"
        " WHERE waits_for = 'package' GROUP BY flow_name, step_name ORDER BY flow_name, step_name"
    )
    return [MissedStep(*row) for row in found]


def note_removed(db: Connection, flow_name: str, step_name: str, since_ms: int | None) -> None:
    """Remember since when a step is gone, in the first of the runs that wait for it; None: it is not."""
    if since_ms is None:
        db.execute(
            f"{_FORGET} WHERE waits_for = 'package' AND flow_name = ? AND step_name = ? AND wait_why = 'removed'",
            (flow_name, step_name),
        )
        return
    first = _missing(db, flow_name, step_name)
    db.executemany(
        "UPDATE runs SET wait_why = 'removed', not_before_ms = ? WHERE seq = ?", [(since_ms, seq) for seq, _ in first]
    )


def end_package_wait(db: Connection, flow_name: str, step_name: str, *, at_ms: int) -> int:
    """Make the next runs ready that wait for this step; how many they are, 0 when none is left."""
    found = _missing(db, flow_name, step_name)
    db.executemany(f"{_FORGET} WHERE seq = ?", [(seq,) for seq, _ in found])
    for seq, event_seq in found:
        gates.advance(db, seq, event_seq, at_ms=at_ms, behind="time")
    return len(found)


def end_person_waits(db: Connection, *, at_ms: int) -> int:
    """Make the next runs ready that wait for a person; how many they are, 0 when none is left."""
    found = db.execute(
        "SELECT seq, event_seq FROM runs WHERE status = 'queued' AND status IN ('queued', 'running')"
        " AND waits_for = 'person' ORDER BY ready_seq LIMIT ?",
        (queue.MAX_MOVED,),
    ).fetchall()
    for seq, event_seq in found:
        gates.advance(db, seq, event_seq, at_ms=at_ms, behind="person")
    return len(found)


def fail_removed(db: Connection, flow_name: str, step_name: str, *, at_ms: int) -> list[Run]:
    """Queued → failed for the next runs that wait for this step; none when none is left."""
    found = _missing(db, flow_name, step_name)
    error = f"Step {flow_name}/{step_name} could not start: it was removed. Put its package back, then retry the run"
    for seq, event_seq in found:
        db.execute(
            "UPDATE runs SET status = 'failed', waits_for = NULL, updated_at_ms = ?, completed_at_ms = ?, reason = ?,"
            " error = ? WHERE seq = ?",
            (at_ms, at_ms, Reason.STEP_REMOVED, error, seq),
        )
        journal.add_run(db, at_ms, event_seq, seq, ProcessStatus.FAILED)
        gates.ended(db, seq, at_ms=at_ms)
    return [rows.run(db.execute(f"{rows.RUNS} WHERE r.seq = ?", (seq,)).fetchone()) for seq, _ in found]


def _missing(db: Connection, flow_name: str, step_name: str) -> list[tuple[int, int]]:
    return db.execute(
        "SELECT seq, event_seq FROM runs WHERE waits_for = 'package' AND flow_name = ? AND step_name = ? ORDER BY seq LIMIT ?",
        (flow_name, step_name, queue.MAX_MOVED),
    ).fetchall()
