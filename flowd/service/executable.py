"""The flowd command that runs, as people and units can call it again."""

import shlex
import shutil
import sys
from pathlib import Path

_PATH_OF_SUDO = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
"""``secure_path`` as distributions have it: sudo looks nowhere else."""


def find() -> str | None:
    """Its path, one that stays valid; None where there is no such command."""
    found = Path(sys.argv[0])
    if found.name == "flowd" and found.exists():
        return str(found.absolute())
    beside = Path(sys.executable).with_name("flowd")
    return str(beside) if beside.exists() else shutil.which("flowd")


def as_root(*argv: str) -> str:
    """A call of it as one types it with sudo."""
    command = "flowd" if shutil.which("flowd", path=_PATH_OF_SUDO) else find() or "flowd"
    return shlex.join(["sudo", command, *argv])
