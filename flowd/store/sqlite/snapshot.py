"""Copies a database as it is at one moment, while others write to it.

A reader holds up no writer. What could is the disk: whoever waits for a commit to be there waits for what else is to be
written, too. So what the copy writes is brought to the disk piece by piece.
"""

import os
import sqlite3
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

from flowd.state import steadily
from flowd.store.sqlite.connection import open_reader

_PAGES_AT_ONCE = 64
"""Of 4 KiB."""


def take(path: Path, target: Path, *, taken: Callable[[], None], on_progress: Callable[[int], None]) -> None:
    """Copy a database into a new file, which is on disk then, and no more than one file.

    Args:
        taken: Called as soon as later commits are not in the copy any more.
        on_progress: Told how many pages are there.

    Raises:
        sqlite3.Error: One of them cannot be read or written.
        OSError: The new file cannot be made.
    """
    descriptor = os.open(target, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
    try:
        with closing(open_reader(path)) as source, closing(sqlite3.connect(target, isolation_level=None)) as copy:
            source.begin()
            source.execute("SELECT 1 FROM sqlite_schema LIMIT 1").fetchone()  # only that takes the snapshot
            taken()
            copy.execute("PRAGMA journal_mode = OFF")
            copy.execute("PRAGMA synchronous = OFF")
            copy.execute("PRAGMA cache_size = 16")  # so that pages are written as they come

            def written(_status: int, left: int, total: int) -> None:
                steadily.settle(descriptor)
                on_progress(total - left)

            source.backup(copy, pages=_PAGES_AT_ONCE, progress=written)
        with closing(sqlite3.connect(target, isolation_level=None)) as copy:
            copy.execute("PRAGMA journal_mode = DELETE")  # one file, whoever opens it
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def problems(path: Path) -> list[str]:
    """What is wrong with a database, for people; empty where it is sound."""
    try:
        with closing(sqlite3.connect(f"{path.as_uri()}?mode=ro", uri=True)) as db:
            found = [str(row[0]) for row in db.execute("PRAGMA integrity_check(3)")]
    except sqlite3.Error as error:
        return [str(error)]
    return [] if found == ["ok"] else found


def schema_of(path: Path) -> int:
    """The version of a database's schema.

    Raises:
        sqlite3.Error: It cannot be read.
    """
    with closing(sqlite3.connect(f"{path.as_uri()}?mode=ro", uri=True)) as db:
        return int(db.execute("PRAGMA user_version").fetchone()[0])
