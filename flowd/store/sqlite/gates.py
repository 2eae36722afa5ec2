"""What a queued run passes on its way to a place, and what its end lets go of. Each function runs inside the writer's
transaction.

The gates stand in this order: needs, person, time, pause, key. The first that keeps a run is what it waits for; behind
the last it is ready, and gets its number among those that are.
"""

import sqlite3
from collections.abc import Callable
from typing import Literal

from flowd.domain.run import ProcessStatus
from flowd.store.sqlite import journal, queue

Name = Literal["needs", "person", "time", "pause", "key"]

Gate = Callable[[sqlite3.Connection, int, int], bool]
"""Of a run, by its ``seq``, and the wall clock's milliseconds. True where it keeps the run: then it has written into
the row what the run waits for, or has ended it unstarted."""

GATES: tuple[tuple[Name, Gate], ...] = ()
"""Those that can keep a run which came to them. A wait for a time begins where the run is queued."""

Consequence = Callable[[sqlite3.Connection, int, int], None]
"""Of a run that has just ended, for its attempts or unstarted, or whose end a person has just put right."""

CONSEQUENCES: tuple[Consequence, ...] = ()

_ORDER: tuple[Name, ...] = ("needs", "person", "time", "pause", "key")


def let_on(db: sqlite3.Connection, run_seq: int, event_seq: int, *, at_ms: int, behind: Name | None = None) -> bool:
    """Let a queued run go on to the next gate that keeps it. Whether none did, so that it is ready now.

    Args:
        behind: The gate that it has passed, with all before it; None where it comes from the beginning.
    """
    first = 0 if behind is None else _ORDER.index(behind) + 1
    for name, keeps in GATES:
        if _ORDER.index(name) >= first and keeps(db, run_seq, at_ms):
            return False
    db.execute(
        "UPDATE runs SET waits_for = NULL, ready_seq = ?, updated_at_ms = ? WHERE seq = ?",
        (queue.next_number(db), at_ms, run_seq),
    )
    journal.add_run(db, at_ms, event_seq, run_seq, ProcessStatus.QUEUED)
    return True


def ended(db: sqlite3.Connection, run_seq: int, *, at_ms: int) -> None:
    """A run has ended, in whatever way: let go of what waited for that, in the same transaction."""
    for follows in CONSEQUENCES:
        follows(db, run_seq, at_ms)
