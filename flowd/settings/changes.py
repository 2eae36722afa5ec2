"""What of changed settings a running daemon takes over, and what waits for its next start."""

from collections.abc import Iterator
from dataclasses import dataclass, fields, replace

from flowd.settings.values import Settings

_NO_SETTINGS = (
    "origins", "is_vouched", "named_by_workspace", "closed", "link", "http", "log_level", "retention", "notifiers",
)  # fmt: skip
_HTTP_TAKEN = ("access", "hooks")


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
    settings = replace(now, http=http, log_level=read.log_level, retention=read.retention, notifiers=read.notifiers)
    return Change(settings, tuple(taken), tuple(waiting))


def _others(now: Settings, read: Settings) -> Iterator[str]:
    for field in fields(Settings):
        if field.name not in _NO_SETTINGS and getattr(now, field.name) != getattr(read, field.name):
            yield field.name
