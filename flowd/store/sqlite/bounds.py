"""How many runs may wait."""

import sqlite3

from flowd.domain.errors import QueueFullError


def queued(db: sqlite3.Connection) -> int:
    """How many runs are queued."""
    (count,) = db.execute("SELECT n FROM counts WHERE name = 'queued'").fetchone()
    return int(count)


def refuse_overflow(queued: int, more: int, max_queued: int) -> None:
    """Raise `QueueFullError` where so many more are too many."""
    if more and queued + more > max_queued:
        raise QueueFullError(
            f"{queued} runs are queued already and max_queued is {max_queued}; nothing was stored. "
            f"Send the event again when the queue is shorter.",
            queued=queued,
            maxQueued=max_queued,
        )
