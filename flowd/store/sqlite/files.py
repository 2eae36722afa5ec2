"""The database's one file: its size, and the room in it that is free."""

from flowd.store.sql.connection import Connection

_PAGES_AT_ONCE = 1_000
"""Of 4 KiB: moved in some tens of milliseconds."""

_INCREMENTAL = 2


def keep_undo_in_memory(db: Connection, *, is_wanted: bool = True) -> None:
    """Keep in memory what SQLite needs to undo a single statement, which is a few pages for each that fires triggers. In
    a file it takes half of the time of an accept.

    Of a statement that rewrites the whole database (a migration, VACUUM) it would be the whole database.
    """
    db.execute(f"PRAGMA temp_store = {'MEMORY' if is_wanted else 'DEFAULT'}")


def give_back(db: Connection) -> bool:
    """Give some free pages back to the disk, within the transaction. False when none is left, or the file is of a flowd
    from before it could: `compact` does it then."""
    if not free_bytes(db) or db.execute("PRAGMA auto_vacuum").fetchone() != (_INCREMENTAL,):
        return False
    db.execute(f"PRAGMA incremental_vacuum({_PAGES_AT_ONCE})").fetchall()
    return free_bytes(db) > 0


def compact(db: Connection) -> None:
    """Write the whole file anew, without free pages, outside any transaction. It needs as much room again meanwhile."""
    db.execute(f"PRAGMA auto_vacuum = {_INCREMENTAL}")
    keep_undo_in_memory(db, is_wanted=False)
    try:
        db.execute("VACUUM")
    finally:
        keep_undo_in_memory(db)


def shrink_files(db: Connection) -> None:
    """Bring what was committed into the file, which shrinks only then, as far as readers let us."""
    db.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchall()


def free_bytes(db: Connection) -> int:
    """How much of the file is free, for what is stored next."""
    return _bytes(db, "freelist_count")


def size_bytes(db: Connection) -> int:
    """How large the file is once all that was committed is in it."""
    return _bytes(db, "page_count")


def _bytes(db: Connection, pages: str) -> int:
    (count,) = db.execute(f"PRAGMA {pages}").fetchone()
    (size,) = db.execute("PRAGMA page_size").fetchone()
    return int(count * size)
