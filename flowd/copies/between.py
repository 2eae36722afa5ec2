"""Takes a store as a whole from a state folder to the schema that hosts share, or from there to a state folder."""

import json
import os
import sqlite3
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path

from flowd.copies import conditions, disk, output_chunks, output_names, placing
from flowd.copies.output_names import ENDINGS
from flowd.copies.placing import Draft
from flowd.domain.errors import StateError
from flowd.domain.ids import file_name
from flowd.engine.round_folders import ABOUT
from flowd.settings.values import Settings
from flowd.state import files
from flowd.state.folder import DATABASE, OUTPUT, ROUNDS
from flowd.store.sql import bulk
from flowd.store.sql.bulk import Bulk, HostNames, OnProgress, Row
from flowd.store.sqlite import bulk as sqlite_bulk
from flowd.store.sqlite.connection import open_writer
from flowd.wiring.whole_store import filling_shared, reading_file, reading_shared

OUTPUT_STEP = "output"
"""How the files of output are called among the tables, where progress is told."""

OnTotal = Callable[[int], None]


@dataclass(slots=True)
class Copied:
    """What was copied, or would be.

    Attributes:
        source: Where it is copied from, for people; and ``target`` to where.
        tables: How many rows, by table.
        outputs: How many files of output; of ``output_bytes``.
        waiting: Runs that are not over, and go on in the target.
        aside: Where what was in the place of the target is now.
    """

    source: str
    target: str
    tables: dict[str, int] = field(default_factory=dict)
    outputs: int = 0
    output_bytes: int = 0
    waiting: int = 0
    aside: Path | None = None


@dataclass(frozen=True, slots=True)
class Telling:
    """Who is told how far it is: of how many things there are in all, and of each that is done."""

    total: OnTotal
    done: OnProgress


def to_shared(settings: Settings, *, is_dry: bool, telling: Telling) -> Copied:
    """Copy the state folder's own store into the one that its settings name, all or nothing. The caller has the lock
    of the folder.

    Raises:
        StateError: One of them cannot be used, or is not in a state for it.
        RefusedError: The target could not take it. Nothing was stored.
    """
    database = settings.state_dir / DATABASE
    if not database.exists():
        raise StateError(f"There is no {database}: nothing was stored here that could be copied.")
    open_writer(database).close()  # today's schema
    assert settings.store is not None
    report = Copied(str(database), settings.store.shown)
    with reading_file(database) as source, filling_shared(settings, is_dry=is_dry) as target:
        conditions.refuse_running(source.db, report.source)
        fill_shared(source, target, settings, settings.state_dir / OUTPUT, report, is_dry=is_dry, telling=telling)
        if not is_dry:
            _bind_rounds(target, settings)
    return report


def fill_shared(
    source: Bulk, target: Bulk, settings: Settings, output: Path, report: Copied, *, is_dry: bool, telling: Telling
) -> None:
    """Fill the schema that hosts share, which has to be empty, with a store in a file and output in files.

    Raises:
        StateError: It is not empty, or a daemon works on it.
    """
    conditions.refuse_filled(target.db, report.target)
    todo = bulk.plan(source.shapes(), target.shapes())
    report.tables = bulk.counts(source, todo.tables)
    report.waiting = _waiting(source)
    outside = [one for one in output_names.outside(source.db) if (output / one.name).exists()]
    report.outputs = len(outside)
    report.output_bytes = sum((output / one.name).lstat().st_size for one in outside)
    telling.total(sum(report.tables.values()) + len(outside))
    if is_dry:
        return
    bulk.copy(source, target, HostNames({"": settings.host}), telling.done)

    def chunks() -> Iterator[Row]:
        for one in outside:
            yield from output_chunks.of_file(output / one.name, one, max_bytes=settings.shared_output_bytes)
            telling.done(OUTPUT_STEP, 1)

    target.insert(output_chunks.TABLE, output_chunks.COLUMNS, chunks())


def to_folder(settings: Settings, *, is_dry: bool, replaces: bool, telling: Telling) -> Copied:
    """Copy the store that the settings name into the state folder, all or nothing. The caller has the folder's lock.

    Args:
        replaces: What the folder has goes aside, if that is anything.

    Raises:
        StateError: One of them cannot be used, or is not in a state for it.
        RefusedError: The source went away.
        OSError: The folder cannot be written. What it had is in its place.
    """
    assert settings.store is not None
    folder = settings.state_dir
    report = Copied(settings.store.shown, str(folder / DATABASE))
    if not replaces and (there := placing.history_of(folder)) is not None:
        raise StateError(f"{report.target} is not empty: it has {there}. --replace moves it aside.")
    with reading_shared(settings) as source:
        conditions.refuse_daemons(source.db, report.source)
        conditions.refuse_running(source.db, report.source)
        report.waiting = _waiting(source)
        if is_dry:
            report.tables = bulk.counts(source, _copied_tables(source))
            return report
        draft = Draft(folder)
        try:
            make_file(source, draft.database, HostNames({settings.host: ""}, keeps_others=False), report, telling)
            _write_output(source, draft.output, report, telling)
        except BaseException:
            draft.remove()
            raise
    report.aside = draft.take_place(with_processes=False)
    return report


def make_file(source: Bulk, path: Path, hosts: HostNames, report: Copied, telling: Telling) -> None:
    """Copy a store into a new file.

    Raises:
        OSError: The disk is full, or fails.
        StateError: It cannot be written.
    """
    try:
        _make_file(source, path, hosts, report, telling)
    except sqlite3.Error as error:
        raise disk.failure(error, path) from error


def _make_file(source: Bulk, path: Path, hosts: HostNames, report: Copied, telling: Telling) -> None:
    db = sqlite_bulk.make(path)
    try:
        target = sqlite_bulk.SqliteBulk(db)
        (outputs,) = source.db.execute(
            "SELECT count(*) FROM (SELECT DISTINCT run_seq, number, stream FROM output_chunks) AS streams"
        ).fetchone()
        telling.total(sum(bulk.counts(source, bulk.plan(source.shapes(), target.shapes()).tables).values()) + outputs)
        db.execute("BEGIN")
        report.tables = bulk.copy(source, target, hosts, telling.done)
        if not hosts.keeps_others:
            db.execute("UPDATE runs SET bound_to = '' WHERE bound_to <> ''")  # the one host that there is
        db.execute("COMMIT")
    finally:
        sqlite_bulk.finish(db, path)


def _write_output(source: Bulk, folder: Path, report: Copied, telling: Telling) -> None:
    for attempt, stream, data in output_chunks.streams(source):
        path = folder / (file_name(attempt) + ENDINGS[stream])
        with open(files.open_own(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL), "wb") as file:
            for piece in data:
                report.output_bytes += file.write(piece)
            file.flush()
            os.fsync(file.fileno())
        report.outputs += 1
        telling.done(OUTPUT_STEP, 1)


def _copied_tables(source: Bulk) -> list[str]:
    return [name for name in source.shapes() if name not in bulk.LEFT_OUT and name not in bulk.COUNTED]


def _waiting(source: Bulk) -> int:
    (count,) = source.db.execute("SELECT count(*) FROM runs WHERE status IN ('queued', 'running')").fetchone()
    return int(count)


def _bind_rounds(target: Bulk, settings: Settings) -> None:
    """What is left of rounds whose folders are here has to run here."""
    for about in sorted((settings.state_dir / ROUNDS).glob(f"*{ABOUT}")):
        with suppress(OSError, ValueError, KeyError, TypeError):
            whose = json.loads(about.read_text(encoding="utf-8"))
            target.db.execute(
                "UPDATE runs SET bound_to = ? WHERE status IN ('queued', 'running') AND flow_name = ? AND round = ?"
                " AND event_seq = (SELECT seq FROM events WHERE id = ?)",
                (settings.host, str(whose["flow"]), int(whose["round"]), str(whose["eventId"])),
            )
