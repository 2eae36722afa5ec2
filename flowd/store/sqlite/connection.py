"""Opens the database: pragmas, migrations, and the translation of SQLite's errors. Nothing about events or runs."""

import os
import shutil
import sqlite3
from contextlib import ExitStack
from pathlib import Path
from typing import Any, TypeVar

from flowd.domain.errors import RefusedError, StateError, StorageBusyError, StorageFailedError, StorageFullError
from flowd.store.sql.connection import WriteNotes
from flowd.store.sqlite.files import keep_undo_in_memory
from flowd.store.sqlite.migration import migrate

C = TypeVar("C", bound=sqlite3.Connection)
BUSY_TIMEOUT_S = 5.0
FULL = "The disk under the state folder is full; nothing was stored. Free some space and try again."


class SqliteReader(sqlite3.Connection):
    """A connection that reads. See `flowd.store.sql.connection.ReadConnection`."""

    write = sqlite3.Connection.execute

    def begin(self) -> None:
        """Begin a transaction that sees one snapshot."""
        self.execute("BEGIN")

    def roll_back(self) -> None:
        """End it."""
        self.execute("ROLLBACK")


class SqliteWriter(sqlite3.Connection, WriteNotes):
    """The connection that writes. See `flowd.store.sql.connection.WriteConnection`."""

    write = sqlite3.Connection.execute

    def __init__(self, *args: Any, **options: Any) -> None:
        sqlite3.Connection.__init__(self, *args, **options)
        WriteNotes.__init__(self)

    def begin(self) -> None:
        """Begin a transaction that nobody else writes beside."""
        self.execute("BEGIN IMMEDIATE")

    def commit(self) -> None:
        """Make durable what the transaction has done."""
        self.execute("COMMIT")

    def roll_back(self) -> None:
        """Undo what the transaction has done."""
        self.execute("ROLLBACK")


def open_writer(path: Path) -> SqliteWriter:
    """The write connection, with the schema brought up to date. WAL and ``synchronous=FULL``: a commit is on disk.

    Raises:
        StateError: The file is no database of ours, is damaged, or was written by a newer flowd. It is left as it is.
    """
    with ExitStack() as unless_opened:
        connection = _open(path, unless_opened)
        unless_opened.pop_all()
    os.chmod(path, 0o600)
    return connection


def _open(path: Path, unless_opened: ExitStack) -> SqliteWriter:
    try:
        connection = _connect(path, SqliteWriter)
        unless_opened.callback(connection.close)
        if connection.execute("PRAGMA page_count").fetchone() == (0,):
            connection.execute("PRAGMA auto_vacuum = INCREMENTAL")  # later it takes a VACUUM of the whole file
        connection.execute("PRAGMA journal_mode = WAL")
        connection.execute("PRAGMA synchronous = FULL")
        migrate(connection, path)
        keep_undo_in_memory(connection)
    except sqlite3.Error as error:
        failure = translate(error)
        if isinstance(failure, StorageFullError | StorageBusyError):
            raise StateError(f"Cannot open {path}: {failure.message}") from error
        if isinstance(error, sqlite3.OperationalError) and error.sqlite_errorcode & 0xFF == sqlite3.SQLITE_IOERR:
            # What SQLite says, too, where the last few KiB of a disk do not hold its shared memory.
            raise StateError(
                f"Cannot open {path} ({error}): its disk fails or is full. {shutil.disk_usage(path.parent).free // 1024} "
                f"KiB are free there; free some space, or look after the disk."
            ) from error
        raise StateError(
            f"Cannot read {path} ({error}). flowd does not start over state that it cannot read: restore the file from a "
            f"backup, or move it aside to begin anew."
        ) from error
    return connection


def open_reader(path: Path) -> SqliteReader:
    """A connection that cannot write. Readers never wait for the writer, nor it for them."""
    connection = _connect(path, SqliteReader)
    connection.execute("PRAGMA query_only = ON")
    return connection


_STORAGE_CODES = frozenset(
    {
        sqlite3.SQLITE_FULL, sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED, sqlite3.SQLITE_IOERR, sqlite3.SQLITE_CORRUPT,
        sqlite3.SQLITE_NOTADB, sqlite3.SQLITE_CANTOPEN, sqlite3.SQLITE_READONLY, sqlite3.SQLITE_NOMEM,
    }
)  # fmt: skip


def is_about_storage(error: Exception) -> bool:
    """Whether the disk or the file is at fault, and not the statement that was executed."""
    if not isinstance(error, sqlite3.Error):
        return False
    # A damaged text is found by Python, which gives it no code.
    is_damaged_text = not hasattr(error, "sqlite_errorcode") and str(error).startswith("Could not decode")
    return is_damaged_text or getattr(error, "sqlite_errorcode", 0) & 0xFF in _STORAGE_CODES


def translate(error: Exception, *, is_reading: bool = False) -> RefusedError:
    """What an error of SQLite means to a caller. `StorageFailedError` of a write means that nothing after it can be
    trusted; of a read, that this one thing could not be read: what was acknowledged is no less stored for it."""
    code = getattr(error, "sqlite_errorcode", 0) & 0xFF
    if code == sqlite3.SQLITE_FULL:
        return StorageFullError(FULL)
    if code in (sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED):
        return StorageBusyError(
            "Another program holds flowd's database; nothing was stored. Try again when it is done."
        )
    if is_reading:
        return StorageFailedError(
            f"The database could not be read: {error}. Run `flowd doctor` to see what is left of it."
        )
    return StorageFailedError(
        f"The database failed: {error}. flowd stops, because nothing after this could be trusted."
    )


def _connect(path: Path, kind: type[C]) -> C:
    connection = sqlite3.connect(
        path, timeout=BUSY_TIMEOUT_S, isolation_level=None, check_same_thread=False, factory=kind
    )
    connection.execute("PRAGMA cache_size = -8000")
    return connection
