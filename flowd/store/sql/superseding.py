"""Ends runs that a younger one of their key replaces, and runs that are not to wait for a busy key. Each function runs inside
the writer's transaction.
"""

from dataclasses import replace
from typing import Literal

from flowd.domain.outcome import Outcome
from flowd.domain.people import Person, Resolution
from flowd.domain.result import FlowResult, ResultStatus, spell
from flowd.domain.run import ProcessStatus, Reason
from flowd.domain.waiting import TimeWait
from flowd.store.sql import journal, resolutions
from flowd.store.sql.connection import Connection, WriteNotes
from flowd.store.sql.passing import Ended, Resolved

Unit = Literal["run", "round", "rest"]
"""What is ended, by its ``seq``: a run; all that is unfinished in a round; or, in one that has begun, the rest of it but
the ``finally`` steps, which clean up."""

_UNFINISHED: dict[Unit, str] = {
    "run": "SELECT seq, event_seq, status FROM runs WHERE seq = ? AND status IN ('queued', 'running')",
    "round": "SELECT seq, event_seq, status FROM runs WHERE round_seq = ? AND status IN ('queued', 'running') ORDER BY seq",
    "rest": "SELECT seq, event_seq, status FROM runs WHERE round_seq = ? AND status IN ('queued', 'running')"
    " AND coalesce(run_when, '') <> 'finally' ORDER BY seq",
}


def for_younger(db: Connection, unit: Unit, seq: int, younger_id: str, at_ms: int) -> list[Ended]:
    """End it for a younger one: at once what does not run. Of what runs the end is asked for, and told to those who can
    see to it when this is committed."""
    ended = []
    why = f"{younger_id} of the same key came after it"
    for run_seq, event_seq, status in db.execute(_UNFINISHED[unit], (seq,)).fetchall():
        if status == ProcessStatus.RUNNING:
            _ask(db, run_seq, younger_id)
        else:
            ended.append(_skip(db, (run_seq, event_seq), Reason.SUPERSEDED, why, at_ms))
    return ended


def for_later_event(db: Connection, seq: int, later_id: str, at_ms: int) -> list[Ended]:
    """End a run that waits for quiet, because one of a later event came, which stands for both."""
    found = db.execute(_UNFINISHED["run"], (seq,)).fetchall()
    why = f"{later_id} came before it was quiet"
    return [_skip(db, (run_seq, event_seq), Reason.SUPERSEDED, why, at_ms) for run_seq, event_seq, _ in found]


def for_want_of_key(db: Connection, unit: Unit, seq: int, at_ms: int) -> list[Ended]:
    """End it, because it does not want to wait for its key. Nothing of it runs."""
    why = f"another {unit} holds its key"
    found = db.execute(_UNFINISHED[unit], (seq,)).fetchall()
    return [_skip(db, (run_seq, event_seq), Reason.KEY_BUSY, why, at_ms) for run_seq, event_seq, _ in found]


def close_questions(db: Connection, round_seq: int, younger_id: str, at_ms: int) -> list[Resolved]:
    """Let nobody be asked any more what the runs of a round ask."""
    found = db.execute(
        "SELECT seq, result_status, result FROM runs WHERE round_seq = ? AND wants_person = 1 ORDER BY seq",
        (round_seq,),
    ).fetchall()
    for seq, status, said in found:
        why = f"{younger_id} of the same key came after it"
        resolutions.write(db, seq, FlowResult(status, said), Resolution("canceled", Person("flowd"), at_ms, why))
    return [Resolved(seq) for seq, _, _ in found]


def mended(db: Connection, run_id: str, outcome: Outcome, wait: TimeWait | None) -> tuple[Outcome, TimeWait | None]:
    """An attempt's outcome, and the wait for the next one, as they are where its end was asked for: it says for which
    younger run, and there is no next one."""
    found = db.execute("SELECT superseded_by, cancel_requested FROM runs WHERE id = ?", (run_id,)).fetchone()
    younger_id, is_canceled = found or (None, False)
    if younger_id is not None and outcome.status is ProcessStatus.CANCELED:
        first, *more = (outcome.error or "The step was canceled").split("\n", 1)
        error = "\n".join([f"{first}, because {younger_id} of the same key came after it", *more])
        outcome = replace(outcome, reason=Reason.SUPERSEDED, error=error)
    return outcome, None if is_canceled else wait


def _skip(db: Connection, run: tuple[int, int], reason: Reason, why: str, at_ms: int) -> Ended:
    run_seq, event_seq = run
    result = spell({"status": ResultStatus.SKIPPED, "message": f"not run, because {why}"})
    db.execute(
        "UPDATE runs SET status = 'completed', waits_for = NULL, wait_why = NULL, updated_at_ms = ?, completed_at_ms = ?,"
        " reason = ?, error = NULL, result_status = 'skipped', result = ? WHERE seq = ?",
        (at_ms, at_ms, reason, result, run_seq),
    )
    journal.add_run(db, at_ms, event_seq, run_seq, ProcessStatus.COMPLETED)
    return Ended(run_seq)


def _ask(db: Connection, run_seq: int, younger_id: str) -> None:
    asked = db.execute(
        "UPDATE runs SET superseded_by = ?, cancel_requested = 1 WHERE seq = ? AND cancel_requested = 0 RETURNING seq",
        (younger_id, run_seq),
    ).fetchone()
    if asked is not None and isinstance(db, WriteNotes):
        db.to_end.append(asked[0])
