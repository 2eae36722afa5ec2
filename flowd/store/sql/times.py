"""The gate of time: what a run's step and its event ask of times. Each function runs inside the writer's transaction.

First its step's delay, or the quiet that it waits for, by the steady clock; then its event's instant, by the wall clock.
"""

from flowd.domain.run import ProcessStatus
from flowd.domain.timing import Timing
from flowd.domain.waiting import TimeWait
from flowd.store.sql import bursts, clocks, journal, timings
from flowd.store.sql.connection import Connection
from flowd.store.sql.passing import Passing


def look(db: Connection, run_seq: int, event_seq: int, at_ms: int) -> Passing:
    """Whether a run may go on; else it waits for the next of its times. A `gates.Gate`, of runs with a timing."""
    waits_for, why, text = db.execute(
        "SELECT waits_for, wait_why, timing FROM runs WHERE seq = ?", (run_seq,)
    ).fetchone()
    timing = timings.read(text)
    wait = _length(db, timing, at_ms) if waits_for not in ("time", "instant") else None
    if waits_for == "time" and why == "debounce":
        bursts.close(db, run_seq)
    wait = wait or _instant(db, timing, at_ms)
    if wait is None:
        return Passing.FREE
    _wait(db, run_seq, event_seq, wait, at_ms, before=waits_for)
    return Passing.KEPT


def first(db: Connection, timing: Timing, at_ms: int) -> TimeWait | None:
    """What a run that is made now waits for first; None for nothing. By the clocks of the store."""
    wait = _length(db, timing, at_ms)
    if wait is not None or timing.not_before_ms is None:
        return wait
    return TimeWait(timing.not_before_ms, 0, "notBefore")  # also where that is over: whoever lets it go sees that


def _length(db: Connection, timing: Timing, at_ms: int) -> TimeWait | None:
    quiet = timing.quiet
    if quiet is not None:
        whole = quiet.quiet_ms if quiet.max_ms is None else min(quiet.quiet_ms, quiet.max_ms)
        return TimeWait(clocks.steady_ms(db, at_ms) + whole, whole, "debounce")
    if timing.delay_ms:
        return TimeWait(clocks.steady_ms(db, at_ms) + timing.delay_ms, timing.delay_ms, "delay")
    return None


def note(db: Connection, wait: TimeWait, at_ms: int) -> None:
    """A run has begun to wait for this: whoever lets it go has to know."""
    if wait.why == "notBefore":
        clocks.note_instant(db, wait.until_ms, at_ms)
    else:
        clocks.note_due(db, wait.until_ms)


def columns(wait: TimeWait | None) -> tuple[str | None, str | None, int, int]:
    """The values of ``waits_for``, ``wait_why``, ``not_before_ms`` and ``wait_ms``."""
    if wait is None:
        return None, None, 0, 0
    # As `rows` reads it: "retry 4" is one of at most four attempts.
    why = wait.why if wait.max_attempts is None else f"{wait.why} {wait.max_attempts}"
    return ("instant" if wait.why == "notBefore" else "time"), why, wait.until_ms, wait.whole_ms


def _instant(db: Connection, timing: Timing, at_ms: int) -> TimeWait | None:
    until_ms = timing.not_before_ms
    is_over = until_ms is None or until_ms <= clocks.wall_ms(db, at_ms)
    return None if until_ms is None or is_over else TimeWait(until_ms, 0, "notBefore")


def _wait(db: Connection, run_seq: int, event_seq: int, wait: TimeWait, at_ms: int, *, before: str | None) -> None:
    note(db, wait, at_ms)
    if before == "instant":
        return  # it waits on, for somebody has set the clock back
    db.execute(
        "UPDATE runs SET waits_for = ?, wait_why = ?, not_before_ms = ?, wait_ms = ?, updated_at_ms = ? WHERE seq = ?",
        (*columns(wait), at_ms, run_seq),
    )
    journal.add_run(db, at_ms, event_seq, run_seq, ProcessStatus.QUEUED)
