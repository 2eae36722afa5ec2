"""Reads ``[[notify]]``: who is told of what outside of flowd, and how."""

import re
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any, ClassVar

from flowd.domain.notices import WHATS, NotifyRule, What
from flowd.formats.typed import About, Meta, Problem, Struct, read
from flowd.notifiers.addresses import read_address
from flowd.notifiers.config import DEFAULT_TIMEOUT_S, NotifierConfig

_Text = Annotated[str, Meta(min_length=1)]
_Path = Annotated[str, Meta(min_length=1, description="a path")]
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,62}")

_NO_SECRETS = (
    "a secret does not belong into a settings file. Put it into a file of its own that nobody else can read, and name "
    "that: secret_file"
)


class NotifyTable(Struct, forbid_unknown_fields=True):
    """``[[notify]]``."""

    REFUSED: ClassVar[Mapping[str, str]] = dict.fromkeys(
        ("secret", "secrets", "token", "password", "signing_secret"), _NO_SECRETS
    )
    ONE_OF: ClassVar = ("command", "webhook", "webhook_file")

    name: Annotated[
        Annotated[
            str,
            Meta(pattern=f"^{_NAME.pattern}$", description="a name of letters, digits, dots, hyphens and underscores"),
        ]
        | None,
        About("What it is called.", default="as its program or host", example='"chat"'),
    ] = None
    on: Annotated[
        tuple[What, ...],
        Meta(min_length=1, description=f"a list of strings, some of {', '.join(WHATS)}"),
        About("What it is told of.", default="all of it", example='["failed", "needs_intervention"]'),
    ] = WHATS
    flows: Annotated[
        tuple[_Text, ...],
        Meta(description="a list of names of flows, or of patterns of them"),
        About("Names of flows, and patterns of names, that it is told of.", default="all", example='["site-*"]'),
    ] = ()
    command: Annotated[
        Annotated[tuple[_Text, ...], Meta(min_length=1, description="a list: the program and its arguments")] | None,
        About("A program that is given the notice as JSON.", example='["/usr/local/bin/tell", "--me"]'),
    ] = None
    webhook: Annotated[
        Annotated[str, Meta(min_length=1, description="a URL")] | None,
        About("A URL that the notice is posted to.", example='"https://chat.example/hooks/1"', is_private=True),
    ] = None
    webhook_file: Annotated[_Path | None, About("A file with the URL, where that is a secret.")] = None
    secret_file: Annotated[_Path | None, About("A file with the secret that signs what is posted.")] = None
    allow_http: Annotated[bool, About("Take a URL that begins with `http://` and leads to another machine.")] = False
    timeout_s: Annotated[int, Meta(ge=1, le=60), About("Seconds for a try.")] = DEFAULT_TIMEOUT_S

    def problems(self) -> Iterator[Problem]:
        """What does not go together."""
        if "recovered" in self.on and not {"failed", "queue_timeout"} & set(self.on):
            yield Problem("on: recovered follows a failure that was told, so on needs failed, too", ("on",))
        ways = [way for way in self.ONE_OF if getattr(self, way) is not None]
        if len(ways) != 1:
            yield Problem(f"needs one of command, webhook and webhook_file{', not more' if ways else ''}")
            return
        if self.command is not None and (self.secret_file is not None or self.allow_http):
            yield Problem(": secret_file and allow_http are for a webhook, and this is a command")
        if self.webhook is not None:
            try:
                read_address(self.webhook, allow_http=self.allow_http)
            except ValueError as error:
                yield Problem(f"webhook {error}", ("webhook",))


def name_of(members: Mapping[str, object]) -> str:
    """What a notifier is called whose table is right: as it says, else as its program or host."""
    table = read(members, NotifyTable)
    if table.name is not None:
        return table.name
    known_as = "webhook"
    if table.command is not None:
        known_as = Path(table.command[0]).name
    elif table.webhook is not None:
        known_as = read_address(table.webhook, allow_http=table.allow_http).host
    return re.sub(r"[^A-Za-z0-9._-]+", "-", known_as).strip("._-")[:63] or "notifier"


def read_notifiers(files: Sequence[Sequence[Mapping[str, Any]]], root: Path) -> tuple[NotifierConfig, ...]:
    """The notifiers of all files, of the strongest file that has one of a name.

    Args:
        files: The tables of each, which are right, the strongest first.
        root: Where relative paths start.
    """
    found: dict[str, NotifierConfig] = {}
    for tables in files:
        found = {name_of(members): _config(members, root) for members in tables} | found
    return tuple(found.values())


def _config(members: Mapping[str, Any], root: Path) -> NotifierConfig:
    table = read(members, NotifyTable)
    return NotifierConfig(
        NotifyRule(name_of(members), frozenset(table.on), table.flows),
        command=table.command,
        webhook=table.webhook,
        webhook_file=_absolute(table.webhook_file, root),
        secret_file=_absolute(table.secret_file, root),
        allow_http=table.allow_http,
        timeout_s=table.timeout_s,
    )


def _absolute(path: str | None, root: Path) -> str | None:
    return None if path is None else str(root / Path(path).expanduser())
