"""Another attempt of a run that has ended, because a caller asks for it. Runs inside the writer's transaction."""

from typing import NamedTuple

from flowd.domain.awaited import Waiting
from flowd.domain.errors import DependentActiveError, NeedsActiveError, NotRetryableError
from flowd.domain.people import Answer
from flowd.domain.queueing import QueueBounds
from flowd.domain.run import ProcessStatus, Reason, Run
from flowd.store.sql import bounds, gates, held_up, journal, keys, notices, reads, rows, words
from flowd.store.sql.connection import Connection

_AFRESH = (
    "status = 'queued', updated_at_ms = ?, completed_at_ms = NULL, cancel_requested = 0, reason = NULL, error = NULL,"
    " exit_code = NULL, signal = NULL, result_status = NULL, result = NULL, reported_status = NULL, reported_result = NULL,"
    " wants_person = 0, resolution = NULL, answer = NULL, attempts_before = 0, failed_above = 0,"
    " superseded_by = NULL, called_off = NULL, wait_why = NULL, not_before_ms = 0, wait_ms = 0,"
    " expires_at_ms = NULL, queue_left_ms = NULL"
)
"""What an end, or a wait, has left in a row is gone when the run is queued anew."""

_BELOW = (
    "WITH RECURSIVE below (seq) AS (SELECT run_seq FROM needs WHERE need_seq = ?"
    " UNION SELECT n.run_seq FROM needs n JOIN below b ON n.need_seq = b.seq)"
    " SELECT r.seq, r.id, r.event_seq, r.step_name, r.status FROM runs r JOIN below b ON b.seq = r.seq ORDER BY r.seq"
)
_OPEN_NEED = (
    f"SELECT q.id, q.step_name, q.status, q.result_status, {rows.IS_QUESTION} FROM needs n JOIN runs q ON q.seq = n.need_seq"
    f" WHERE n.run_seq = ? AND (q.status IN ('queued', 'running') OR {rows.IS_QUESTION}) ORDER BY n.place LIMIT 1"
)
_CULPRIT = (
    "WITH RECURSIVE above (seq) AS (SELECT need_seq FROM needs WHERE run_seq = ?"
    " UNION SELECT n.need_seq FROM needs n JOIN above a ON n.run_seq = a.seq)"
    " SELECT q.id, q.step_name FROM runs q JOIN above a ON a.seq = q.seq"
    " WHERE coalesce(q.reason, '') <> ? AND (q.status IN ('failed', 'canceled') OR q.result_status = 'failed')"
    " ORDER BY q.seq LIMIT 1"
)


class _Dependent(NamedTuple):
    """A run that cannot start before the retried one has ended again."""

    seq: int
    run_id: str
    event_seq: int
    step_name: str
    status: str


def retry(
    db: Connection,
    run_id: str,
    *,
    at_ms: int,
    within: QueueBounds,
    answer: Answer | None = None,
    waiting: Waiting | None = None,
) -> Run | None:
    """Final → queued, whatever its needs ended as; and all that is below it in its round goes back to waiting.

    What the last attempts had said, and how people put that right, are these attempts' alone from then on.

    Args:
        answer: What a person has answered, if the run asked.
        waiting: A step that is about to wait for it. Undone where it could not.
    """
    found = db.execute("SELECT seq, event_seq, status, reason, round_seq FROM runs WHERE id = ?", (run_id,)).fetchone()
    if found is None or not ProcessStatus(found[2]).is_final:
        return None
    seq, event_seq, _, reason, round_seq = found
    bounds.refuse_overflow(db, bounds.load(db), bounds.Load(1, 0), within)
    below: list[_Dependent] = []
    if round_seq is not None:
        _refuse_unstarted(db, seq, run_id, reason)
        _refuse_open_needs(db, seq, run_id)
        below = [_Dependent(*row) for row in db.execute(_BELOW, (seq,))]
        _refuse_running(below, run_id)
    notices.begin_anew(db, event_seq)
    words.leave_to_attempts(db, [seq, *(run.seq for run in below)])
    db.execute(f"UPDATE runs SET {_AFRESH}, needs_left = 0 WHERE seq = ?", (at_ms, seq))
    if answer is not None:
        db.execute(
            "UPDATE runs SET answer = ?, attempts_before = attempt_count WHERE seq = ?", (words.answer(answer), seq)
        )
    if round_seq is not None:
        db.execute("UPDATE rounds SET cancels = 0 WHERE seq = ?", (round_seq,))
        _put_back(db, below, at_ms)
    gates.advance(db, seq, event_seq, at_ms=at_ms, behind="time")  # whatever its step and its event ask of times
    held_up.refuse(db, waiting, [run_id])
    return reads.runs_by_seq(db, [seq])[0]


def _put_back(db: Connection, below: list[_Dependent], at_ms: int) -> None:
    """To waiting, whatever it had ended as, or wherever it was on its way."""
    db.executemany(f"UPDATE runs SET {_AFRESH}, waits_for = 'needs' WHERE seq = ?", [(at_ms, run.seq) for run in below])
    db.executemany(
        "UPDATE runs SET needs_left = (SELECT count(*) FROM needs n JOIN runs q ON q.seq = n.need_seq"
        " WHERE n.run_seq = runs.seq AND q.status IN ('queued', 'running')) WHERE seq = ?",
        [(run.seq,) for run in below],
    )
    for run in below:
        journal.add_run(db, at_ms, run.event_seq, run.seq, ProcessStatus.QUEUED)
    # Those that wait for a key before those that hold one, which would go to them.
    queued = [run.seq for run in below if run.status == ProcessStatus.QUEUED]
    for seq in sorted(queued, key=lambda seq: keys.has_own(db, seq)):
        gates.paused(db, seq, at_ms=at_ms)


def _refuse_unstarted(db: Connection, seq: int, run_id: str, reason: str | None) -> None:
    if reason != Reason.NEEDS_NOT_MET:
        return
    culprit = db.execute(_CULPRIT, (seq, Reason.NEEDS_NOT_MET)).fetchone()
    if culprit is None:
        raise NotRetryableError(
            f"Run {run_id} was not run, because of how its needs ended, and none of them failed. To run its step all the "
            f"same, replay it alone (`flowd replay EVENT --step STEP`)."
        )
    raise NotRetryableError(
        f"Run {run_id} was not run, because of how its needs ended. Retry {culprit[0]} ({culprit[1]}): all that needs it "
        f"follows.",
        retry=culprit[0],
    )


def _refuse_open_needs(db: Connection, seq: int, run_id: str) -> None:
    found = db.execute(_OPEN_NEED, (seq,)).fetchone()
    if found is None:
        return
    need_id, step, status, said, is_question = found
    state = f"asks a person ({said}); answer it first" if is_question else f"is {status}; this run follows it"
    raise NeedsActiveError(f"Run {run_id} needs {need_id} ({step}), which {state}.", runId=need_id, step=step)


def _refuse_running(below: list[_Dependent], run_id: str) -> None:
    for run in below:
        if run.status == ProcessStatus.RUNNING:
            raise DependentActiveError(
                f"Run {run.run_id} ({run.step_name}) needs {run_id} and is running; cancel it first, or wait for its end.",
                runId=run.run_id,
                step=run.step_name,
            )
