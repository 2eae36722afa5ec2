"""``flowd schema``: the JSON Schemas of flow.toml and flowd.toml, for editors."""

import os
from collections.abc import Iterator
from pathlib import Path

import click

from flowd import schemas
from flowd.cli import printing
from flowd.cli.exits import CommandError
from flowd.cli.session import Session
from flowd.cli.verb import Verb
from flowd_client import small_file

_FILES = {"flow": ("flows/*/flow.toml", ".codex/flows/*/flow.toml"), "settings": (".codex/flowd.toml",)}


@click.command(cls=Verb, short_help="Print the JSON Schema of flow.toml or flowd.toml.")
@click.argument("name", type=click.Choice(list(schemas.NAMES)), required=False, metavar="[flow|settings]")
@click.option("--install", is_flag=True, help="Write both into .codex of the workspace, where files name them.")
@click.option("--path", "is_path", is_flag=True, help="Print where this installation has it.")
@click.pass_obj
def schema(session: Session, name: str | None, install: bool, is_path: bool) -> None:
    """Print the JSON Schema of flow.toml, or of flowd.toml: `settings`. With it an editor of TOML completes keys, shows
    what they mean, and marks what is wrong.

    --install puts both into the workspace, to be committed with it, and tells which first line makes an editor find
    them. `flowd new` does both.

    \b
    Examples:
      flowd schema flow
      flowd schema --install
      taplo check --schema "file://$(flowd schema flow --path)" flows/hello/flow.toml
    """
    if install:
        if name is not None or is_path:
            raise click.UsageError("--install takes neither a name nor --path: it writes both.")
        _install(session.workspace)
    elif name is None:
        raise click.UsageError("Say which schema: flow or settings.")
    elif is_path:
        printing.line(str(schemas.path(name)))
    else:
        printing.line(schemas.text(name).rstrip("\n"))


def _install(workspace: Path) -> None:
    for name in schemas.NAMES:
        place = schemas.copy_in(workspace, name)
        try:
            is_new = schemas.install(workspace, name)
        except OSError as error:
            raise CommandError(f"{place}: cannot be written: {error.strerror}.") from error
        printing.line(f"{'wrote' if is_new else 'up to date'} {os.path.relpath(place)}")
    if unnamed := list(_unnamed(workspace)):
        printing.note("\nAn editor looks for the schema of a file on its first line. These have none yet:")
        for file, line in unnamed:
            printing.note(f"  {os.path.relpath(file)}: {line}")


def _unnamed(workspace: Path) -> Iterator[tuple[Path, str]]:
    """Files of the workspace that name no schema, and what would."""
    for name, patterns in _FILES.items():
        for file in sorted(file for pattern in patterns for file in workspace.glob(pattern)):
            try:
                head = small_file.read(file).decode("utf-8-sig").lstrip()
            except (OSError, UnicodeDecodeError):
                continue
            if not head.startswith("#:schema "):
                yield file, schemas.directive(file, workspace, name)
