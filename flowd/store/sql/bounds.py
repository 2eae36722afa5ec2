"""How many runs may be queued: those that are ready, and those that wait for something, each within a bound of its own."""

from collections.abc import Iterable
from typing import NamedTuple

from flowd.domain.errors import QueueFullError, TooManyRunsError
from flowd.domain.queueing import MAX_AT_ONCE, NewRun, QueueBounds
from flowd.store.sql import pauses
from flowd.store.sql.connection import Connection


class Load(NamedTuple):
    """How many runs are ready, and how many wait."""

    ready: int
    waiting: int


def load(db: Connection) -> Load:
    """How many there are."""
    counts = dict(db.execute("SELECT name, n FROM counts WHERE name IN ('queued', 'waiting')").fetchall())
    return Load(counts["queued"] - counts["waiting"], counts["waiting"])


def of(runs: Iterable[NewRun]) -> Load:
    """How many these will be."""
    waits = [bool(run.needs or run.copied or run.is_timed) for run in runs]
    return Load(waits.count(False), waits.count(True))


def problem(db: Connection, now: Load, more: Load, within: QueueBounds) -> QueueFullError | None:
    """Why so many more are too many; None where they are not."""
    if more.ready and now.ready + more.ready > within.max_queued:
        return QueueFullError(
            f"{now.ready} runs are queued already and max_queued is {within.max_queued}; nothing was stored. "
            f"Send the event again when the queue is shorter.",
            queued=now.ready,
            maxQueued=within.max_queued,
        )
    if not sum(more) or now.waiting + sum(more) <= within.max_waiting:
        return None
    # Those that would be ready wait, too, where they are paused.
    if now.waiting + more.waiting > within.max_waiting or pauses.is_any(db):
        return QueueFullError(
            f"{now.waiting} runs wait already and max_waiting is {within.max_waiting}; nothing was stored. "
            f"Send the event again when fewer wait: `flowd queue` says for what.",
            waiting=now.waiting,
            maxWaiting=within.max_waiting,
        )
    return None


def refuse_overflow(db: Connection, now: Load, more: Load, within: QueueBounds) -> None:
    """Raise where so many more are too many.

    Raises:
        TooManyRunsError: For one transaction, whatever else there is.
        QueueFullError: Beside those that are queued.
    """
    if sum(more) > MAX_AT_ONCE:
        raise TooManyRunsError(
            f"{sum(more)} steps would have a run of the event at once, and {MAX_AT_ONCE} may; nothing was stored. "
            f"Let fewer steps match it, and one of them cause an event for the others; of a replay name some of the steps.",
            runs=sum(more),
            maxRuns=MAX_AT_ONCE,
        )
    found = problem(db, now, more, within)
    if found is not None:
        raise found
