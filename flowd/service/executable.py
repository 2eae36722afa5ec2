"""Finds the flowd command that is running, as people and units can call it."""

import shlex
import shutil
import sys
from pathlib import Path

_PATH_OF_SUDO = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
"""``secure_path`` as distributions have it: sudo looks nowhere else."""


def find() -> str | None:
    """The path of the command, which stays valid; None where there is no such command."""
    found = Path(sys.argv[0])
    if found.name == "flowd" and found.exists():
        return str(found.absolute())
    beside = Path(sys.executable).with_name("flowd")
    return str(beside) if beside.exists() else shutil.which("flowd")


def as_root(*argv: str) -> str:
    """The command line to run flowd as root."""
    command = "flowd" if shutil.which("flowd", path=_PATH_OF_SUDO) else find() or "flowd"
    return shlex.join(["sudo", command, *argv])
