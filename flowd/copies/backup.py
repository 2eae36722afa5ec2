"""Makes a backup: a consistent past of a store, with the output that it names, while a daemon works on it.

Of a store in the state folder, output files are written first, as of an attempt that has ended they never change; then
the database as it is at one moment; then the few files that it names beyond these. So nothing has to be held up, nor
kept from being pruned.
"""

import os
import sqlite3
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from tempfile import SpooledTemporaryFile, TemporaryDirectory
from typing import IO

import flowd
from flowd.copies import archive, between, disk, output_chunks, output_names
from flowd.copies.archive import DATABASE, OUTPUT, BackupError, Header, Manifest, Writer
from flowd.copies.backup_file import BackupFile
from flowd.copies.between import Copied, Telling
from flowd.copies.output_names import ENDINGS, Outside
from flowd.domain.errors import StateError
from flowd.domain.ids import file_name
from flowd.settings.values import Settings
from flowd.state import files
from flowd.state import folder as state_folder
from flowd.store.sql import bulk
from flowd.store.sql.bulk import HostNames
from flowd.store.sqlite import snapshot
from flowd.store.sqlite.schema import known_schema
from flowd.wiring.whole_store import reading_file, reading_shared

_IN_MEMORY_BYTES = 4 << 20
_PAGE_BYTES = 4096
_FIRST_SCHEMA = 5
"""Older ones have less about output; no flowd of the last releases has left one."""


@dataclass(slots=True)
class Made:
    """A backup.

    Attributes:
        size: Of its file, in bytes; None where it went to standard output.
    """

    header: Header
    manifest: Manifest
    size: int | None = None


@dataclass(frozen=True, slots=True)
class _Work:
    settings: Settings
    database: Path
    telling: Telling


def to_file(settings: Settings, path: Path, *, is_forced: bool, telling: Telling) -> Made:
    """Make a backup, on disk and verified, or leave nothing.

    Raises:
        StateError: There is nothing to back up, the file is there already, or the store cannot be used.
        RefusedError: The store cannot be read.
        BackupError: What was written is not what was to be: the disk is at fault.
        OSError: It cannot be written.
    """
    _refuse_nothing(settings)
    target = BackupFile(path, is_forced=is_forced)
    try:
        made = _write(_Work(settings, target.database, telling), target.file)
        with target.reading() as file:
            archive.read(file, str(path), accept=lambda _: None, into=lambda _: None, done=lambda _: None)
        made.size = target.keep()
    finally:
        target.close()
    return made


def to_stream(settings: Settings, file: IO[bytes], *, telling: Telling) -> Made:
    """Write a backup to a stream, whose reader has to see to the rest. Its database is made in a folder for temporary
    files first. Raises as `to_file`."""
    _refuse_nothing(settings)
    with TemporaryDirectory(prefix="flowd-backup-") as folder:
        return _write(_Work(settings, Path(folder) / DATABASE, telling), file)


def verify(path: Path, file: IO[bytes], *, done: Callable[[int], None]) -> Made:
    """Read a backup and check that it is whole, and its database sound.

    Raises:
        BackupError: It is not.
        OSError: It cannot be read; or there is no room for its database among temporary files.
    """
    with TemporaryDirectory(prefix="flowd-backup-") as folder:
        database = Path(folder) / DATABASE

        def into(name: str) -> IO[bytes] | None:
            return database.open("xb") if name == DATABASE else None

        header, manifest = archive.read(file, str(path), accept=lambda _: None, into=into, done=done)
        check_database(database, header, manifest, str(path))
    return Made(header, manifest)


def check_database(database: Path, header: Header, manifest: Manifest, name: str) -> None:
    """Check a backup's database once it is a file.

    Raises:
        BackupError: It is damaged, or not what the manifest says.
    """
    if wrong := snapshot.problems(database):
        raise BackupError(f"The database in {name} is damaged: {wrong[0]}. Take another backup.")
    with reading_file(database) as copy:
        found = bulk.counts(copy, set(manifest.rows) & set(copy.shapes()))
    if found != manifest.rows or snapshot.schema_of(database) != header.schema:
        raise BackupError(f"The database in {name} is not the one that its manifest tells of. Take another backup.")


def _refuse_nothing(settings: Settings) -> None:
    if settings.store is not None:
        return
    folder = settings.state_dir
    if folder.is_dir() and not os.access(folder, os.R_OK | os.X_OK):
        raise StateError(
            f"{folder} is for its user's eyes alone. Do it as that user: runuser -u USER -- flowd backup …"
        )
    path = folder / state_folder.DATABASE
    if not path.exists():
        raise StateError(f"There is no {path}: nothing was stored yet that could be backed up.")


def _write(work: _Work, file: IO[bytes]) -> Made:
    try:
        return _of_folder(work, file) if work.settings.store is None else _of_shared(work, file)
    except sqlite3.Error as error:
        raise disk.failure(error, work.database) from error


def _of_folder(work: _Work, file: IO[bytes]) -> Made:
    source = work.settings.state_dir / state_folder.DATABASE
    output = work.settings.state_dir / state_folder.OUTPUT
    schema = snapshot.schema_of(source)
    if not _FIRST_SCHEMA <= schema <= known_schema():
        raise StateError(f"{source} has schema {schema}, and this flowd backs up {_FIRST_SCHEMA} to {known_schema()}.")
    header = _header(work.settings, schema, "file")
    with Writer(file, header) as writer:
        _write_folder(work, writer, source, output)
        return _finish(work, writer, header)


def _write_folder(work: _Work, writer: Writer, source: Path, output: Path) -> None:
    with reading_file(source) as now:
        names = [one for one in output_names.outside(now.db) if one.at_ms is not None]
    work.telling.total(source.stat().st_size + sum(one.size or 0 for one in names))
    for one in names:
        _add_file(writer, output, one, work.telling)
    reached = 0

    def taken() -> None:
        writer.manifest.taken_at_ms = _now_ms()

    def copied(pages: int) -> None:
        nonlocal reached
        work.telling.done("database", (pages - reached) * _PAGE_BYTES)
        reached = pages

    snapshot.take(source, work.database, taken=taken, on_progress=copied)
    if wrong := snapshot.problems(work.database):
        raise StateError(f"{source} is damaged: {wrong[0]}. `flowd doctor` says more; restore an older backup.")
    with reading_file(work.database) as copy:
        names = list(output_names.outside(copy.db))
        writer.manifest.rows = bulk.counts(copy, sorted(copy.shapes()))
    for one in names:
        if OUTPUT + one.name not in writer.manifest.members and not _add_file(writer, output, one, work.telling):
            writer.manifest.missing += [one.name] if one.is_expected else []


def _of_shared(work: _Work, file: IO[bytes]) -> Made:
    header = _header(work.settings, known_schema(), "shared")
    with Writer(file, header) as writer:
        _write_shared(work, writer)
        return _finish(work, writer, header)


def _write_shared(work: _Work, writer: Writer) -> None:
    with reading_shared(work.settings) as source:
        writer.manifest.taken_at_ms = _now_ms()
        between.make_file(source, work.database, HostNames({}), Copied("", ""), work.telling)
        for attempt, stream, data in output_chunks.streams(source):
            with SpooledTemporaryFile(_IN_MEMORY_BYTES) as spool:
                for piece in data:
                    spool.write(piece)
                size = spool.tell()
                spool.seek(0)
                writer.add(OUTPUT + file_name(attempt) + ENDINGS[stream], size, spool)
            work.telling.done(between.OUTPUT_STEP, 1)
    with reading_file(work.database) as copy:
        writer.manifest.rows = bulk.counts(copy, sorted(copy.shapes()))
        writer.manifest.missing = [
            one.name
            for one in output_names.outside(copy.db)
            if one.is_expected and OUTPUT + one.name not in writer.manifest.members
        ]


def _finish(work: _Work, writer: Writer, header: Header) -> Made:
    with work.database.open("rb") as database:
        writer.add(DATABASE, os.fstat(database.fileno()).st_size, database)
    work.database.unlink()
    return Made(header, writer.close())


def _add_file(writer: Writer, folder: Path, one: Outside, telling: Telling) -> bool:
    """Add a file of output; whether there is one."""
    with suppress(FileNotFoundError), open(files.open_own(folder / one.name, os.O_RDONLY), "rb") as file:
        size = os.fstat(file.fileno()).st_size
        writer.add(OUTPUT + one.name, size, file)
        telling.done(between.OUTPUT_STEP, size)
        return True
    return False


def _header(settings: Settings, schema: int, store: str) -> Header:
    return Header(flowd.__version__, schema, store, str(settings.workspace), settings.host, _now_ms())


def _now_ms() -> int:
    return time.time_ns() // 1_000_000
