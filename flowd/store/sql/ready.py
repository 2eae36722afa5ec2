"""The numbers of runs that are ready: the order in which they became so. Runs inside the writer's transaction."""

from flowd.store.sql.connection import Connection


def next_number(db: Connection) -> int:
    """The number of a run that becomes ready now."""
    (number,) = db.execute("UPDATE ready_numbers SET last = last + 1 RETURNING last").fetchone()
    return int(number)
