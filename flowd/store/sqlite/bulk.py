"""`SqliteBulk`: all rows of one file, read or written in one go. See `flowd.store.sql.bulk.Bulk`."""

import os
import sqlite3
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path

from flowd.state import files
from flowd.store.sql.bulk import Row, Shape
from flowd.store.sqlite.connection import BUSY_TIMEOUT_S, SqliteReader, SqliteWriter
from flowd.store.sqlite.migration import migrate


class SqliteBulk:
    """One file."""

    def __init__(self, db: SqliteReader | SqliteWriter) -> None:
        """``db`` is in autocommit mode; whoever has it begins and ends its transactions."""
        self.db = db

    def shapes(self) -> dict[str, Shape]:
        """See `Bulk.shapes`."""
        names = self.db.execute(
            "SELECT name FROM sqlite_schema WHERE type IN ('table', 'view') AND name NOT LIKE 'sqlite\\_%' ESCAPE '\\'"
        )
        return {name: self._shape(name) for (name,) in names.fetchall()}

    def _shape(self, table: str) -> Shape:
        found = self.db.execute("SELECT name, pk FROM pragma_table_info(?)", (table,)).fetchall()
        key = sorted((place, name) for name, place in found if place)
        return Shape(tuple(name for name, _ in found), tuple(name for _, name in key))

    def rows(self, table: str, columns: Sequence[str]) -> Iterator[Row]:
        """See `Bulk.rows`."""
        key = ", ".join(self._shape(table).key)
        return iter(self.db.execute(f"SELECT {', '.join(columns)} FROM {table}{f' ORDER BY {key}' if key else ''}"))

    def insert(self, table: str, columns: Sequence[str], rows: Iterable[Row]) -> None:
        """See `Bulk.insert`."""
        marks = ", ".join("?" * len(columns))
        self.db.executemany(f"INSERT INTO {table} ({', '.join(columns)}) VALUES ({marks})", rows)

    def settle(self, tables: Iterable[str]) -> None:
        """See `Bulk.settle`. SQLite gives one more than the largest number there is."""


def make(path: Path) -> SqliteWriter:
    """A new database with today's schema, to be filled. A crash leaves it half: it is to be given its name only after
    `finish`.

    Raises:
        sqlite3.Error: It cannot be made.
    """
    os.close(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600))
    db = sqlite3.connect(path, timeout=BUSY_TIMEOUT_S, isolation_level=None, factory=SqliteWriter)
    try:
        db.execute("PRAGMA auto_vacuum = INCREMENTAL")
        db.execute("PRAGMA journal_mode = MEMORY")
        db.execute("PRAGMA synchronous = OFF")
        migrate(db, path)
    except BaseException:
        db.close()
        raise
    return db


def finish(db: SqliteWriter, path: Path) -> None:
    """Close a database that was filled; it is on disk then."""
    db.close()
    files.sync(os.open(path, os.O_RDONLY | os.O_CLOEXEC))
