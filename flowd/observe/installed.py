"""Tells whether a daemon runs the code of this installation."""

import os
import sys
from collections.abc import Mapping
from contextlib import suppress
from typing import Any

from flowd import __version__

DISTRIBUTION = "codex-flowd"


def installed_at_s() -> float | None:
    """When flowd was installed, in seconds since the epoch; None where that cannot be told."""
    # As `importlib.metadata` looks for it, whose import takes a quarter as long as all of `flowd status`.
    record = f"{DISTRIBUTION.replace('-', '_')}-{__version__}.dist-info/RECORD"
    for folder in sys.path:
        with suppress(OSError):
            return os.stat(os.path.join(folder, record)).st_mtime
    return None


def other_code(status: Mapping[str, Any], installed_at_s: float | None, now_s: float) -> str | None:
    """Why a daemon that gave this status is of other code than this command, or may be; None for the same.

    Between releases all code has one version, so a daemon that started before the installation counts as older.
    """
    if status.get("version") != __version__:
        return f"this command is version {__version__}"
    uptime_ms = status.get("uptimeMs")
    if uptime_ms is not None and installed_at_s is not None and now_s - uptime_ms / 1000 < installed_at_s:
        return "this command was installed after the daemon had started, so both may be of different code"
    return None
