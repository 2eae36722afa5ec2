"""``flowd backup`` and ``flowd restore``: a consistent past of the store in one file, and back."""

import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any

import click

from flowd.cli import copying, printing
from flowd.cli.copying import history
from flowd.cli.exits import CommandError, Exit
from flowd.cli.printing import size
from flowd.cli.session import Session
from flowd.cli.verb import Verb, as_json_option
from flowd.domain.instants import instant

if TYPE_CHECKING:
    from flowd.copies.backup import Made
    from flowd.copies.restore import Restored

_PIPE = "-"
_NICER = 19
"""Than the daemon, and than its steps."""

_file_argument = click.argument("file", type=click.Path(path_type=Path, allow_dash=True), metavar="FILE")


@click.command(cls=Verb, short_help="Write a backup, beside a daemon that works.")
@_file_argument
@click.option("--force", "is_forced", is_flag=True, help="Write over a FILE that is there.")
@click.option("--verify", "is_verifying", is_flag=True, help="Check the backup that FILE is, and write nothing.")
@as_json_option
@click.pass_obj
def backup(session: Session, *, file: Path, is_forced: bool, is_verifying: bool, as_json: bool) -> None:
    """Write everything that flowd remembers to FILE, as it is at one moment: events, runs, attempts, what waits, and
    the output of steps. The daemon goes on meanwhile, or is stopped; nothing waits for the backup.

    FILE is made under another name, brought to disk, read again and compared, and only then there. It is a tar archive
    of mode 0600 with a database of SQLite in it, from whichever store. With - it goes to standard output. It has
    payloads, results and output in it: keep it as you keep these.

    \b
    Examples:
      flowd backup /backups/flowd-$(date +%F).tar
      flowd backup --verify /backups/flowd-2026-07-01.tar
      flowd backup - | zstd | ssh box 'cat > flowd.tar.zst'
    """
    if is_verifying and is_forced:
        raise click.UsageError("--verify writes nothing, so there is nothing to --force.")
    with _told(file):
        if is_verifying:
            made = _verified(file)
        elif str(file) == _PIPE:
            _to_stream(session, as_json=as_json)
            return
        else:
            made = _to_file(session, file, is_forced=is_forced)
    if as_json:
        printing.print_json(_made_view(made, file))
    else:
        _tell_made(made, file, is_verifying=is_verifying)


@click.command(cls=Verb, short_help="Put a backup in the place of a stopped daemon's state.")
@_file_argument
@click.option("--replace", is_flag=True, help="Move aside what the state folder has.")
@as_json_option
@click.pass_obj
def restore(session: Session, *, file: Path, replace: bool, as_json: bool) -> None:
    """Put what FILE has to where this workspace has its store: into its state folder, or into the schema that hosts
    share (made by `flowd store init`). It is all there at the end, or nothing is. The daemon must be stopped.

    The target has to be empty. --replace moves aside what a state folder has, and says where. What was running when the
    backup was made is ended as interrupted by the next daemon, and begun again where the step's retry says so; what was
    queued goes on. With - it comes from standard input.

    \b
    Examples:
      flowd restore /backups/flowd-2026-07-01.tar
      flowd restore --replace /backups/flowd-2026-07-01.tar
      ssh box cat flowd.tar.zst | zstd -d | flowd restore -
    """
    from flowd.copies import restore as restoring  # noqa: PLC0415 - for this verb alone

    with (
        _told(file),
        _opened(file) as source,
        copying.stopped(session, "Restoring", is_replaced=True) as settings,
        copying.progress("restoring") as telling,
    ):
        restored = restoring.restore(settings, _named(file), source, replaces=replace, telling=telling)
    if as_json:
        printing.print_json(_restored_view(restored, file))
    else:
        _tell_restored(restored)


def _to_file(session: Session, file: Path, *, is_forced: bool) -> "Made":
    from flowd.copies import backup as backing  # noqa: PLC0415 - for this verb alone

    os.nice(_NICER)
    settings = copying.settings_of(session)
    with copying.progress("backing up") as telling:
        return backing.to_file(settings, file.absolute(), is_forced=is_forced, telling=telling)


def _to_stream(session: Session, *, as_json: bool) -> None:
    from flowd.copies import backup as backing  # noqa: PLC0415 - for this verb alone

    if as_json:
        raise click.UsageError("Standard output is the backup's own. Name a FILE, or leave out --json.")
    if sys.stdout.isatty():
        raise click.UsageError("A terminal takes no backup. Name a FILE, or give standard output a reader.")
    os.nice(_NICER)
    settings = copying.settings_of(session)
    with copying.progress("backing up") as telling:
        backing.to_stream(settings, sys.stdout.buffer, telling=telling)
        sys.stdout.buffer.flush()


def _verified(file: Path) -> "Made":
    from flowd.copies import backup as backing  # noqa: PLC0415 - for this verb alone

    with _opened(file) as source, copying.progress("reading") as telling:
        made = backing.verify(file, source, done=lambda more: telling.done("the backup", more))
    made.size = None if str(file) == _PIPE else file.stat().st_size
    return made


@contextmanager
def _opened(file: Path) -> Iterator[IO[bytes]]:
    if str(file) == _PIPE:
        yield sys.stdin.buffer
        return
    try:
        source = file.open("rb")
    except FileNotFoundError as error:
        raise CommandError(f"There is no {file}.", Exit.NOT_FOUND) from error
    except OSError as error:
        raise CommandError(f"Cannot read {file}: {error.strerror}.") from error
    with source:
        yield source


@contextmanager
def _told(file: Path) -> Iterator[None]:
    from flowd.copies.archive import BackupError  # noqa: PLC0415 - for these verbs alone
    from flowd.domain.errors import FlowdError  # noqa: PLC0415

    try:
        yield
    except BackupError as error:
        raise CommandError(error.message) from error
    except FlowdError as error:
        raise CommandError(error.message, Exit.REFUSED) from error
    except BrokenPipeError:
        raise
    except OSError as error:
        raise CommandError(
            f"{error.filename or file}: {error.strerror}. Nothing of it is left.", Exit.NO_OUTPUT
        ) from error


def _named(file: Path) -> str:
    return "standard input" if str(file) == _PIPE else str(file)


def _made_view(made: "Made", file: Path) -> dict[str, Any]:
    header, manifest = made.header, made.manifest
    return {
        "file": str(file),
        "bytes": made.size,
        "takenAt": instant(manifest.taken_at_ms),
        "flowd": header.flowd,
        "schema": header.schema,
        "store": header.store,
        "workspace": header.workspace,
        "events": manifest.rows.get("events", 0),
        "runs": manifest.rows.get("runs", 0),
        "attempts": manifest.rows.get("attempts", 0),
        "outputs": manifest.outputs,
        "outputBytes": manifest.output_bytes,
        "missing": manifest.missing,
    }


def _tell_made(made: "Made", file: Path, *, is_verifying: bool) -> None:
    manifest = made.manifest
    much = "" if made.size is None else f" ({size(made.size)})"
    outputs = f" with {printing.count(manifest.outputs, 'file')} of output" if manifest.outputs else ""
    what = "is whole" if is_verifying else "is written and verified"
    printing.line(f"{file}{much} {what}: {history(manifest.rows)}{outputs}, as of {instant(manifest.taken_at_ms)}")
    if manifest.missing:
        printing.note(f"  without {printing.count(len(manifest.missing), 'file')} of output that somebody has removed")


def _restored_view(restored: "Restored", file: Path) -> dict[str, Any]:
    manifest = restored.manifest
    return {
        "file": str(file),
        "target": restored.target,
        "takenAt": instant(manifest.taken_at_ms),
        "flowd": restored.header.flowd,
        "events": manifest.rows.get("events", 0),
        "runs": manifest.rows.get("runs", 0),
        "running": restored.running,
        "queued": restored.queued,
        "outputs": manifest.outputs,
        "aside": None if restored.aside is None else str(restored.aside),
    }


def _tell_restored(restored: "Restored") -> None:
    manifest = restored.manifest
    printing.line(f"{restored.target} has {history(manifest.rows)} again, as of {instant(manifest.taken_at_ms)}")
    if restored.aside is not None:
        printing.line(f"  what was there is in {restored.aside}")
    if restored.running:
        printing.line(
            f"  {printing.count(restored.running, 'run')} that ran then: the next daemon ends them as interrupted"
        )
    if restored.queued:
        printing.line(f"  {printing.count(restored.queued, 'run')} that waited then: the next daemon goes on with them")
