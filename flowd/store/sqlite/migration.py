"""Brings a database's schema up to date, or refuses one that is not what it says. A backup is made before."""

import logging
import os
import sqlite3
from contextlib import suppress
from datetime import UTC, datetime
from pathlib import Path

import flowd
from flowd.domain.errors import StateError
from flowd.store.sqlite.schema import differences, migrations

log = logging.getLogger("flowd.store")

APPLICATION_ID = 0x666C6F77  # "flow"


def migrate(db: sqlite3.Connection, path: Path) -> None:
    """Bring the schema up to date, all or nothing, and say so in the log.

    Raises:
        StateError: It is no database of ours, is of a newer flowd, or is not as its version means. Nothing was changed.
    """
    scripts = migrations()
    (version,) = db.execute("PRAGMA user_version").fetchone()
    (application,) = db.execute("PRAGMA application_id").fetchone()
    (tables,) = db.execute("SELECT count(*) FROM sqlite_schema").fetchone()
    if application not in (0, APPLICATION_ID) or (application == 0 and tables):
        raise StateError(f"{path} is a database, but not flowd's. Move it aside, or choose another FLOWD_STATE_DIR.")
    if version > len(scripts):
        raise StateError(f"{path} was written by {_newer(db, version, len(scripts))}. {_way_back(path, len(scripts))}")
    if wrong := differences(db, version):
        raise StateError(
            f"{path} is not what schema {version} of flowd is: {'; '.join(wrong[:3])}. A flowd from between two releases "
            f"wrote it, or another program changed it. Restore it from a backup, or move it aside to begin anew."
        )
    if version < len(scripts):
        backup = _back_up(db, backup_path(path, len(scripts))) if version else None
        _execute(db, scripts[version:], len(scripts))
        if backup is not None:
            log.info("database upgraded", extra={"from": version, "to": len(scripts), "backup": str(backup)})


def backup_path(path: Path, version: int) -> Path:
    """Where the database goes before it is brought to this version of the schema."""
    return path.with_name(f"{path.name}.before-schema-{version}")


def written_by(db: sqlite3.Connection) -> str | None:
    """The version of the flowd that brought the schema to where it is; None for one from before that was noted."""
    with suppress(sqlite3.Error):
        for (version,) in db.execute("SELECT value FROM about WHERE name = 'flowd_version'"):
            return str(version)
    return None


def _newer(db: sqlite3.Connection, version: int, known: int) -> str:
    who = written_by(db)
    return f"a newer flowd{f' ({who})' if who else ''}: its schema is {version}, and this one knows {known}"


def _way_back(path: Path, known: int) -> str:
    """What to do about a database of a newer flowd: the backup that it made is of ours, if it is the next one."""
    made = sorted(path.parent.glob(f"{path.name}.before-schema-*"), key=lambda found: found.stat().st_mtime)
    ours = [found for found in made if _schema_of(found) == known]
    if not ours:
        return "Install that version again."
    since = datetime.fromtimestamp(ours[-1].stat().st_mtime, UTC).strftime("%Y-%m-%d %H:%M UTC")
    return (
        f"Install that version again; or move the file and its -wal aside and copy {ours[-1]} into its place, which is "
        f"how it was on {since}: what was accepted and run since then would be forgotten."
    )


def _schema_of(path: Path) -> int | None:
    try:
        db = sqlite3.connect(f"{path.as_uri()}?mode=ro&immutable=1", uri=True)
    except sqlite3.Error:
        return None
    try:
        return int(db.execute("PRAGMA user_version").fetchone()[0])
    except sqlite3.Error:
        return None
    finally:
        db.close()


def _execute(db: sqlite3.Connection, scripts: list[str], version: int) -> None:
    db.executescript(
        f"BEGIN IMMEDIATE; {';'.join(scripts)}; INSERT OR REPLACE INTO about VALUES ('flowd_version', '{flowd.__version__}');"
        f" PRAGMA application_id = {APPLICATION_ID}; PRAGMA user_version = {version}; COMMIT;"
    )


def _back_up(db: sqlite3.Connection, target: Path) -> Path:
    """A copy of the database, whole or not there."""
    draft = target.with_name(f"{target.name}.draft")
    draft.unlink(missing_ok=True)
    os.close(os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600))
    copy = sqlite3.connect(draft)
    try:
        db.backup(copy)
    finally:
        copy.close()
    draft.replace(target)
    return target
