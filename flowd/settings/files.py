"""Reads and checks the two settings files: ``<workspace>/.codex/flowd.toml`` and the user's ``flowd/config.toml``."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any, NamedTuple

from flowd.formats import toml
from flowd.formats.typed import Meta, Struct, read_table, types_of
from flowd.settings.host import HostTable
from flowd.settings.values import SettingsError, Simple
from flowd_client import small_file

_Program = Annotated[str, Meta(description='the path of a program, like "/usr/local/bin/bun"')]
_Name = Annotated[str, Meta(min_length=1)]
_NAMES = Meta(description="a list of names of environment variables")
_PATTERNS = Meta(description='a list of names of environment variables, or patterns of them like "*_TOKEN"')
_TablesByName = Annotated[dict[str, dict[str, Any]], Meta(description="tables by name, like [hooks.github]")]


class Runners(Struct, forbid_unknown_fields=True):
    """``[runners]``: interpreters that are not looked for on PATH."""

    python: _Program | None = None
    bun: _Program | None = None
    node: _Program | None = None


class Environment(Struct, forbid_unknown_fields=True):
    """``[environment]``: what steps inherit, what is kept from them, and what is masked."""

    inherit: Annotated[tuple[str, ...], _NAMES] | None = None
    redact: Annotated[tuple[_Name, ...], _NAMES] = ()
    withhold: Annotated[tuple[_Name, ...], _PATTERNS] = ()


class _Tables(Struct):
    hooks: _TablesByName | None = None
    notify: Annotated[list[dict[str, Any]], Meta(description="tables in a list, each begun with [[notify]]")] | None = (
        None
    )
    secrets: _TablesByName | None = None
    retention: Annotated[dict[str, Any], Meta(description="a table, [retention]")] | None = None


class SettingsFile(NamedTuple):
    """A settings file: its members as they are written, and its tables read."""

    path: Path
    members: Mapping[str, Any]
    runners: Runners
    environment: Environment
    host: HostTable
    hooks: Mapping[str, Mapping[str, Any]]
    secrets: Mapping[str, Mapping[str, Any]]
    notify: Sequence[Mapping[str, Any]]
    retention: Mapping[str, Any] | None


_TABLES = ("runners", "environment", "host", "http", "hooks", "notify", "secrets", "retention")
_KNOWN = {*types_of(Simple), "state_dir", "socket", "store", *_TABLES}


def read_file(path: Path) -> SettingsFile:
    """Read a settings file. One that does not exist sets nothing.

    Raises:
        SettingsError: It cannot be read, or has a name in it that is no setting, or a table that is wrong.
    """
    members = _parse(path)
    for name in members:
        if name not in _KNOWN:
            raise SettingsError(f"{path} has no setting {name!r}. Known are: {', '.join(sorted(_KNOWN))}.")
    try:
        tables = read_table(members, _Tables, f"{path}:")
        return SettingsFile(
            path,
            members,
            runners=read_table(members.get("runners", {}), Runners, f"{path}: [runners]"),
            environment=read_table(members.get("environment", {}), Environment, f"{path}: [environment]"),
            host=read_table(members.get("host", {}), HostTable, f"{path}: [host]"),
            hooks=tables.hooks or {},
            secrets=tables.secrets or {},
            retention=tables.retention,
            notify=tables.notify or (),
        )
    except ValueError as error:
        raise SettingsError(str(error)) from None


def _parse(path: Path) -> dict[str, Any]:
    try:
        text = small_file.read(path).decode("utf-8-sig")
    except FileNotFoundError:
        return {}
    except (OSError, UnicodeDecodeError) as error:
        raise SettingsError(f"Cannot read {path}: {error}") from error
    try:
        return toml.parse(text)
    except toml.TomlError as error:
        where = str(path) if error.line is None else f"{path}:{error.line}"
        raise SettingsError(f"{where}: {error}.") from error
