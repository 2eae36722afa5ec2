"""The gate of needs: a run waits until all that it needs has ended, then it is looked at once. Each function runs inside
the writer's transaction.
"""

from flowd.domain.needs import unmet
from flowd.domain.result import ResultStatus, spell
from flowd.domain.run import ProcessStatus, Reason
from flowd.store.sql import journal, need_ends, rows
from flowd.store.sql.connection import Connection
from flowd.store.sql.passing import Freed, Passing

_IS_NEEDED = "SELECT 1 FROM needs WHERE need_seq = ? LIMIT 1"
_ONE_LESS = (
    "UPDATE runs SET needs_left = needs_left - 1 WHERE waits_for = 'needs'"
    " AND seq IN (SELECT run_seq FROM needs WHERE need_seq = ?) RETURNING seq, event_seq, needs_left"
)
_ASKING = (
    f"SELECT q.seq FROM needs n JOIN runs q ON q.seq = n.need_seq WHERE n.run_seq = ? AND {rows.IS_QUESTION} LIMIT 1"
)
_SKIP = (
    "UPDATE runs SET status = 'completed', waits_for = NULL, updated_at_ms = ?, completed_at_ms = ?, reason = ?,"
    " result_status = 'skipped', result = ?, failed_above = ? WHERE seq = ?"
)


def one_ended(db: Connection, run_seq: int, at_ms: int) -> list[Freed]:  # noqa: ARG001 - a `gates.Consequence`
    """A run has ended: one need less for those that wait for it. Those that wait for no other are looked at."""
    # Most runs are needed by none: to look costs a sixth of what an UPDATE that changes nothing costs.
    if db.execute(_IS_NEEDED, (run_seq,)).fetchone() is None:
        return []
    fewer = db.execute(_ONE_LESS, (run_seq,)).fetchall()
    return [Freed(seq, event_seq) for seq, event_seq, left in sorted(fewer) if left == 0]


def question_closed(db: Connection, run_seq: int, at_ms: int) -> list[Freed]:  # noqa: ARG001
    """A run asks nothing any more: those that waited for the answer are looked at."""
    found = db.execute(
        "SELECT r.seq, r.event_seq FROM needs n JOIN runs r ON r.seq = n.run_seq"
        " WHERE n.need_seq = ? AND r.waits_for = 'question' ORDER BY r.seq",
        (run_seq,),
    ).fetchall()
    return [Freed(seq, event_seq) for seq, event_seq in found]


def look(db: Connection, run_seq: int, event_seq: int, at_ms: int) -> Passing:
    """Whether a run may start after the ends of its needs; else it waits on, or ends unstarted."""
    when, left, waits_for = db.execute(
        "SELECT run_when, needs_left, waits_for FROM runs WHERE seq = ?", (run_seq,)
    ).fetchone()
    if when is None:
        return Passing.FREE
    if left:
        return _wait(db, Freed(run_seq, event_seq), "needs", waits_for, at_ms)
    if db.execute(_ASKING, (run_seq,)).fetchone() is not None:
        return _wait(db, Freed(run_seq, event_seq), "question", waits_for, at_ms)
    ends = need_ends.of_run(db, run_seq)
    message = unmet(when, ends)
    if message is None:
        return Passing.FREE
    result = spell({"status": ResultStatus.SKIPPED, "message": message})
    is_failed_above = any(end.is_failure for end in ends if end.is_asked)
    db.execute(_SKIP, (at_ms, at_ms, Reason.NEEDS_NOT_MET, result, is_failed_above, run_seq))
    journal.add_run(db, at_ms, event_seq, run_seq, ProcessStatus.COMPLETED)
    return Passing.ENDED


def _wait(db: Connection, run: Freed, what: str, before: str | None, at_ms: int) -> Passing:
    if what != before:
        db.execute("UPDATE runs SET waits_for = ?, updated_at_ms = ? WHERE seq = ?", (what, at_ms, run.run_seq))
        journal.add_run(db, at_ms, run.event_seq, run.run_seq, ProcessStatus.QUEUED)
    return Passing.KEPT
