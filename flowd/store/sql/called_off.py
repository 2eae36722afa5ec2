"""Ends what was called off: a run whose event was canceled, or its tree. What follows from that is the caller's. Each
function runs inside the writer's transaction."""

from dataclasses import replace

from flowd.domain.people import Person, Resolution
from flowd.domain.result import FlowResult
from flowd.domain.run import ProcessStatus
from flowd.store.sql import journal, resolutions, words
from flowd.store.sql.connection import Connection

_END = (
    "UPDATE runs SET status = 'canceled', cancel_requested = 1, waits_for = NULL, updated_at_ms = ?, completed_at_ms = ?,"
    " reason = 'canceled', error = 'The run was canceled with its event before it started'"
    " WHERE seq = ? AND status = 'queued' RETURNING event_seq"
)
_ASKING = (
    "SELECT r.called_off, r.result_status, r.result FROM runs r LEFT JOIN rounds o ON o.seq = r.round_seq"
    " WHERE r.seq = ? AND r.wants_person = 1 AND (r.called_off IS NOT NULL OR o.cancels > 0)"
)
_OF_NOBODY = Resolution("canceled", Person("flowd"), 0)
"""Of a step that ran ``finally`` after the cancel of its event, and was canceled alone."""


def end(db: Connection, run_seq: int, at_ms: int) -> bool:
    """Queued → canceled. False where it is not queued."""
    found = db.execute(_END, (at_ms, at_ms, run_seq)).fetchone()
    if found is None:
        return False
    journal.add_run(db, at_ms, found[0], run_seq, ProcessStatus.CANCELED)
    return True


def close(db: Connection, run_seq: int, at_ms: int) -> bool:
    """Let nobody be asked any more what the run asks, which somebody has canceled. False where it asks nothing, or its
    event was not canceled."""
    found = db.execute(_ASKING, (run_seq,)).fetchone()
    if found is None:
        return False
    note, status, text = found
    closed = _OF_NOBODY if note is None else words.read_resolution(note)
    resolutions.write(db, run_seq, FlowResult(status, text), replace(closed, at_ms=at_ms))
    return True


def closing(db: Connection, run_id: str) -> Resolution | None:
    """What becomes of a run's question, which is about to be closed; None where that is not so."""
    (note,) = db.execute("SELECT called_off FROM runs WHERE id = ?", (run_id,)).fetchone()
    return None if note is None else words.read_resolution(note)
