"""How many queued runs wait for what, and how many of which steps hosts have to start."""

import threading
import time
from collections.abc import Callable
from typing import Generic, TypeVar

from flowd.domain.queue_view import Depth, StepQueue
from flowd.store.sql.connection import Connection

T = TypeVar("T")

_SHARE = 0.05
"""Of the time, for counting. A million queued runs take about a second, which readers of lists would wait for."""

_DEPTHS = (
    "SELECT CASE waits_for WHEN 'question' THEN 'person' WHEN 'instant' THEN 'time' ELSE coalesce(waits_for, 'place') END,"
    " count(*),"
    " min(updated_at_ms) FROM runs WHERE status = 'queued' AND status IN ('queued', 'running') GROUP BY 1 ORDER BY 1"
)
_MISSED = (
    "SELECT flow_name, step_name, bound_to, count(*), 1 FROM runs WHERE waits_for = 'package'"
    " GROUP BY flow_name, step_name, bound_to"
)
_READY = (
    "SELECT flow_name, step_name, bound_to, count(*), 0 FROM runs"
    " WHERE status = 'queued' AND waits_for IS NULL AND called_off IS NULL GROUP BY flow_name, step_name, bound_to"
)
"""In a store that hosts share: else the one there is starts all that is ready."""


class Rationed(Generic[T]):
    """Counts, and remembers for a while what it came to. May be asked in any thread."""

    def __init__(self, count: Callable[[Connection], list[T]], clock_s: Callable[[], float] = time.monotonic) -> None:
        self._count = count
        self._clock_s = clock_s
        self._lock = threading.Lock()
        self._known: list[T] = []
        self._until_s = float("-inf")

    def now(self, db: Connection) -> list[T]:
        """What there is, as it was not long ago."""
        with self._lock:
            began_s = self._clock_s()
            if began_s >= self._until_s:
                self._known = self._count(db)
                ended_s = self._clock_s()
                self._until_s = ended_s + (ended_s - began_s) / _SHARE
            return self._known


def depths(db: Connection) -> list[Depth]:
    """The depths, by what is waited for."""
    return [Depth(*row) for row in db.execute(_DEPTHS)]


def missed(db: Connection) -> list[StepQueue]:
    """The steps of runs that wait for their package."""
    return [_step(row) for row in db.execute(_MISSED)]


def ready(db: Connection) -> list[StepQueue]:
    """The steps of runs that are ready."""
    return [_step(row) for row in db.execute(_READY)]


def to_start(db: Connection) -> list[StepQueue]:
    """Both."""
    return [*missed(db), *ready(db)]


def _step(row: tuple[str, str, str, int, int]) -> StepQueue:
    flow, step, bound_to, runs, is_missing = row
    return StepQueue(flow, step, bound_to or None, runs, is_missing=bool(is_missing))
