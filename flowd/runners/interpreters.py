"""Finds the programs that run scripts: by setting, by PATH, and past version managers' shims.

A shim is a small script or program that looks up the real interpreter each time it is started, which costs a run up to
85 ms. It is asked once, in the workspace, which interpreter it stands for.
"""

import os
import re
import shutil
import subprocess
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from flowd.domain.launching import SpawnError

ASK_TIMEOUT_S: Final = 15.0
"""A shim that has to look for its interpreter on a cold, slow disk still answers in this time."""

_QUESTIONS: Final[Mapping[str, tuple[str, ...]]] = {
    "python": ("-c", "import sys; print(sys.executable)"),
    "node": ("-p", "process.execPath"),
    "bun": ("-e", "console.log(process.execPath)"),
}
_PROGRAMS: Final[Mapping[str, str]] = {"python": "python3", "node": "node", "bun": "bun"}
_REMEDIES: Final[Mapping[str, str]] = {
    "python": "Install Python 3",
    "node": "Install Node.js (https://nodejs.org)",
    "bun": "Install Bun (https://bun.sh)",
}

# Files of a workspace that tell version managers which version to take.
_VERSION_FILES: Final = (".python-version", ".node-version", ".nvmrc", ".tool-versions", "mise.toml", "package.json")

_NODE_VERSION = re.compile(r"v?(\d+)\.(\d+)\.")


@dataclass(frozen=True, slots=True)
class _Key:
    runner: str
    found: str
    mtime_ns: int
    version_files: tuple[int, ...]


class Interpreters:
    """Resolves runners to absolute interpreter paths, each once until the program or a version file changes.

    Its methods start a process the first time, so they belong into a thread. They may be called by several at once: at
    worst a question is asked twice.
    """

    def __init__(self, *, workspace: Path, environ: Mapping[str, str], overrides: Mapping[str, str]) -> None:
        """Look nothing up yet.

        Args:
            workspace: Where shims are asked.
            environ: For PATH and CODEX_FLOW_BACKEND_BUN.
            overrides: The ``[runners]`` settings: a path or a name on PATH by runner.
        """
        self._workspace = workspace
        self._environ = environ
        self._overrides = overrides
        self._resolved: dict[_Key, str] = {}
        self._node_versions: dict[tuple[str, int], tuple[int, int]] = {}

    def which(self, program: str) -> str | None:
        """The absolute path of a program on the daemon's PATH, or None."""
        found = shutil.which(program, path=self._environ.get("PATH", os.defpath))
        return os.path.abspath(found) if found else None

    def cached(self, runner: str) -> str | None:
        """The remembered interpreter, None when finding it may need a process, or fail."""
        try:
            found = self._named(runner) or self.which(_PROGRAMS[runner])
        except SpawnError:
            return None
        known = self._resolved.get(self._key(runner, found)) if found else None
        return known if known and os.access(known, os.X_OK) else None

    def find(self, runner: str) -> str:
        """The interpreter of ``python``, ``node`` or ``bun``.

        A Python that lies in a virtual environment stays that environment's path, so its packages are found. Without
        any ``python3``, flowd's own Python is taken.

        Raises:
            SpawnError: There is none, or the setting names one that is not there.
        """
        found = self.locate(runner)
        key = self._key(runner, found)
        known = self._resolved.get(key)
        if known is None or not os.access(known, os.X_OK):
            known = self._resolved[key] = self._past_shim(runner, found, is_named=self._named(runner) is not None)
        return known

    def locate(self, runner: str) -> str:
        """What `find` begins with: a program by setting or by PATH, shims included. Starts no process.

        Raises:
            SpawnError: There is none, or the setting names one that is not there.
        """
        found = self._named(runner) or self.which(_PROGRAMS[runner])
        if found is None:
            if runner == "python":
                return sys.executable
            raise SpawnError(
                f"{_PROGRAMS[runner]} is not on flowd's PATH. {_REMEDIES[runner]}, or set"
                f' `[runners] {runner} = "/path"` in .codex/flowd.toml'
            )
        return found

    def node_version(self, node: str) -> tuple[int, int]:
        """Major and minor version of a Node; (0, 0) when it does not tell."""
        key = (node, os.stat(node).st_mtime_ns)
        if key not in self._node_versions:
            found = _NODE_VERSION.match(self._ask(node, ("-p", "process.version"))[0])
            self._node_versions[key] = (int(found[1]), int(found[2])) if found else (0, 0)
        return self._node_versions[key]

    def _named(self, runner: str) -> str | None:
        """The interpreter that the environment or the settings name."""
        source, name = f"the setting `[runners] {runner}`", self._overrides.get(runner)
        if runner == "bun" and self._environ.get("CODEX_FLOW_BACKEND_BUN"):
            source, name = "CODEX_FLOW_BACKEND_BUN", self._environ["CODEX_FLOW_BACKEND_BUN"]
        if not name:
            return None
        path = os.path.expanduser(name)
        # A path is relative to the workspace, whose settings file it most likely stands in.
        found = self.which(path) if "/" not in path else os.path.join(self._workspace, path)
        if found is None or not os.path.isfile(found) or not os.access(found, os.X_OK):
            raise SpawnError(
                f"{source} names {name}, which is not an executable file. {_REMEDIES[runner]} there, or change it"
            )
        return os.path.abspath(found)

    def _key(self, runner: str, found: str) -> _Key:
        marks = tuple(_mtime_ns(os.path.join(self._workspace, name)) for name in _VERSION_FILES)
        return _Key(runner, found, _mtime_ns(found), marks)

    def _past_shim(self, runner: str, found: str, *, is_named: bool) -> str:
        # Somebody who names a wrapper script wants that wrapper; one that is just on PATH is most likely a shim.
        if not is_shim(found) or (is_named and not _lies_among_shims(found)):
            return found
        answer, error = self._ask(found, _QUESTIONS[runner])
        if os.path.isabs(answer) and os.access(answer, os.X_OK):
            return answer
        if runner == "python":
            return sys.executable
        raise SpawnError(
            f"{found} is a version manager's shim and did not say which {runner} it stands for"
            f' ({error or "it printed nothing"}). Choose a version there, or set `[runners] {runner} = "/path"`'
            " in .codex/flowd.toml"
        )

    def _ask(self, program: str, arguments: tuple[str, ...]) -> tuple[str, str]:
        """The last line that the program prints, and the first of what it complains about."""
        try:
            done = subprocess.run(
                [program, *arguments],
                cwd=self._workspace,
                env=dict(self._environ),
                stdin=subprocess.DEVNULL,
                capture_output=True,
                timeout=ASK_TIMEOUT_S,
                check=False,
            )
        except (OSError, subprocess.TimeoutExpired) as error:
            return "", str(error)
        lines = os.fsdecode(done.stdout).strip().splitlines()
        complaints = os.fsdecode(done.stderr).strip().splitlines()
        return (lines[-1] if lines and done.returncode == 0 else ""), (complaints[0][:300] if complaints else "")


def is_shim(path: str) -> bool:
    """Whether a program is likely a version manager's stand-in: it lies among shims, or is a script itself."""
    if _lies_among_shims(path):
        return True
    try:
        with open(path, "rb") as stream:
            return stream.read(2) == b"#!"
    except OSError:
        return False


def _lies_among_shims(path: str) -> bool:
    return "/shims/" in path or os.path.basename(os.path.realpath(path)) == "volta-shim"


def _mtime_ns(path: str) -> int:
    try:
        return os.stat(path).st_mtime_ns
    except OSError:
        return 0
