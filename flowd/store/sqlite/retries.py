"""Another attempt of a run that has ended, because a caller asks for it. Runs inside the writer's transaction."""

import sqlite3

from flowd.domain.run import ProcessStatus, Run
from flowd.store.sqlite import bounds, journal, queue, rows


def retry(db: sqlite3.Connection, run_id: str, *, at_ms: int, max_queued: int) -> Run | None:
    """Final → queued."""
    found = db.execute("SELECT seq, event_seq, status FROM runs WHERE id = ?", (run_id,)).fetchone()
    if found is None or not ProcessStatus(found[2]).is_final:
        return None
    bounds.refuse_overflow(bounds.queued(db), 1, max_queued)
    seq, event_seq, _ = found
    db.execute(
        "UPDATE runs SET status = 'queued', ready_seq = ?, updated_at_ms = ?, completed_at_ms = NULL, cancel_requested = 0,"
        " reason = NULL, error = NULL, exit_code = NULL, signal = NULL, result_status = NULL, result = NULL,"
        " reported_status = NULL, reported_result = NULL WHERE seq = ?",
        (queue.next_number(db), at_ms, seq),
    )
    journal.add_run(db, at_ms, event_seq, seq, ProcessStatus.QUEUED)
    return rows.run(db.execute(f"{rows.RUNS} WHERE r.seq = ?", (seq,)).fetchone())
