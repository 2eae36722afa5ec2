"""Reads ``[[notify]]``: who is told of what outside of flowd, and how."""

import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any

from flowd.domain.notices import WHATS, NotifyRule, What
from flowd.formats.typed import Meta, Struct, read_table
from flowd.notifiers.addresses import read_address
from flowd.notifiers.config import DEFAULT_TIMEOUT_S, NotifierConfig

_Text = Annotated[str, Meta(min_length=1)]
_Path = Annotated[str, Meta(min_length=1, description="a path")]
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,62}")

_SECRET_MEMBERS = frozenset({"secret", "secrets", "token", "password", "signing_secret"})


class _NotifyTable(Struct, forbid_unknown_fields=True):
    name: (
        Annotated[
            str,
            Meta(pattern=f"^{_NAME.pattern}$", description="a name of letters, digits, dots, hyphens and underscores"),
        ]
        | None
    ) = None
    on: Annotated[
        tuple[What, ...], Meta(min_length=1, description=f"a list of strings, some of {', '.join(WHATS)}")
    ] = WHATS
    flows: Annotated[tuple[_Text, ...], Meta(description="a list of names of flows, or of patterns of them")] = ()
    command: (
        Annotated[tuple[_Text, ...], Meta(min_length=1, description="a list: the program and its arguments")] | None
    ) = None
    webhook: Annotated[str, Meta(min_length=1, description="a URL")] | None = None
    webhook_file: _Path | None = None
    secret_file: _Path | None = None
    allow_http: bool = False
    timeout_s: Annotated[int, Meta(ge=1, le=60)] = DEFAULT_TIMEOUT_S


def read_notifiers(files: Sequence[tuple[Path, Sequence[Mapping[str, Any]]]], root: Path) -> tuple[NotifierConfig, ...]:
    """The notifiers of all files, of the strongest file that has one of a name.

    Args:
        files: Each with its tables, the strongest first.
        root: Where relative paths start.

    Raises:
        ValueError: A table cannot be used.
    """
    found: dict[str, NotifierConfig] = {}
    for path, tables in files:
        own: dict[str, NotifierConfig] = {}
        for number, members in enumerate(tables, 1):
            where = f"{path}: [[notify]]" + (f" {number}" if len(tables) > 1 else "")
            notifier = _read(members, where, root)
            if notifier.name in own:
                raise ValueError(f"{where} is the second one called {notifier.name}: give each a name of its own.")
            own[notifier.name] = notifier
        found = own | found
    return tuple(found.values())


def _read(members: Mapping[str, Any], where: str, root: Path) -> NotifierConfig:
    if misplaced := _SECRET_MEMBERS & members.keys():
        raise ValueError(
            f"{where} {min(misplaced)}: a secret does not belong into a settings file. Put it into a file of its own "
            "that nobody else can read, and name that: secret_file."
        )
    table = read_table(members, _NotifyTable, where)
    if "recovered" in table.on and not {"failed", "queue_timeout"} & set(table.on):
        raise ValueError(f"{where} on: recovered follows a failure that was told, so on needs failed, too.")
    ways = [way for way in (table.command, table.webhook, table.webhook_file) if way is not None]
    if len(ways) != 1:
        raise ValueError(f"{where} needs one of command, webhook and webhook_file{', not more' if ways else ''}.")
    if table.command is not None and (table.secret_file is not None or table.allow_http):
        raise ValueError(f"{where}: secret_file and allow_http are for a webhook, and this is a command.")
    name = _checked_name(table, where)
    return NotifierConfig(
        NotifyRule(name, frozenset(table.on), table.flows),
        command=table.command,
        webhook=table.webhook,
        webhook_file=_absolute(table.webhook_file, root),
        secret_file=_absolute(table.secret_file, root),
        allow_http=table.allow_http,
        timeout_s=table.timeout_s,
    )


def _checked_name(table: _NotifyTable, where: str) -> str:
    """Its name: as it says, else that of its program or host."""
    known_as = "webhook"
    if table.command is not None:
        known_as = Path(table.command[0]).name
    elif table.webhook is not None:
        try:
            known_as = read_address(table.webhook, allow_http=table.allow_http).host
        except ValueError as error:
            raise ValueError(f"{where} webhook {error}.") from None
    if table.name is not None:
        return table.name
    return re.sub(r"[^A-Za-z0-9._-]+", "-", known_as).strip("._-")[:63] or "notifier"


def _absolute(path: str | None, root: Path) -> str | None:
    return None if path is None else str(root / Path(path).expanduser())
