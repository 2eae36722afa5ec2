"""How many queued runs wait for what."""

import threading
import time
from collections.abc import Callable

from flowd.domain.queue_view import Depth
from flowd.store.sql.connection import Connection

_SHARE = 0.05
"""Of the time, for counting. A million queued runs take about a second, which readers of lists would wait for."""

_DEPTHS = (
    "SELECT CASE waits_for WHEN 'question' THEN 'person' ELSE coalesce(waits_for, 'place') END, count(*),"
    " min(updated_at_ms) FROM runs WHERE status = 'queued' AND status IN ('queued', 'running') GROUP BY 1 ORDER BY 1"
)


class Depths:
    """Counts, and remembers for a while what it came to. May be asked in any thread."""

    def __init__(self, clock_s: Callable[[], float] = time.monotonic) -> None:
        self._clock_s = clock_s
        self._lock = threading.Lock()
        self._known: list[Depth] = []
        self._until_s = float("-inf")

    def now(self, db: Connection) -> list[Depth]:
        """The depths, by what is waited for."""
        with self._lock:
            began_s = self._clock_s()
            if began_s >= self._until_s:
                self._known = [Depth(*row) for row in db.execute(_DEPTHS)]
                ended_s = self._clock_s()
                self._until_s = ended_s + (ended_s - began_s) / _SHARE
            return self._known
