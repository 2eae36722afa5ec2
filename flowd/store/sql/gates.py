"""What a queued run passes on its way to a place, and what its end lets go of. Each function runs inside the writer's
transaction.

The gates stand in this order: needs, person, time, pause, key. The first that keeps a run is what it waits for; behind
the last it is ready, and gets its number among those that are.
"""

from collections import deque
from collections.abc import Callable, Iterable

from flowd.domain.run import ProcessStatus
from flowd.store.sql import called_off, expiring, journal, keys, needs, pauses, ready, times, timings
from flowd.store.sql.connection import Connection, WriteNotes
from flowd.store.sql.passing import Change, Ended, Freed, Name, Passed, Passing, Resolved

Gate = Callable[[Connection, int, int, int], Passing | Passed]
"""Of a run, by its ``seq`` and its event's, and the wall clock's milliseconds."""

GATES: tuple[tuple[Name, Gate], ...] = (
    ("needs", needs.look),
    ("time", times.look),
    ("pause", pauses.look),
    ("key", keys.look),
)
"""Those that can keep a run which came to them. Runs that ask nothing of times do not come to that of time."""

Consequence = Callable[[Connection, int, int], Iterable[Change]]
"""Of a run by its ``seq``, at an instant: what may go on from a gate now, and what was ended for it."""

OF_AN_END: tuple[Consequence, ...] = (keys.give_back, needs.one_ended)
"""The run has just ended, for its attempts or unstarted."""

LAST_OF_AN_END: tuple[Consequence, ...] = (keys.round_ended,)
"""The same, once all that the others make of it is done: they look at what is left of a round."""

OF_A_PAUSE: tuple[Consequence, ...] = (keys.give_back,)
"""The run is queued, and starts no attempt before it has come to this gate again."""

OF_A_RESOLUTION: tuple[Consequence, ...] = (needs.question_closed,)
"""The run had ended with a question, and a person has just answered it."""

_ORDER: tuple[Name, ...] = ("needs", "person", "time", "pause", "key")


def advance(
    db: Connection,
    run_seq: int,
    event_seq: int,
    *,
    at_ms: int,
    behind: Name | None = None,
    is_told: bool = False,
) -> None:
    """Let a queued run go on to the next gate that keeps it. Behind the last it is ready.

    Where a gate ends it unstarted, or others for it, all that follows from that is done, too.

    Args:
        behind: The gate that it has passed, with all before it; None where it comes from the beginning.
        is_told: The journal says that it is queued: that it is ready need not be told again.
    """
    _Work(db, at_ms, told=run_seq if is_told else None).do([Freed(run_seq, event_seq, behind)])


def ended(db: Connection, run_seq: int, *, at_ms: int) -> None:
    """A run has ended, in whatever way: let go of what waited for that, in the same transaction."""
    _Work(db, at_ms).follow(OF_AN_END, run_seq, last=LAST_OF_AN_END)


def paused(db: Connection, run_seq: int, *, at_ms: int) -> None:
    """A queued run waits for something before a gate that it had passed: let go of what it took there."""
    _Work(db, at_ms).follow(OF_A_PAUSE, run_seq)


def do(db: Connection, changes: Iterable[Change], *, at_ms: int) -> None:
    """Do all that follows from these changes."""
    _Work(db, at_ms).do(changes)


def resolved(db: Connection, run_seq: int, *, at_ms: int) -> None:
    """A person has answered the question that a run had ended with: let go of what waited for that."""
    _Work(db, at_ms).follow(OF_A_RESOLUTION, run_seq)


class _Work:
    """What is to be done after something has changed. Lists and no recursion: what is skipped goes down the line, which
    may be longer than Python's stack."""

    def __init__(self, db: Connection, at_ms: int, *, told: int | None = None) -> None:
        """``told`` is a run of which the journal has just been told."""
        self._db = db
        self._at_ms = at_ms
        self._told = told
        self._waiting: deque[Change] = deque()
        self._left: deque[tuple[Consequence, int]] = deque()
        self._last: deque[tuple[Consequence, int]] = deque()

    def follow(self, consequences: Iterable[Consequence], run_seq: int, *, last: Iterable[Consequence] = ()) -> None:
        """Do all that follows of a run."""
        self._left.extend((follows, run_seq) for follows in consequences)
        self._last.extend((follows, run_seq) for follows in last)
        self.do(())

    def do(self, items: Iterable[Change]) -> None:
        """Do this, and all that follows from it."""
        self._waiting.extend(items)
        while self._waiting or self._left or self._last:
            while self._waiting:
                self._take(self._waiting.popleft())
            if self._left or self._last:
                follows, seq = self._left.popleft() if self._left else self._last.popleft()
                self._waiting.extend(follows(self._db, seq, self._at_ms))

    def _take(self, item: Change) -> None:
        if isinstance(item, Ended):
            self._note_end(item.run_seq)
        elif isinstance(item, Resolved):
            self._left.extend((then, item.run_seq) for then in OF_A_RESOLUTION)
        elif (queued := self._queued(item.run_seq)) is not None:
            is_called_off, timing = queued
            passing, others = self._end(item) if is_called_off else self._pass(item, timing)
            if passing is Passing.ENDED:
                self._note_end(item.run_seq)
            self._waiting.extend(others)

    def _note_end(self, run_seq: int) -> None:
        # It is nobody's answer, so it is told when the transaction is committed.
        if isinstance(self._db, WriteNotes):
            self._db.also_ended.append(run_seq)
        self._left.extend((then, run_seq) for then in OF_AN_END)
        self._last.extend((then, run_seq) for then in LAST_OF_AN_END)

    def _queued(self, run_seq: int) -> tuple[bool, str | None] | None:
        """Whether it was called off, and what it asks of times; None where it is not queued: what came before it has
        ended it."""
        status, is_called_off, timing = self._db.execute(
            "SELECT status, called_off IS NOT NULL, timing FROM runs WHERE seq = ?", (run_seq,)
        ).fetchone()
        return (bool(is_called_off), timing) if status == ProcessStatus.QUEUED else None

    def _end(self, run: Freed) -> Passed:
        called_off.end(self._db, run.run_seq, self._at_ms)
        return Passed(Passing.ENDED)

    def _pass(self, run: Freed, timing: str | None) -> Passed:
        db, first = self._db, 0 if run.behind is None else _ORDER.index(run.behind) + 1
        others: tuple[Change, ...] = ()
        for name, gate in GATES:
            if _ORDER.index(name) >= first and (name != "time" or timing is not None):
                if name == "key" and timing is not None:
                    self._begin_to_queue(run, timing)
                came = gate(db, run.run_seq, run.event_seq, self._at_ms)
                passing, more = came if isinstance(came, Passed) else (came, ())
                others += more
                if passing is not Passing.FREE:
                    return Passed(passing, others)
        db.execute(
            "UPDATE runs SET waits_for = NULL, wait_why = NULL, ready_seq = ?, updated_at_ms = ? WHERE seq = ?",
            (ready.next_number(db), self._at_ms, run.run_seq),
        )
        if run.run_seq != self._told:
            journal.add_run(db, self._at_ms, run.event_seq, run.run_seq, ProcessStatus.QUEUED)
        if isinstance(db, WriteNotes):
            db.is_any_ready = True
        return Passed(Passing.FREE, others)

    def _begin_to_queue(self, run: Freed, timing: str) -> None:
        timeout_ms = timings.read(timing).queue_timeout_ms
        if timeout_ms is not None:
            expiring.begin(self._db, run.run_seq, timeout_ms, self._at_ms)
