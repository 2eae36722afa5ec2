"""``flowd import``: takes over the events and runs of the reference system."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from flowd.cli import printing
from flowd.cli.exits import CommandError, Exit
from flowd.cli.printing import count
from flowd.cli.session import Session
from flowd.cli.verb import Verb, as_json_option
from flowd.domain.errors import FlowdError

if TYPE_CHECKING:
    from flowd.importing.importer import Report

_PLACES = (".codex/flow-backend/flow-backend.sqlite", ".codex/flow-client/state.json")
"""Where the reference system keeps its state in a workspace."""


@click.command("import", cls=Verb, short_help="Take over the reference system's events and runs.")
@click.argument("paths", nargs=-1, type=click.Path(exists=True, path_type=Path), metavar="[PATH]...")
@click.option("--dry-run", is_flag=True, help="Check and count everything, and write nothing.")
@click.option("--skip-bad", is_flag=True, help="Leave out records that cannot be taken over, instead of refusing.")
@as_json_option
@click.pass_obj
def import_(session: Session, paths: tuple[Path, ...], dry_run: bool, skip_bad: bool, as_json: bool) -> None:
    """Take over events and runs from the reference system's flow-backend.sqlite and state.json.

    A PATH is such a file or the folder it lies in; without one, those of the workspace are taken. Ids, instants,
    results and output are kept; a run whose end was never seen becomes failed (interrupted). What is there already is
    left as it is, so an import may be repeated. The daemon must not run meanwhile.

    \b
    Examples:
      flowd import --dry-run
      flowd import .codex/flow-backend/flow-backend.sqlite
    """
    from flowd.importing import sources  # noqa: PLC0415 - for this verb alone

    try:
        workspace = session.workspace
        found = [sources.find(path) for path in paths] or _usual(workspace)
        reports = _import(session, found, is_dry=dry_run, skip_bad=skip_bad)
    except sources.SourceError as error:
        raise CommandError(error.message) from error
    except FlowdError as error:
        raise CommandError(error.message, Exit.REFUSED) from error
    if as_json:
        printing.print_json({"dryRun": dry_run, "files": [_shape(report) for report in reports]})
        return
    for report in reports:
        _tell(report, is_dry=dry_run)


def _usual(workspace: Path) -> list[Path]:
    found = [workspace / place for place in _PLACES if (workspace / place).is_file()]
    if not found:
        raise CommandError(f"{workspace} has none of {' and '.join(_PLACES)}. Name the file to import.", Exit.NOT_FOUND)
    return found


def _import(session: Session, files: list[Path], *, is_dry: bool, skip_bad: bool) -> "list[Report]":
    from flowd.importing import importer, sources  # noqa: PLC0415
    from flowd.settings import sources as settings_sources  # noqa: PLC0415
    from flowd.state import folder as state_folder  # noqa: PLC0415 - for this verb alone
    from flowd.state.lock import Lock, LockedError  # noqa: PLC0415
    from flowd.wiring.store import open_database  # noqa: PLC0415

    opened = [sources.open_source(file) for file in files]
    chosen = settings_sources.load(workspace=session.workspace)
    state_folder.prepare(chosen.state_dir, chosen.workspace)
    try:
        lock = Lock(chosen.state_dir)
    except LockedError as error:
        message = f"{error.message} An import writes to the daemon's state, so the daemon has to be stopped for it."
        raise CommandError(message, Exit.REFUSED) from error
    with lock, _progress() as shown:
        if not skip_bad:
            # All files before the first write, so that a bad one leaves nothing half done.
            for source in opened:
                if problems := importer.check(source):
                    raise sources.SourceError(importer.refusal(source.path, problems))
        database = open_database(chosen)
        return [
            importer.run(source, database, skip_bad=skip_bad, is_dry=is_dry, on_progress=shown(source.path.name))
            for source in opened
        ]


@contextmanager
def _progress() -> "Iterator[Callable[[str], Callable[[int, int], None]]]":
    """A bar for each file where a person looks on, nothing otherwise."""
    if not printing.is_terminal():
        yield lambda _: lambda _done, _total: None
        return
    from rich.console import Console  # noqa: PLC0415 - 60 ms that piped output does not pay
    from rich.markup import escape  # noqa: PLC0415
    from rich.progress import Progress  # noqa: PLC0415

    with Progress(console=Console(stderr=True), transient=True) as progress:

        def show(name: str) -> Callable[[int, int], None]:
            task = progress.add_task(escape(printing.clean(name)), total=None)
            return lambda done, total: progress.update(task, completed=done, total=total)

        yield show


def _shape(report: "Report") -> dict[str, Any]:
    return {
        "path": str(report.path),
        "kind": report.kind,
        "events": report.events,
        "runs": report.runs,
        "knownEvents": report.known_events,
        "knownRuns": report.known_runs,
        "interrupted": report.interrupted,
        "withNext": report.with_next,
        "skipped": report.problems,
    }


def _tell(report: "Report", *, is_dry: bool) -> None:
    verb = "would import" if is_dry else "imported"
    printing.line(f"{report.path}: {verb} {count(report.events, 'event')} and {count(report.runs, 'run')}")
    if report.known_events or report.known_runs:
        printing.line(f"  there already: {count(report.known_events, 'event')}, {count(report.known_runs, 'run')}")
    if report.interrupted:
        printing.line(f"  {count(report.interrupted, 'run')} without a known end: failed, interrupted")
    if report.with_next:
        said = "1 result has" if report.with_next == 1 else f"{report.with_next} results have"
        printing.line(
            f"  {said} a next, which the reference system never sent: these stay history, but flowd sends what its own "
            f"runs say is to come next"
        )
    for problem in report.problems:
        printing.line(f"  left out: {problem}")
