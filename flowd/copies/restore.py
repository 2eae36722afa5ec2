"""Puts a backup in the place of a store: all of it, or nothing.

What was running when the backup was made is running in it, too. No process is looked for: the next daemon finds that
nobody knows of these attempts, and ends them as it does after a crash.
"""

import os
import sqlite3
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import IO

from flowd.copies import archive, backup, between, conditions, disk, output_names, placing
from flowd.copies.archive import DATABASE, OUTPUT, BackupError, Header, Manifest
from flowd.copies.between import Copied, Telling
from flowd.copies.placing import Draft
from flowd.domain.errors import StateError
from flowd.domain.hosts import DEFAULT_LOST_AFTER_MS
from flowd.settings.values import Settings
from flowd.state import files, host_id, place
from flowd.store.sql.bulk import Bulk
from flowd.store.sqlite.bulk import SqliteBulk
from flowd.store.sqlite.connection import open_writer
from flowd.store.sqlite.schema import known_schema
from flowd.wiring.whole_store import filling_shared, reading_file

_NOBODYS = "restored"
"""Of a keeper, a boot and a daemon: nobody's, so that whoever takes the attempt up knows nothing of it."""


@dataclass(slots=True)
class Restored:
    """What was restored.

    Attributes:
        target: To where, for people.
        running: Runs that the next daemon ends as interrupted; ``queued`` ones go on.
        aside: Where what was in its place is now.
    """

    header: Header
    manifest: Manifest
    target: str
    running: int = 0
    queued: int = 0
    aside: Path | None = None


def restore(settings: Settings, name: str, file: IO[bytes], *, replaces: bool, telling: Telling) -> Restored:
    """Restore a backup to where the settings have the store: the state folder, or the schema that hosts share. The
    caller has the lock of the folder.

    Args:
        replaces: What the state folder has goes aside.

    Raises:
        StateError: The target is not in a state for it.
        BackupError: The file is none, is damaged, or is a newer flowd's.
        RefusedError: The schema that hosts share could not take it.
        OSError: The state folder cannot be written.
    """
    folder = settings.state_dir
    conditions.refuse_steps(folder)
    if settings.store is None and not replaces and (there := placing.history_of(folder)) is not None:
        raise StateError(f"{folder / DATABASE} is not empty: it has {there}. --replace moves it aside.")
    if settings.store is not None:
        if replaces:
            raise StateError(f"{settings.store} is shared, and is not replaced. {conditions.ANOTHER_SCHEMA}")
        with filling_shared(settings, is_dry=True) as target:
            conditions.refuse_filled(target.db, settings.store.shown)
    draft = Draft(folder)
    try:
        restored = _unpack(settings, name, file, draft, telling)
        if settings.store is not None:
            _fill(settings, draft, restored, telling)
            draft.remove()
    except BaseException:
        draft.remove()
        raise
    if settings.store is None:
        restored.aside = draft.take_place(with_processes=True)
        place.record(folder, settings.workspace)
    return restored


def _unpack(settings: Settings, name: str, file: IO[bytes], draft: Draft, telling: Telling) -> Restored:
    def accept(header: Header) -> None:
        if header.schema > known_schema():
            raise BackupError(
                f"{name} is of a newer flowd ({header.flowd}): its schema is {header.schema}, and this one knows "
                f"{known_schema()}. Install that version, or a later one."
            )

    def into(member: str) -> IO[bytes]:
        path = draft.database if member == DATABASE else draft.output / member.removeprefix(OUTPUT)
        return open(files.open_own(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL), "wb")

    header, manifest = archive.read(
        file, name, accept=accept, into=into, done=lambda more: telling.done("from the backup", more)
    )
    backup.check_database(draft.database, header, manifest, name)
    restored = Restored(header, manifest, str(settings.store or settings.state_dir / DATABASE))
    try:
        with closing(open_writer(draft.database)) as db:  # today's schema
            db.begin()
            _disown(SqliteBulk(db), settings, is_shared=settings.store is not None)
            db.commit()
            counted = dict(db.execute("SELECT name, n FROM counts").fetchall())
            named = {one.name for one in output_names.outside(db)}
    except sqlite3.Error as error:
        raise disk.failure(error, draft.database) from error
    restored.running, restored.queued = counted["running"], counted["queued"]
    for path in draft.output.iterdir():
        if path.name not in named:  # pruned while the backup was made
            path.unlink()
    return restored


def _disown(bulk: Bulk, settings: Settings, *, is_shared: bool) -> None:
    """Nobody knows of what was running; and what was of hosts is of the one that there is, in a state folder."""
    bulk.db.execute(
        "UPDATE attempts SET worker_id = ?, boot_id = ?, pid = NULL WHERE status = 'running'", (_NOBODYS, _NOBODYS)
    )
    if is_shared:
        return
    bulk.db.execute("UPDATE runs SET bound_to = '' WHERE bound_to <> ''")
    for table in [name for name, shape in bulk.shapes().items() if "host" in shape.key]:
        bulk.db.execute(f"DELETE FROM {table} WHERE host NOT IN ('', ?)", (settings.host,))  # noqa: S608 - ours
        bulk.db.execute(f"UPDATE {table} SET host = '' WHERE host <> ''")  # noqa: S608 - the same


def _fill(settings: Settings, draft: Draft, restored: Restored, telling: Telling) -> None:
    with reading_file(draft.database) as source, filling_shared(settings) as target:
        report = Copied("the backup", restored.target)
        between.fill_shared(source, target, settings, draft.output, report, is_dry=False, telling=telling)
        target.db.execute(
            "UPDATE attempts SET host = ?, host_id = ?, session = ?, lost_after_ms = ?,"
            " lease_until_ms = server_ms() + ? WHERE status = 'running'",
            (
                settings.host,
                host_id.here(settings.state_dir),
                _NOBODYS,
                DEFAULT_LOST_AFTER_MS,
                DEFAULT_LOST_AFTER_MS,
            ),
        )
        draft.add_output()
