"""What a queued run passes on its way to a place, and what its end lets go of. Each function runs inside the writer's
transaction.

The gates stand in this order: needs, person, time, pause, key. The first that keeps a run is what it waits for; behind
the last it is ready, and gets its number among those that are.
"""

import sqlite3
from collections import deque
from collections.abc import Callable, Iterable

from flowd.domain.run import ProcessStatus
from flowd.store.sqlite import journal, needs, queue
from flowd.store.sqlite.connection import WriteConnection
from flowd.store.sqlite.passing import Freed, Name, Passing

Gate = Callable[[sqlite3.Connection, int, int, int], Passing]
"""Of a run, by its ``seq`` and its event's, and the wall clock's milliseconds."""

GATES: tuple[tuple[Name, Gate], ...] = (("needs", needs.look),)
"""Those that can keep a run which came to them. A wait for a time begins where the run is queued."""

Consequence = Callable[[sqlite3.Connection, int, int], Iterable[Freed]]
"""Of a run by its ``seq``, at an instant: what may go on from a gate now."""

OF_AN_END: tuple[Consequence, ...] = (needs.one_ended,)
"""The run has just ended, for its attempts or unstarted."""

OF_A_RESOLUTION: tuple[Consequence, ...] = (needs.question_closed,)
"""The run had ended with a question, and a person has just answered it."""

_ORDER: tuple[Name, ...] = ("needs", "person", "time", "pause", "key")


def let_on(db: sqlite3.Connection, run_seq: int, event_seq: int, *, at_ms: int, behind: Name | None = None) -> bool:
    """Let a queued run go on to the next gate that keeps it. Whether none did, so that it is ready now.

    Where a gate ends it unstarted, all that follows from that is done, too.

    Args:
        behind: The gate that it has passed, with all before it; None where it comes from the beginning.
    """
    passing = _pass(db, Freed(run_seq, event_seq, behind), at_ms)
    if passing is Passing.ENDED:
        _note_ended(db, run_seq)
        ended(db, run_seq, at_ms=at_ms)
    return passing is Passing.FREE


def ended(db: sqlite3.Connection, run_seq: int, *, at_ms: int) -> None:
    """A run has ended, in whatever way: let go of what waited for that, in the same transaction."""
    _follow(db, OF_AN_END, run_seq, at_ms)


def resolved(db: sqlite3.Connection, run_seq: int, *, at_ms: int) -> None:
    """A person has answered the question that a run had ended with: let go of what waited for that."""
    _follow(db, OF_A_RESOLUTION, run_seq, at_ms)


def _follow(db: sqlite3.Connection, consequences: tuple[Consequence, ...], run_seq: int, at_ms: int) -> None:
    # A list and no recursion: what is skipped goes down the line, which may be longer than Python's stack.
    left = deque((follows, run_seq) for follows in consequences)
    while left:
        follows, seq = left.popleft()
        for freed in follows(db, seq, at_ms):
            if _pass(db, freed, at_ms) is Passing.ENDED:
                _note_ended(db, freed.run_seq)
                left.extend((then, freed.run_seq) for then in OF_AN_END)


def _pass(db: sqlite3.Connection, run: Freed, at_ms: int) -> Passing:
    first = 0 if run.behind is None else _ORDER.index(run.behind) + 1
    for name, gate in GATES:
        if _ORDER.index(name) >= first:
            passing = gate(db, run.run_seq, run.event_seq, at_ms)
            if passing is not Passing.FREE:
                return passing
    db.execute(
        "UPDATE runs SET waits_for = NULL, ready_seq = ?, updated_at_ms = ? WHERE seq = ?",
        (queue.next_number(db), at_ms, run.run_seq),
    )
    journal.add_run(db, at_ms, run.event_seq, run.run_seq, ProcessStatus.QUEUED)
    return Passing.FREE


def _note_ended(db: sqlite3.Connection, run_seq: int) -> None:
    """Its end is nobody's answer, so it is told when the transaction is committed."""
    if isinstance(db, WriteConnection):
        db.ended_beside.append(run_seq)
