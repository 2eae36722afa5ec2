"""Ends runs for which there is no use any more, because a younger one of their key came, or that do not want to wait for
it. Each function runs inside the writer's transaction.
"""

import sqlite3
from dataclasses import replace
from typing import Literal, NamedTuple

from flowd.domain.result import ResultStatus, spell
from flowd.domain.run import Outcome, ProcessStatus, Reason
from flowd.domain.waiting import TimeWait
from flowd.store.sqlite import journal
from flowd.store.sqlite.connection import WriteConnection
from flowd.store.sqlite.passing import Ended

Unit = Literal["run", "round"]
"""What is ended: a run, or all that is unfinished in a round, by its ``seq``."""

_UNFINISHED: dict[Unit, str] = {
    "run": "SELECT seq, event_seq, status, attempt_count FROM runs WHERE seq = ? AND status IN ('queued', 'running')",
    "round": "SELECT seq, event_seq, status, attempt_count FROM runs WHERE round_seq = ?"
    " AND status IN ('queued', 'running') ORDER BY seq",
}


def for_younger(db: sqlite3.Connection, unit: Unit, seq: int, younger_id: str, at_ms: int) -> list[Ended]:
    """End it for a younger one: at once what does not run. Of what runs the end is asked for, and told to those who can
    see to it when this is committed."""
    ended = []
    why = f"{younger_id} of the same key came after it"
    for run_seq, event_seq, status, attempts in db.execute(_UNFINISHED[unit], (seq,)).fetchall():
        if status == ProcessStatus.RUNNING:
            _ask(db, run_seq, younger_id)
        else:
            ended.append(_end(db, run_seq, event_seq, _Why(Reason.SUPERSEDED, why, bool(attempts)), at_ms))
    return ended


def for_want_of_key(db: sqlite3.Connection, unit: Unit, seq: int, at_ms: int) -> list[Ended]:
    """End it, because it does not want to wait for its key. Nothing of it runs."""
    return [
        _end(db, run_seq, event_seq, _Why(Reason.KEY_BUSY, f"another {unit} holds its key", bool(attempts)), at_ms)
        for run_seq, event_seq, _, attempts in db.execute(_UNFINISHED[unit], (seq,)).fetchall()
    ]


def mended(
    db: sqlite3.Connection, run_id: str, outcome: Outcome, wait: TimeWait | None
) -> tuple[Outcome, TimeWait | None]:
    """An attempt's outcome, and the wait for the next one, as they are where its end was asked for: it says for which
    younger run, and there is no next one."""
    found = db.execute("SELECT superseded_by, cancel_requested FROM runs WHERE id = ?", (run_id,)).fetchone()
    younger_id, is_canceled = found or (None, False)
    if younger_id is not None and outcome.status is ProcessStatus.CANCELED:
        first, *more = (outcome.error or "The step was canceled").split("\n", 1)
        error = "\n".join([f"{first}, because {younger_id} of the same key came after it", *more])
        outcome = replace(outcome, reason=Reason.SUPERSEDED, error=error)
    return outcome, None if is_canceled else wait


class _Why(NamedTuple):
    reason: Reason
    text: str
    was_started: bool


def _end(db: sqlite3.Connection, run_seq: int, event_seq: int, why: _Why, at_ms: int) -> Ended:
    """A queued run ends: canceled if it was ever started, else skipped."""
    if why.was_started:
        status, result_status, result = ProcessStatus.CANCELED, None, None
        error = f"The run was canceled before its next attempt, because {why.text}"
    else:
        status, result_status, error = ProcessStatus.COMPLETED, ResultStatus.SKIPPED, None
        result = spell({"status": ResultStatus.SKIPPED, "message": f"not run, because {why.text}"})
    db.execute(
        "UPDATE runs SET status = ?, waits_for = NULL, wait_why = NULL, updated_at_ms = ?, completed_at_ms = ?,"
        " reason = ?, error = ?, result_status = ?, result = ? WHERE seq = ?",
        (status, at_ms, at_ms, why.reason, error, result_status, result, run_seq),
    )
    journal.add_run(db, at_ms, event_seq, run_seq, status)
    return Ended(run_seq)


def _ask(db: sqlite3.Connection, run_seq: int, younger_id: str) -> None:
    asked = db.execute(
        "UPDATE runs SET superseded_by = ?, cancel_requested = 1 WHERE seq = ? AND NOT cancel_requested RETURNING seq",
        (younger_id, run_seq),
    ).fetchone()
    if asked is not None and isinstance(db, WriteConnection):
        db.to_end.append(asked[0])
