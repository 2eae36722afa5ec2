"""Imports a file into a state folder: checks all of it first, then writes in batches that may be repeated."""

from collections.abc import Callable, Iterator, Sequence
from contextlib import closing
from dataclasses import dataclass, field
from itertools import islice
from pathlib import Path

from flowd.domain.trees import has_next
from flowd.importing.records import BadRecordError, read_event, read_run
from flowd.importing.sources import Source, SourceError
from flowd.store.sql import imports
from flowd.store.sql.connection import WriteConnection
from flowd.store.sql.database import Database

BATCH = 200
"""Events in a transaction: at most so many are imported again after a crash, and found to be there."""

MAX_PROBLEMS = 20
"""Bad records that a refusal lists."""


@dataclass(slots=True)
class Report:
    """What an import did, or would do as a dry run.

    Attributes:
        known_events: There already, like ``known_runs``; left as they are.
        interrupted: Of the imported runs, those that the reference system had not seen the end of.
        with_next: Of the imported runs, those whose result says what is to come next: nobody has sent that.
        problems: A sentence for each record that was left out.
    """

    path: Path
    kind: str
    events: int = 0
    runs: int = 0
    known_events: int = 0
    known_runs: int = 0
    interrupted: int = 0
    with_next: int = 0
    problems: list[str] = field(default_factory=list)


OnProgress = Callable[[int, int], None]
"""``(events done, events in all)``."""


def check(source: Source) -> list[str]:
    """Read everything and write nothing. Returns a sentence for each record that cannot be taken over."""
    problems = [f"run {run_id[:100]!r} belongs to an event that is not in the file" for run_id in source.strays()]
    for _ in _readable(source, problems):
        pass
    return problems


def run(
    source: Source, database: Database, *, skip_bad: bool = False, is_dry: bool = False, on_progress: OnProgress
) -> Report:
    """Import one file into the database of a workspace; the caller holds the lock of its state folder.

    Ids and instants are kept. What is there already is left as it is, so an import may be repeated, also one that was
    cut off. Imported events are listed as older than everything that flowd accepted itself.

    Raises:
        SourceError: A record cannot be taken over and ``skip_bad`` is not set. Nothing was written.
        StateError: The database cannot be opened.
        RefusedError: It cannot be written; what was written before stays.
    """
    report = Report(source.path, source.kind, problems=check(source))
    if report.problems and not skip_bad:
        raise SourceError(refusal(source.path, report.problems))
    with closing(database.open_writer()) as db:
        places = imports.Places(db, source.run_order())
        done = 0
        readable = _readable(source, [])
        while batch := list(islice(readable, BATCH)):
            _write(database, db, batch, places, report, is_dry=is_dry)
            done += len(batch)
            on_progress(done, source.total)
    return report


def _readable(source: Source, problems: list[str]) -> Iterator[imports.PastEvent]:
    for record, runs in source.records():
        good = []
        for run_record in runs:
            try:
                good.append(read_run(run_record, str(record.get("id"))))
            except BadRecordError as error:
                problems.append(str(error))
        try:
            event = read_event(record, good)
        except BadRecordError as error:
            problems.append(str(error))
        else:
            yield event


def _write(
    database: Database,
    db: WriteConnection,
    batch: Sequence[imports.PastEvent],
    places: imports.Places,
    report: Report,
    *,
    is_dry: bool,
) -> None:
    try:
        db.begin()
        counted = [imports.write(db, event, places) for event in batch]
        if is_dry:
            db.roll_back()
        else:
            db.commit()
    except Exception as error:
        if db.in_transaction:
            db.roll_back()
        if not database.is_about_storage(error):
            raise
        raise database.translate(error) from error
    for event, (is_new, new_runs) in zip(batch, counted, strict=True):
        report.events += is_new
        report.known_events += not is_new
        report.runs += len(new_runs)
        report.known_runs += len(event.runs) - len(new_runs)
        report.with_next += sum(has_next(run.outcome.result) for run in new_runs)
        report.interrupted += sum(run.outcome.reason == "interrupted" for run in new_runs)


def refusal(path: Path, problems: Sequence[str]) -> str:
    """The error for a file with bad records."""
    shown = "; ".join(problems[:MAX_PROBLEMS])
    more = f"; and {len(problems) - MAX_PROBLEMS} more" if len(problems) > MAX_PROBLEMS else ""
    return f"{path}: {shown}{more}. Nothing was imported; --skip-bad imports the rest."
