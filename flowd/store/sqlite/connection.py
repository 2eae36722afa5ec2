"""Opens the database: pragmas, migrations, and the translation of SQLite's errors. Nothing about events or runs."""

import os
import re
import shutil
import sqlite3
from contextlib import ExitStack
from importlib.resources import files
from pathlib import Path

from flowd.domain.errors import RefusedError, StateError, StorageBusyError, StorageFailedError, StorageFullError

APPLICATION_ID = 0x666C6F77  # "flow"
BUSY_TIMEOUT_S = 5.0

_MIGRATION = re.compile(r"(\d{4})_\w+\.sql")


def open_writer(path: Path) -> sqlite3.Connection:
    """The write connection, with the schema brought up to date. WAL and ``synchronous=FULL``: a commit is on disk.

    Raises:
        StateError: The file is no database of ours, is damaged, or was written by a newer flowd. It is left as it is.
    """
    with ExitStack() as unless_opened:
        connection = _open(path, unless_opened)
        unless_opened.pop_all()
    os.chmod(path, 0o600)
    return connection


def _open(path: Path, unless_opened: ExitStack) -> sqlite3.Connection:
    try:
        connection = _connect(path)
        unless_opened.callback(connection.close)
        connection.execute("PRAGMA journal_mode = WAL")
        connection.execute("PRAGMA synchronous = FULL")
        _migrate(connection, path)
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


def open_reader(path: Path) -> sqlite3.Connection:
    """A connection that cannot write. Readers never wait for the writer, nor it for them."""
    connection = _connect(path)
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
    return isinstance(error, sqlite3.Error) and getattr(error, "sqlite_errorcode", 0) & 0xFF in _STORAGE_CODES


def translate(error: sqlite3.Error, *, is_reading: bool = False) -> RefusedError:
    """What an error of SQLite means to a caller. `StorageFailedError` of a write means that nothing after it can be
    trusted; of a read, that this one thing could not be read: what was acknowledged is no less stored for it."""
    code = getattr(error, "sqlite_errorcode", 0) & 0xFF
    if code == sqlite3.SQLITE_FULL:
        return StorageFullError(
            "The disk under the state folder is full; nothing was stored. Free some space and try again."
        )
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


def _connect(path: Path) -> sqlite3.Connection:
    connection = sqlite3.connect(path, timeout=BUSY_TIMEOUT_S, isolation_level=None, check_same_thread=False)
    connection.execute("PRAGMA cache_size = -8000")
    return connection


def _migrate(connection: sqlite3.Connection, path: Path) -> None:
    migrations = _migrations()
    (version,) = connection.execute("PRAGMA user_version").fetchone()
    (application,) = connection.execute("PRAGMA application_id").fetchone()
    (tables,) = connection.execute("SELECT count(*) FROM sqlite_schema").fetchone()
    if application not in (0, APPLICATION_ID) or (application == 0 and tables):
        raise StateError(f"{path} is a database, but not flowd's. Move it aside, or choose another FLOWD_STATE_DIR.")
    if version > len(migrations):
        raise StateError(
            f"{path} was written by a newer flowd (schema {version}, this one knows {len(migrations)}). Install that version."
        )
    if 0 < version < len(migrations):
        _back_up(connection, path.with_name(f"{path.name}.before-schema-{len(migrations)}"))
    for number, script in enumerate(migrations[version:], start=version + 1):
        connection.executescript(
            f"BEGIN IMMEDIATE; {script}; PRAGMA application_id = {APPLICATION_ID}; PRAGMA user_version = {number}; COMMIT;"
        )


def _migrations() -> list[str]:
    """The scripts in order; script n brings the schema from n-1 to n."""
    folder = files("flowd.store.sqlite") / "migrations"
    scripts = sorted(
        (entry for entry in folder.iterdir() if _MIGRATION.fullmatch(entry.name)), key=lambda entry: entry.name
    )
    return [script.read_text(encoding="utf-8") for script in scripts]


def known_schema() -> int:
    """The version of the schema that this flowd brings a database to."""
    return len(_migrations())


def _back_up(connection: sqlite3.Connection, target: Path) -> None:
    copy = sqlite3.connect(target)
    try:
        connection.backup(copy)
    finally:
        copy.close()
