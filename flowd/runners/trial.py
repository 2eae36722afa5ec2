"""Tells whether a step could be started here, as far as that can be seen without starting anything."""

import os
import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Literal, NamedTuple

from flowd.domain.definition import Definition
from flowd.domain.launching import SpawnError
from flowd.runners.inline_metadata import inline_metadata
from flowd.runners.interpreters import Interpreters
from flowd.runners.places import check_executable, working_folder

_BETWEEN = re.compile(r"(?:; |\. )(?=[A-Za-z])")
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
        remedy: What to do about it.
        suggestion: The runner that was probably meant.
    """

    key: Literal["cwd", "runner", "script"]
    message: str
    remedy: str | None = None
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
            yield Problem("cwd", *_parts(step, error))
        known = _ENDINGS.get(os.path.splitext(step.script)[1].lower(), ())
        if known and step.runner not in (*known, "exec", "code-mode"):
            ending = os.path.splitext(step.script)[1]
            message = f"runner {step.runner} does not run scripts that end in {ending}"
            yield Problem("runner", message, suggestion=known[0])
        elif step.runner in ("bun", "node", "python"):
            yield from self._interpreted(step)
        elif step.runner == "exec":
            yield from self._executable(step)

    def _interpreted(self, step: Definition) -> Iterator[Problem]:
        try:
            self._interpreters.locate(step.runner)
        except SpawnError as error:
            yield Problem("runner", *_parts(step, error))
        if step.runner == "python":
            yield from self._requirements(step)

    def _requirements(self, step: Definition) -> Iterator[Problem]:
        path = _script(step)
        if not os.path.isfile(path):  # opening a named pipe waits for a writer
            return
        try:
            with open(path, "rb") as file:
                metadata = inline_metadata(file.read(_MAX_SCRIPT_BYTES).decode("utf-8", "replace"))
        except OSError:
            return
        if metadata is not None and metadata.dependencies and self._interpreters.which("uv") is None:
            yield Problem(
                "script",
                f"script {step.script} asks for {', '.join(metadata.dependencies)} (PEP 723), which uv provides, and uv"
                " is not on PATH",
                "Install uv (https://docs.astral.sh/uv).",
            )

    def _executable(self, step: Definition) -> Iterator[Problem]:
        path = _script(step)
        if not os.path.isfile(path) or not os.access(path, os.X_OK):
            return
        try:
            check_executable(step.label, path, {**self._environ, **step.env})
        except SpawnError as error:
            yield Problem("script", *_parts(step, error))
        except OSError:
            return


def _script(step: Definition) -> str:
    return os.path.normpath(os.path.join(step.flow_root, step.script))


def _parts(step: Definition, error: SpawnError) -> tuple[str, str | None]:
    """The message and the remedy of a refusal, which has them in one sentence, or in two."""
    message, *remedy = _BETWEEN.split(str(error).removeprefix(f"{step.label}: "), maxsplit=1)
    return message, f"{remedy[0][0].upper()}{remedy[0][1:].rstrip('.')}." if remedy else None
