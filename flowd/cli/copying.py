"""What the verbs have in common that copy a whole store: the daemon's lock, the bar, and the words."""

import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from flowd.cli import printing
from flowd.cli.exits import CommandError, Exit, tell
from flowd.cli.session import Session
from flowd.domain.errors import FlowdError

if TYPE_CHECKING:
    from flowd.copies.between import Copied, Telling
    from flowd.settings.values import Settings


_SAID = ("FLOWD_STORE", "FLOWD_HOST")


def copy_store(session: Session, *, is_back: bool, replaces: bool, is_dry: bool) -> "Copied":
    """``flowd store copy``."""
    from flowd.copies import between  # noqa: PLC0415 - for this verb alone
    from flowd.wiring.store import shared_address  # noqa: PLC0415

    with told(), stopped(session, "Copying its store", is_replaced=is_back) as settings, progress("copying") as telling:
        shared_address(settings)
        if is_back:
            return between.to_folder(settings, is_dry=is_dry, replaces=replaces, telling=telling)
        return between.to_shared(settings, is_dry=is_dry, telling=telling)


def copied_view(report: "Copied", *, is_dry: bool) -> dict[str, Any]:
    """The JSON of it."""
    return {
        "dryRun": is_dry,
        "source": report.source,
        "target": report.target,
        "events": report.tables.get("events", 0),
        "runs": report.tables.get("runs", 0),
        "attempts": report.tables.get("attempts", 0),
        "waiting": report.waiting,
        "outputs": report.outputs,
        "outputBytes": report.output_bytes,
        "rows": report.tables,
        "aside": None if report.aside is None else str(report.aside),
    }


def tell_copied(report: "Copied", *, is_dry: bool) -> None:
    """The same for people."""
    done = "would copy" if is_dry else "copied"
    printing.line(f"{done} {history(report.tables)} from {report.source} to {report.target}")
    if report.outputs:
        printing.line(
            f"  with {printing.count(report.outputs, 'file')} of output ({printing.size(report.output_bytes)})"
        )
    if report.aside is not None:
        printing.line(f"  what was there is in {report.aside}")
    if report.waiting and not is_dry:
        tell(
            f"What waits ({printing.count(report.waiting, 'run')}) can start from both by now. Start no daemon on "
            f"{report.source} any more, or it runs twice."
        )


def history(tables: dict[str, int]) -> str:
    """How much a store has, in words."""
    return f"{printing.count(tables.get('events', 0), 'event')} and {printing.count(tables.get('runs', 0), 'run')}"


@contextmanager
def told() -> Iterator[None]:
    """Refusals, and what a disk or a file refuses, as failures of the command."""
    try:
        yield
    except FlowdError as error:
        raise CommandError(error.message, Exit.REFUSED) from error
    except OSError as error:
        raise CommandError(
            f"{error.filename or 'It'}: {error.strerror}. Nothing was changed.", Exit.NO_OUTPUT
        ) from error


def settings_of(session: Session) -> "Settings":
    """The settings of the workspace's daemon: of its service, where it has one. A store or a host that the caller names
    is meant all the same."""
    from flowd.doctor import whereabouts  # noqa: PLC0415 - for these verbs alone
    from flowd.settings import sources  # noqa: PLC0415

    where = whereabouts.find(session.workspace, os.environ, socket=session.chosen_socket)
    said = {name: os.environ[name] for name in _SAID if os.environ.get(name)}
    return sources.load(workspace=session.workspace, environ={**where.environ, **said})


@contextmanager
def stopped(session: Session, doing: str, *, is_replaced: bool = False) -> "Iterator[Settings]":
    """The settings of the workspace, with the lock of its state folder held, so that no daemon starts there.

    Raises:
        CommandError: A daemon runs.
    """
    from flowd.state import folder as state_folder  # noqa: PLC0415 - for these verbs alone
    from flowd.state.lock import Lock, LockedError  # noqa: PLC0415

    settings = settings_of(session)
    state_folder.prepare(settings.state_dir, settings.workspace, is_replaced=is_replaced)
    try:
        lock = Lock(settings.state_dir)
    except LockedError as error:
        raise CommandError(f"{error.message} {doing} needs it stopped.", Exit.REFUSED) from error
    with lock:
        yield settings


@contextmanager
def progress(what: str) -> "Iterator[Telling]":
    """A bar on stderr where a person looks on, nothing otherwise."""
    from flowd.copies.between import Telling  # noqa: PLC0415 - for these verbs alone

    if not sys.stderr.isatty():
        yield Telling(lambda _: None, lambda _what, _more: None)
        return
    from rich.console import Console  # noqa: PLC0415 - 60 ms that others do not pay
    from rich.progress import Progress  # noqa: PLC0415

    with Progress(console=Console(stderr=True), transient=True) as shown:
        task = shown.add_task(what, total=None)
        yield Telling(
            lambda total: shown.update(task, total=total, completed=0),
            lambda name, more: shown.update(task, description=f"{what} {name}", advance=more),
        )
