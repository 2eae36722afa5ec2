"""Reads ``[secrets.NAME]``: where the secrets of steps are kept."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any

from flowd.domain.secrets import SecretSource
from flowd.formats.typed import Meta, Struct, read_table

_Text = Annotated[str, Meta(min_length=1)]


class _SecretTable(Struct, forbid_unknown_fields=True):
    file: Annotated[str, Meta(min_length=1, description="a path")] | None = None
    credential: (
        Annotated[str, Meta(pattern="^[^/]+$", description="the name of a systemd credential of flowd's unit")] | None
    ) = None
    env: Annotated[str, Meta(min_length=1, description="a variable's name")] | None = None
    command: (
        Annotated[tuple[_Text, ...], Meta(min_length=1, description="a list: the program and its arguments")] | None
    ) = None


def read_secrets(files: Sequence[tuple[Path, Mapping[str, Mapping[str, Any]]]], root: Path) -> dict[str, SecretSource]:
    """The secrets of all files by name, of the strongest file that names one.

    Args:
        files: Each with its tables, the strongest first.
        root: Where relative paths start.

    Raises:
        ValueError: A table cannot be used.
    """
    return {
        name: _read(members, f"{path}: [secrets.{name}]", root)
        for path, tables in reversed(files)
        for name, members in tables.items()
    }


def _read(members: Mapping[str, Any], where: str, root: Path) -> SecretSource:
    table = read_table(members, _SecretTable, where)
    if len([place for place in (table.file, table.credential, table.env, table.command) if place is not None]) != 1:
        raise ValueError(f"{where} needs one of file, credential, env and command.")
    file = None if table.file is None else str(root / Path(table.file).expanduser())
    return SecretSource(file, table.credential, table.env, table.command)
