"""Reads ``[secrets.NAME]``: where the secrets of steps are kept."""

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Annotated, ClassVar

from flowd.domain.secrets import SecretSource
from flowd.formats.typed import About, Meta, Problem, Struct

_Text = Annotated[str, Meta(min_length=1)]


class SecretTable(Struct, forbid_unknown_fields=True):
    """``[secrets.NAME]``."""

    ONE_OF: ClassVar = ("file", "credential", "env", "command")

    file: Annotated[
        Annotated[str, Meta(min_length=1, description="a path")] | None,
        About("A file with it.", example='"/run/secrets/npm"'),
    ] = None
    credential: Annotated[
        Annotated[str, Meta(pattern="^[^/]+$", description="the name of a systemd credential of flowd's unit")] | None,
        About("A systemd credential of flowd's unit.", example='"npm"'),
    ] = None
    env: Annotated[
        Annotated[str, Meta(min_length=1, description="a variable's name")] | None,
        About("A variable of the daemon's environment, which no step inherits then.", example='"NPM_TOKEN"'),
    ] = None
    command: Annotated[
        Annotated[tuple[_Text, ...], Meta(min_length=1, description="a list: the program and its arguments")] | None,
        About("A program that prints it.", example='["pass", "show", "npm"]'),
    ] = None

    def problems(self) -> Iterator[Problem]:
        """It has to be in one place."""
        if len([place for place in self.ONE_OF if getattr(self, place) is not None]) != 1:
            yield Problem("needs one of file, credential, env and command")


def read_secrets(files: Sequence[Mapping[str, SecretTable]], root: Path) -> dict[str, SecretSource]:
    """The secrets of all files by name, of the strongest file that names one.

    Args:
        files: The tables of each, the strongest first.
        root: Where relative paths start.
    """
    return {name: _source(table, root) for tables in reversed(files) for name, table in tables.items()}


def _source(table: SecretTable, root: Path) -> SecretSource:
    file = None if table.file is None else str(root / Path(table.file).expanduser())
    return SecretSource(file, table.credential, table.env, table.command)
