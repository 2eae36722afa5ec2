"""What keeps a notifier of the settings from telling anybody, as far as can be told without sending anything."""

import os
from collections.abc import Iterator, Mapping
from pathlib import Path

from flowd.domain.finding import Finding, Severity
from flowd.notifiers.command import find_program, why_no_program
from flowd.notifiers.config import NotifierConfig
from flowd.notifiers.webhook import problem_of_files
from flowd.settings import sources
from flowd.settings.files import SETTINGS_FILE, check_file
from flowd.settings.notify import name_of
from flowd.settings.values import Settings, step_environment


def problem(notifier: NotifierConfig, workspace: Path, path: str) -> str | None:
    """What is wrong with it; None where its program, and the files that hold its secrets, can be used.

    Args:
        path: The ``PATH`` that it gets.
    """
    if notifier.command is None:
        return problem_of_files(notifier)
    program = notifier.command[0]
    if find_program(program, workspace, {"PATH": path}) is None:
        return why_no_program(program, workspace)
    return None


def findings(settings: Settings, environ: Mapping[str, str] = os.environ) -> Iterator[Finding]:
    """A warning for each that tells nobody, where it stands in the settings: a daemon may have another environment."""
    path = step_environment(settings, environ).get("PATH", "")
    told = {each.name: problem(each, settings.workspace, path) for each in settings.notifiers}
    if not any(told.values()):
        return
    for file in (settings.workspace / ".codex" / SETTINGS_FILE, sources.user_path(environ)):
        read = None if file is None else check_file(file).file
        for index, table in enumerate(read.members.get("notify", ()) if read is not None else ()):
            if found := told.pop(name_of(table), None):  # of one name, that of the strongest file counts
                assert read is not None
                span = read.places.value("notify", index, "command") or (None,) * 3
                message = f"[[notify]] {name_of(table)} tells nobody: {found}"
                yield Finding(str(read.path), "unusable-notifier", Severity.WARNING, message, None, None, *span)
