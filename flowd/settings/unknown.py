"""Warns of what has no effect: unknown ``FLOWD_*`` variables, and variables that only the TypeScript system reads."""

import os
from collections.abc import Iterable, Iterator
from difflib import get_close_matches
from pathlib import Path

from flowd.settings.files import SETTINGS_FILE
from flowd.settings.sources import VARIABLES
from flowd.settings.values import SECRETS, Settings

_PREFIX = "FLOWD_"

_OF_THE_REFERENCE = {
    "CODEX_WORKSPACE_BACKEND_HOST": "the setting `[http] listen` or FLOWD_HTTP has host and port",
    "CODEX_WORKSPACE_BACKEND_PORT": "the setting `[http] listen` or FLOWD_HTTP has host and port",
}
"""Variables of the TypeScript system's daemon."""

_KNOWN = {
    *VARIABLES, *SECRETS, "FLOWD_HTTP", "FLOWD_HTTP_OPEN", "FLOWD_HTTP_SECRET_FILE", "FLOWD_WORKSPACE", "FLOWD_TRUST",
    "FLOWD_RUN_ID", "FLOWD_STEP_WORKSPACE", "FLOWD_ATTEMPT", "FLOWD_FENCE", "FLOWD_NEEDS", "FLOWD_ROUND_DIR",
    "FLOWD_MARK", "FLOWD_REHEARSAL", "FLOWD_DEBUG", "FLOWD_DEBUG_HANG", "FLOWD_WITHOUT",
}  # fmt: skip


def find(names: Iterable[str], settings: Settings) -> Iterator[str]:
    """Say in a sentence for each variable that it sets nothing.

    A variable that the settings name, for a secret or for steps, may have any name.
    """
    chosen = {*settings.redact, *(settings.inherit or ()), *(settings.http.private if settings.http else ())}
    chosen |= {source.env for source in settings.secrets.values() if source.env is not None}
    known = sorted(name for name in _KNOWN if name.startswith(_PREFIX))
    for name in sorted(names):
        if name.upper().startswith(_PREFIX) and name not in _KNOWN | chosen:
            close = get_close_matches(name.upper(), known, n=1, cutoff=0.75)
            yield f"{name} sets nothing" + (f": did you mean {close[0]}?" if close else ": flowd has no such variable")
        elif name in _OF_THE_REFERENCE:
            yield f"{name} sets nothing in flowd: {_OF_THE_REFERENCE[name]}"


def find_files(workspace: Path) -> Iterator[str]:
    """Say of each file that flowd does not read, as somebody may think: that of the TypeScript system's daemon, and
    settings in a wrong folder."""
    path = workspace / ".codex" / "workspace.toml"
    if os.path.lexists(path):
        yield (
            f"{path} is not read by flowd: its tasks and schedules start nothing here; let cron or a timer send their"
            " events (flowd dispatch)"
        )
    settings = workspace / ".codex" / SETTINGS_FILE
    for misplaced in (workspace / SETTINGS_FILE, workspace / "flows" / SETTINGS_FILE):
        if misplaced.is_file() and not (settings.exists() and misplaced.samefile(settings)):
            yield f"{misplaced} is read by nothing: the settings of a workspace are in {settings}"
