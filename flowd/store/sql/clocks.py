"""The clocks that waits go by: this host's, where the store is its own; the database's, where hosts share it, so that
these may differ. Each function runs inside the writer's transaction.

What is stored is by the clocks of the store. What comes from the engine, and goes there, is by the steady clock of this
host.
"""

from dataclasses import replace

from flowd.domain.waiting import TimeWait
from flowd.store.sql.connection import Connection, WriteNotes

LOOK_MS = 10_000
"""How long a wait for an instant is slept through at most: somebody may set the wall clock, and machines are suspended."""

_SET_BACK_MS = 1_000
"""By so much a database's clock may differ from one transaction to the next because these take long."""


def steady_ms(db: Connection, at_ms: int) -> int:
    """Now, by the clock that delays go by.

    Args:
        at_ms: By this host's wall clock; it is taken where nobody has given the store a steady one.
    """
    if not isinstance(db, WriteNotes) or db.host_steady_ms is None:
        return at_ms
    return db.host_steady_ms() + (db.ahead_ms or 0)


def wall_ms(db: Connection, at_ms: int) -> int:
    """Now, by the clock that instants go by. ``at_ms`` is now by this host's wall clock."""
    return at_ms if ahead_ms(db) is None else steady_ms(db, at_ms)


def ahead_ms(db: Connection) -> int | None:
    """How far the database's clock is ahead of this host's steady one; None where it has none of its own."""
    return db.ahead_ms if isinstance(db, WriteNotes) else None


def of_store(db: Connection, wait: TimeWait | None) -> TimeWait | None:
    """A wait that the engine asks for, by the clock of the store."""
    ahead = ahead_ms(db)
    return wait if wait is None or not ahead else replace(wait, until_ms=wait.until_ms + ahead)


def note_due(db: Connection, due_ms: int) -> None:
    """A run waits until then from now on, by the steady clock of the store: whoever lets it go has to know."""
    if isinstance(db, WriteNotes):
        due_ms -= db.ahead_ms or 0
        db.due_ms = due_ms if db.due_ms is None else min(db.due_ms, due_ms)


def note_instant(db: Connection, instant_ms: int, at_ms: int) -> None:
    """The same of a wait for an instant. ``at_ms`` is now by this host's wall clock."""
    left_ms = min(LOOK_MS, max(0, instant_ms - wall_ms(db, at_ms)))
    note_due(db, steady_ms(db, at_ms) + left_ms)


def note_server_clock(notes: WriteNotes, server_ms: int) -> None:
    """A transaction has begun at this instant by the database's clock."""
    if notes.host_steady_ms is None:
        return
    ahead = server_ms - notes.host_steady_ms()
    if notes.ahead_ms is not None and ahead < notes.ahead_ms - _SET_BACK_MS:
        notes.was_set_back = True
    notes.ahead_ms = ahead
