"""Tells whether a step could be started here, as far as that can be seen without starting anything."""

import os
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Literal, NamedTuple

from flowd.domain.definition import Definition
from flowd.domain.launching import SpawnError
from flowd.runners.inline_metadata import inline_metadata
from flowd.runners.interpreters import Interpreters
from flowd.runners.places import check_executable, working_folder

_MAX_SCRIPT_BYTES = 4 * 1024 * 1024
_ENDINGS = {
    **dict.fromkeys((".js", ".mjs", ".cjs"), ("node", "bun")),
    **dict.fromkeys((".ts", ".mts", ".cts", ".tsx"), ("bun", "node")),
    **dict.fromkeys((".py", ".pyw"), ("python",)),
    **dict.fromkeys((".sh", ".bash", ".zsh", ".rb", ".pl"), ("exec",)),
}


class Problem(NamedTuple):
    """Why a step would not start.

    Attributes:
        key: Of the step's table: what it is about.
        message: A sentence without its full stop, which does not name the step.
        suggestion: The runner that was probably meant.
    """

    key: Literal["cwd", "runner", "script"]
    message: str
    suggestion: str | None = None


class Trial:
    """Tries steps of one workspace.

    Args:
        environ: What steps inherit.
        overrides: The ``[runners]`` settings.
    """

    def __init__(self, *, workspace: Path, environ: Mapping[str, str], overrides: Mapping[str, str]) -> None:
        self._workspace = workspace
        self._environ = environ
        self._interpreters = Interpreters(workspace=workspace, environ=environ, overrides=overrides)

    def problems(self, step: Definition) -> Iterator[Problem]:
        """Why a step would not start; of a script that is missing or has no run bit nothing is said."""
        try:
            working_folder(step, self._workspace)
        except SpawnError as error:
            yield Problem("cwd", _without_label(step, error))
        known = _ENDINGS.get(os.path.splitext(step.script)[1].lower(), ())
        if known and step.runner not in (*known, "exec", "code-mode"):
            ending = os.path.splitext(step.script)[1]
            yield Problem("runner", f"runner {step.runner} does not run scripts that end in {ending}", known[0])
        elif step.runner in ("bun", "node", "python"):
            yield from self._interpreted(step)
        elif step.runner == "exec":
            yield from self._executable(step)

    def _interpreted(self, step: Definition) -> Iterator[Problem]:
        try:
            self._interpreters.locate(step.runner)
        except SpawnError as error:
            yield Problem("runner", _without_label(step, error))
        if step.runner == "python":
            yield from self._requirements(step)

    def _requirements(self, step: Definition) -> Iterator[Problem]:
        try:
            with open(os.path.join(step.flow_root, step.script), "rb") as file:
                metadata = inline_metadata(file.read(_MAX_SCRIPT_BYTES).decode("utf-8", "replace"))
        except OSError:
            return
        if metadata is not None and metadata.dependencies and self._interpreters.which("uv") is None:
            yield Problem(
                "script",
                f"script {step.script} asks for {', '.join(metadata.dependencies)} (PEP 723), which uv provides, and uv"
                " is not on PATH; install uv (https://docs.astral.sh/uv)",
            )

    def _executable(self, step: Definition) -> Iterator[Problem]:
        path = os.path.normpath(os.path.join(step.flow_root, step.script))
        if not os.access(path, os.X_OK):
            return
        try:
            check_executable(step.label, path, {**self._environ, **step.env})
        except SpawnError as error:
            yield Problem("script", _without_label(step, error))
        except OSError:
            return


def _without_label(step: Definition, error: SpawnError) -> str:
    return str(error).removeprefix(f"{step.label}: ")
