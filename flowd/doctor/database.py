"""Checks the database: its integrity, its schema, and the size of its log. Read only."""

import sqlite3
import time
from collections.abc import Iterator

from flowd.doctor import shared_database
from flowd.doctor.finding import Finding, fail, ok, warn
from flowd.doctor.scene import Scene
from flowd.store.sqlite.migration import APPLICATION_ID, written_by
from flowd.store.sqlite.schema import differences, known_schema

CHECK_WITHIN_S = 20.0
_STEPS = 100_000
"""Instructions of SQLite's machine between two looks at the clock: some milliseconds."""

LARGE_WAL_BYTES = 256 << 20
_RESTORE = "Stop flowd; restore the file from a backup, or move it aside to start over."


def check(scene: Scene) -> Iterator[Finding]:
    """Reading it through takes as long as the file is large; after 20 s the doctor gives up and says so."""
    if scene.settings.store is not None:
        yield from shared_database.check(scene)
        return
    try:
        with scene.reading_file() as connection:
            if connection is None:
                yield ok("database", "none yet; the first start of the daemon makes it")
                return
            yield _schema(scene, connection)
            yield _integrity(scene, connection)
    except sqlite3.Error as error:
        yield fail("database", f"{scene.database} cannot be read: {error}", _RESTORE)
        return
    yield _log(scene)
    yield from _backups(scene)


def _schema(scene: Scene, connection: sqlite3.Connection) -> Finding:
    (version,) = connection.execute("PRAGMA user_version").fetchone()
    (application,) = connection.execute("PRAGMA application_id").fetchone()
    known = known_schema()
    if application != APPLICATION_ID:
        return fail("database.schema", f"{scene.database} is not flowd's", "Move it aside, or set FLOWD_STATE_DIR.")
    if version > known:
        return fail(
            "database.schema",
            f"version {version}; this flowd knows {known}",
            f"A newer flowd ({written_by(connection) or 'unknown'}) wrote it. Install that version, or a later one.",
        )
    if wrong := differences(connection, version):
        return fail("database.schema", f"not what version {version} is: {'; '.join(wrong[:3])}", _RESTORE)
    if version < known:
        return ok("database.schema", f"version {version}; the next start brings it to {known}")
    return ok("database.schema", f"version {version}")


def _integrity(scene: Scene, connection: sqlite3.Connection) -> Finding:
    deadline = time.monotonic() + CHECK_WITHIN_S
    connection.set_progress_handler(lambda: time.monotonic() > deadline, _STEPS)
    try:
        complaints = [str(row[0]) for row in connection.execute("PRAGMA quick_check(10)")]
    except sqlite3.OperationalError as error:
        if getattr(error, "sqlite_errorcode", 0) != sqlite3.SQLITE_INTERRUPT:
            raise
        return warn(
            "database.integrity",
            f"not read to its end within {CHECK_WITHIN_S:g} s",
            f"For the whole of it: sqlite3 {scene.database} 'PRAGMA quick_check'",
        )
    finally:
        connection.set_progress_handler(None, 0)
    if complaints != ["ok"]:
        return fail("database.integrity", f"damaged: {'; '.join(complaints)}", _RESTORE)
    size = scene.database.stat().st_size / (1 << 20)
    return ok("database.integrity", f"sound, {size:.1f} MiB")


def _log(scene: Scene) -> Finding:
    wal = scene.database.with_name(f"{scene.database.name}-wal")
    try:
        size = wal.stat().st_size
    except FileNotFoundError:
        return ok("database.log", "empty")
    text = f"{size / (1 << 20):.1f} MiB"
    if size > LARGE_WAL_BYTES:
        return warn(
            "database.log",
            f"{text}: it is not merged into the database",
            "Some program reads the database without end; close it. A restart of the daemon merges the log.",
        )
    return ok("database.log", text)


def _backups(scene: Scene) -> Iterator[Finding]:
    for path in sorted(scene.folder.glob(f"{scene.database.name}.before-schema-*")):
        size = path.stat().st_size / (1 << 20)
        yield ok(
            "database.backup",
            f"{path.name}, {size:.1f} MiB: the database before an upgrade. Remove it when you will not go back.",
        )
