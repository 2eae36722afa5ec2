"""Canceling an event, or a whole tree. What it means is noted at once, and is ended in small steps. Each function runs
inside the writer's transaction."""

from flowd.domain.people import Person, Resolution
from flowd.domain.run import ProcessStatus, Run
from flowd.domain.trees import CalledOff
from flowd.store.sql import called_off, gates, reads, words
from flowd.store.sql.connection import Connection
from flowd.store.sql.queue import MAX_MOVED
from flowd.store.sql.tree_reads import RUNS, refuse_unknown, scope

_IS_MEANT = "(coalesce(r.run_when, '') <> 'finally' OR (SELECT cancels FROM rounds WHERE seq = r.round_seq) > 1)"
"""A step with ``when = "finally"`` runs also where its event was canceled; a second cancel ends it."""

_NOTE = (
    " UPDATE runs SET called_off = ?, updated_at_ms = ?,"
    " cancel_requested = CASE status WHEN 'running' THEN 1 ELSE cancel_requested END"
    f" WHERE seq IN (SELECT r.seq FROM {RUNS} WHERE r.wants_person = 1"
    f" OR r.status IN ('queued', 'running') AND {_IS_MEANT}) RETURNING seq, id, status"
)
_LEFT = (
    "SELECT seq FROM runs INDEXED BY runs_called_off"
    " WHERE called_off IS NOT NULL AND (status = 'queued' OR wants_person = 1) ORDER BY seq LIMIT ?"
)


def call_off(db: Connection, event_id: str, by: Person, *, is_tree: bool, at_ms: int) -> CalledOff:
    """Note that the event, or its tree, is canceled, on all that has not ended and all that asks. See
    `flowd.ports.TreeStore.call_off`.

    Raises:
        EventNotFoundError: No such event.
    """
    refuse_unknown(db, event_id)
    these = scope(is_tree=is_tree)
    db.execute(
        f"{these} UPDATE rounds SET cancels = cancels + 1 WHERE event_seq IN (SELECT seq FROM scope) AND open > 0",
        (event_id,),
    )
    note = words.resolution(Resolution("canceled", by, at_ms))
    found = sorted(db.execute(f"{these}{_NOTE}", (event_id, note, at_ms)).fetchall())
    running = tuple(run_id for _, run_id, status in found if status == ProcessStatus.RUNNING)
    return CalledOff(tuple(run_id for _, run_id, _ in found), running)


def end_some(db: Connection, *, at_ms: int) -> list[Run]:
    """Queued → canceled for the next runs that were called off, and the questions of those that ask are closed; none
    when none is left."""
    done = []
    for (seq,) in db.execute(_LEFT, (MAX_MOVED,)).fetchall():
        if called_off.end(db, seq, at_ms):
            done.append(seq)
            gates.ended(db, seq, at_ms=at_ms)
        elif called_off.close(db, seq, at_ms):
            done.append(seq)
            gates.resolved(db, seq, at_ms=at_ms)
        # Else what was done for one before it has done that, and was told with it.
    return reads.runs_by_seq(db, done)


def running(db: Connection, event_id: str, *, is_tree: bool) -> list[str]:
    """The running runs of the event or its tree that a cancel of it means."""
    found = db.execute(
        f"{scope(is_tree=is_tree)} SELECT r.id FROM {RUNS} WHERE r.status = 'running' AND {_IS_MEANT} ORDER BY r.seq",
        (event_id,),
    )
    return [run_id for (run_id,) in found]
