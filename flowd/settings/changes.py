"""What of changed settings a running daemon takes over, and what waits for its next start."""

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, fields, replace
from typing import Any

from flowd.settings.values import Settings

_NO_SETTINGS = (
    "origins", "doubts", "table", "is_vouched", "named_by_workspace", "closed", "link", "http", "log_level",
    "retention", "notifiers",
)  # fmt: skip
_HTTP_TAKEN = ("access", "hooks")
_AS_IN_FILES = {
    "notifiers": ("notify",),
    "http.access": (
        "http.tokens", "http.secret_file", "http.secret_env", "http.signatures", "http.public_read", "http.open",
        "http.allow_replayed_v1", "http.window_s",
    ),
}  # fmt: skip
"""What a change of some settings means in a file."""


@dataclass(frozen=True, slots=True)
class Change:
    """The difference that reading the settings again makes.

    Attributes:
        settings: Those in force from now on.
        taken: Names of what is in force at once: secrets, tokens and the rest of who may do what over HTTP
            (``http.access``), webhooks (``hooks``), ``notifiers``, ``log_level``, ``retention``.
        waiting: Names of what is in force after a restart.
    """

    settings: Settings
    taken: tuple[str, ...]
    waiting: tuple[str, ...]


def between(now: Settings, read: Settings) -> Change:
    """Compare the settings in force with those that were read anew."""
    taken, waiting = [], list(_others(now, read))
    http = now.http
    if now.http is not None and read.http is not None:
        names = [field.name for field in fields(read.http)]
        differing = {name for name in names if getattr(now.http, name) != getattr(read.http, name)}
        taken += ["http.access"] * ("access" in differing) + ["hooks"] * ("hooks" in differing)
        waiting += [f"http.{name}" for name in sorted(differing - {*_HTTP_TAKEN, "private", "secret_files"})]
        http = replace(now.http, access=read.http.access, hooks=read.http.hooks, secret_files=read.http.secret_files)
    elif now.http != read.http:
        waiting.append("http")
    if now.log_level != read.log_level:
        taken.append("log_level")
    if now.retention != read.retention:
        taken.append("retention")
    if now.notifiers != read.notifiers:
        taken.append("notifiers")
    settings = replace(
        now,
        http=http,
        log_level=read.log_level,
        retention=read.retention,
        notifiers=read.notifiers,
        table=_table(now, read, taken),
    )
    return Change(settings, tuple(taken), tuple(waiting))


def _table(now: Settings, read: Settings, taken: Sequence[str]) -> tuple[dict[str, Any], ...]:
    """The settings as they count from now on."""
    heads = {head for name in taken for head in _AS_IN_FILES.get(name, (name,))}

    def is_taken(row: Mapping[str, Any]) -> bool:
        return any(re.match(rf"{re.escape(head)}(?![a-z_])", row["name"]) for head in heads)

    kept = {row["name"]: row for row in now.table if not is_taken(row)}
    fresh = {row["name"]: row for row in read.table if is_taken(row)}
    names = dict.fromkeys([*(row["name"] for row in read.table), *kept])
    return tuple(row for name in names if (row := fresh.get(name) or kept.get(name)) is not None)


def _others(now: Settings, read: Settings) -> Iterator[str]:
    for field in fields(Settings):
        if field.name not in _NO_SETTINGS and getattr(now, field.name) != getattr(read, field.name):
            yield field.name
