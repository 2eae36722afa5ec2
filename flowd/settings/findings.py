"""Finds what is wrong with the settings of a workspace, for whoever asks before a daemon is started."""

import os
from collections.abc import Mapping
from pathlib import Path

from flowd.domain.errors import StateError
from flowd.domain.finding import Finding, Severity
from flowd.settings import sources
from flowd.settings.files import SETTINGS_FILE, FileError, check_file, check_text


def find(workspace: Path, environ: Mapping[str, str] = os.environ, home: Path | None = None) -> tuple[Finding, ...]:
    """All that is wrong or doubtful in the workspace's settings file and in the user's, in order of lines.

    What only this environment makes of good files is a warning: a daemon may have another one, as a service has.
    """
    file = workspace / ".codex" / SETTINGS_FILE
    try:
        return sources.load(workspace, environ=environ, home=home, is_vouched=True).doubts
    except FileError as error:
        return error.findings
    except StateError as error:
        remedy = "A daemon in this environment would not start." if file.exists() else None
        message = error.message.removesuffix(".")
        return (*check_file(file).findings, Finding(str(file), "settings-refused", Severity.WARNING, message, remedy))


def of_file(file: Path) -> tuple[Finding, ...]:
    """What is wrong or doubtful in a settings file by itself, whatever else there is."""
    return check_file(file).findings


def of_text(file: Path, content: bytes) -> tuple[Finding, ...]:
    """The same where it would hold this."""
    return check_text(file, content).findings
