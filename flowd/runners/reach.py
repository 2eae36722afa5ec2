"""What every step finds wherever flowd is installed: the command ``flowd``, and for Python ``flowd_client`` and
``flowd_step``.

A folder of flowd's own has them, so that nothing else of flowd's environment comes into a step's reach.
"""

import os
import shlex
import sys
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import Final

import flowd_client
import flowd_step
from flowd.state import files

_MODULES: Final = (flowd_client, flowd_step)


class Reach:
    """The folder."""

    def __init__(self, folder: Path, inherited: Mapping[str, str]) -> None:
        """Nothing is made yet.

        Args:
            folder: Below the state.
            inherited: The environment of steps, less what each sets itself.
        """
        self._inherited = inherited
        self._bin = folder / "bin"
        self._python = folder / "python"
        self._bin_path, self._python_path = str(self._bin), str(self._python)  # asked for at each start
        self._command_path = str(self._bin / "flowd")

    def make(self) -> None:
        """Make it, or make it right where another flowd, or somebody, has left something else there.

        Raises:
            OSError: It cannot be written.
        """
        for part in (self._bin, self._python):
            part.mkdir(mode=0o700, parents=True, exist_ok=True)
        _replace(self._bin / "flowd", _command())
        for module in _MODULES:
            _link(self._python / module.__name__, Path(module.__path__[0]).resolve())

    def env(self, env: Mapping[str, str], *, is_python: bool) -> dict[str, str]:
        """The variables that lead there, behind all that a step sets or inherits. A step without a PATH gets none: its
        shell has one of its own then, which this would replace.

        Args:
            env: What the step sets.
        """
        if not (os.path.exists(self._command_path) and os.path.isdir(self._python_path)):
            with suppress(OSError):  # the state is gone, or the disk is full: a step can do without
                self.make()
        path = env.get("PATH", self._inherited.get("PATH", ""))
        found = {"PATH": f"{path}:{self._bin_path}"} if path else {}
        if is_python:
            modules = env.get("PYTHONPATH", self._inherited.get("PYTHONPATH", ""))
            found["PYTHONPATH"] = f"{modules}:{self._python_path}" if modules else self._python_path
        return found


def _command() -> str:
    """A script that is this flowd, whatever the step's PATH and PYTHONPATH say."""
    root = Path(__file__).resolve().parents[2]
    code = f"import sys; sys.path[:0] = [{str(root)!r}, {str(Path(flowd_client.__path__[0]).resolve().parent)!r}]; "
    code += "sys.argv[0] = 'flowd'; from flowd.__main__ import main; main()"
    return f'#!/bin/sh\nexec {shlex.quote(sys.executable)} -E -P -c {shlex.quote(code)} "$@"\n'


def _replace(path: Path, text: str) -> None:
    try:
        if path.read_text(encoding="utf-8") == text and not path.is_symlink():
            return
    except (OSError, UnicodeDecodeError):
        pass
    new = path.with_name(f".{path.name}.{os.getpid()}")
    files.write_text(new, text)
    new.chmod(0o700)
    new.replace(path)


def _link(path: Path, target: Path) -> None:
    if path.is_symlink() and path.readlink() == target:
        return
    new = path.with_name(f".{path.name}.{os.getpid()}")
    new.unlink(missing_ok=True)
    new.symlink_to(target)
    new.replace(path)
