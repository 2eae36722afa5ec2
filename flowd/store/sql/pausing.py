"""Begins pauses and ends them. Each function runs inside the writer's transaction.

A pause is in force with its row; the runs that it takes back, and lets go at its end, follow in small steps. Until the
last of these its row is there, so that they are gone on with after a crash.
"""

from flowd.domain.pauses import Pause, Paused
from flowd.domain.people import Person
from flowd.store.sql import gates, pauses, words
from flowd.store.sql.connection import Connection, WriteNotes
from flowd.store.sql.passing import Passing
from flowd.store.sql.queue import MAX_MOVED

_SCANNED = 2_000
"""Queued runs that are looked at in one transaction, of which at most `MAX_MOVED` are taken back."""


def begin(db: Connection, what: Paused, by: Person, *, at_ms: int) -> Pause:
    """Let nothing of this go on that comes to the gate from now on. A pause that is in force stays as it is."""
    if isinstance(db, WriteNotes):
        db.may_be_paused = True  # also where this comes to nothing: then somebody looks in vain
    db.execute(
        "INSERT INTO pauses (flow_name, step_name, said_by, at_ms) VALUES (?, ?, ?, ?) ON CONFLICT (flow_name, step_name)"
        " DO UPDATE SET said_by = excluded.said_by, at_ms = excluded.at_ms, is_over = 0 WHERE pauses.is_over = 1",
        (*_names(what), words.person(by), at_ms),
    )
    return next(pause for pause in pauses.in_force(db) if pause.what == what)


def take_back(db: Connection, what: Paused, after_seq: int, *, at_ms: int) -> tuple[int, int | None]:
    """Take back some of what is ready or waits for a key: how many runs, and after which ``seq`` to go on; None where all
    were looked at."""
    found = db.execute(
        "SELECT seq, event_seq, waits_for, flow_name, step_name FROM runs INDEXED BY runs_active"
        " WHERE status = 'queued' AND status IN ('queued', 'running') AND seq > ? ORDER BY seq LIMIT ?",
        (after_seq, _SCANNED),
    ).fetchall()
    taken = 0
    for seq, event_seq, waits_for, flow, step in found:
        is_meant = waits_for in (None, "key") and what.flow in (None, flow) and what.step in (None, step)
        # Kept by the first pause that keeps it, which may be another one that is in force.
        if is_meant and pauses.look(db, seq, event_seq, at_ms) is Passing.KEPT:
            gates.paused(db, seq, at_ms=at_ms)
            taken += 1
        if taken == MAX_MOVED:
            return taken, seq
    return taken, found[-1][0] if len(found) == _SCANNED else None


def end(db: Connection, what: Paused) -> bool:
    """Keep nothing more for this pause. False where it is not in force."""
    return (
        db.execute(
            "UPDATE pauses SET is_over = 1 WHERE flow_name = ? AND step_name = ? AND is_over = 0", _names(what)
        ).rowcount
        == 1
    )


def let_go(db: Connection, what: Paused, after_seq: int, *, at_ms: int) -> tuple[int, int | None]:
    """Let some runs go on that a pause which is over has kept: how many, and after which ``seq`` to go on; None where
    none is left, and the pause is forgotten."""
    found = db.execute(
        "SELECT seq, event_seq FROM runs WHERE waits_for = 'pause' AND waits_on = ? AND seq > ? ORDER BY seq LIMIT ?",
        (str(what), after_seq, MAX_MOVED),
    ).fetchall()
    for seq, event_seq in found:
        gates.advance(db, seq, event_seq, at_ms=at_ms, behind="time")
    if found:
        return len(found), found[-1][0]
    db.execute("DELETE FROM pauses WHERE flow_name = ? AND step_name = ? AND is_over = 1", _names(what))
    return 0, None


def _names(what: Paused) -> tuple[str, str]:
    return what.flow or "", what.step or ""
