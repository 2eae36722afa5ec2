"""Canceling an event, or a whole tree: what has not started ends first, in small steps. Each function runs inside the
writer's transaction."""

import sqlite3

from flowd.domain.run import ProcessStatus, Run
from flowd.store.sqlite import gates, journal, reads
from flowd.store.sqlite.queue import MAX_MOVED
from flowd.store.sqlite.tree_reads import RUNS, refuse_unknown, scope

_UNFINISHED = f" SELECT r.seq, r.event_seq, r.id FROM {RUNS}"
_IS_MEANT = " AND (coalesce(r.run_when, '') <> 'finally' OR (SELECT cancels FROM rounds WHERE seq = r.round_seq) > 1)"
"""A step with ``when = "finally"`` runs also where its event was canceled; a second cancel ends it."""

_END = (
    "UPDATE runs SET status = 'canceled', cancel_requested = 1, waits_for = NULL, updated_at_ms = ?, completed_at_ms = ?,"
    " reason = 'canceled', error = 'The run was canceled with its event before it started'"
    " WHERE seq = ? AND status = 'queued'"
)


def call_off(db: sqlite3.Connection, event_id: str, *, is_tree: bool) -> None:
    """Note that the event, or its tree, is canceled, so that nothing that waits for needs starts for their ends.

    Raises:
        EventNotFoundError: No such event.
    """
    refuse_unknown(db, event_id)
    db.execute(
        f"{scope(is_tree=is_tree)} UPDATE rounds SET cancels = cancels + 1"
        " WHERE event_seq IN (SELECT seq FROM scope) AND open > 0",
        (event_id,),
    )


def end_waiting(db: sqlite3.Connection, event_id: str, *, is_tree: bool, at_ms: int) -> list[Run]:
    """Queued → canceled for the next runs of the event or its tree; none when none is left. With them are those that
    ended as a consequence."""
    found = db.execute(
        f"{scope(is_tree=is_tree)}{_UNFINISHED} WHERE r.status = 'queued'{_IS_MEANT} ORDER BY r.seq LIMIT ?",
        (event_id, MAX_MOVED),
    ).fetchall()
    for seq, event_seq, _ in found:
        if db.execute(_END, (at_ms, at_ms, seq)).rowcount:  # else the end of one before it has ended it
            journal.add_run(db, at_ms, event_seq, seq, ProcessStatus.CANCELED)
            gates.ended(db, seq, at_ms=at_ms)
    return [run for run in reads.runs_by_seq(db, [seq for seq, _, _ in found]) if run.status.is_final]


def running(db: sqlite3.Connection, event_id: str, *, is_tree: bool) -> list[str]:
    """The running runs of the event or its tree that a cancel of it means."""
    found = db.execute(
        f"{scope(is_tree=is_tree)}{_UNFINISHED} WHERE r.status = 'running'{_IS_MEANT} ORDER BY r.seq", (event_id,)
    )
    return [run_id for _, _, run_id in found]
