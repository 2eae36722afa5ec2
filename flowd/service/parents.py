"""Finds folders above a service's files whose owner could exchange those files for others.

systemd gives the state folder to the service's user, whatever it finds there. So whoever may rename a folder above it
decides what runs as that user.
"""

import os
import pwd
import stat
from collections.abc import Mapping
from pathlib import Path

from flowd.domain.errors import StateError


def refuse_in_unit(state_dir: Path, environ: Mapping[str, str]) -> None:
    """Raise where systemd made our state folder, and somebody else could have put it there.

    Raises:
        StateError: The message has the remedy.
    """
    if str(state_dir) not in environ.get("STATE_DIRECTORY", ""):
        return
    if found := find_unsafe(state_dir, os.geteuid()):
        raise StateError(
            f"{found}, and so could exchange {state_dir}, from which steps are started. {remedy(state_dir)}"
        )


def find_unsafe(path: Path, uid: int) -> str | None:
    """Who could exchange a path beside root and the user, as the beginning of a sentence; None where nobody can.

    What is not there yet is nobody's: systemd makes it, as root. In a folder with the sticky bit only the owner of what
    is in it can exchange that.
    """
    for folder in reversed(Path(os.path.realpath(path)).parents):
        try:
            status = folder.stat()
        except OSError:
            return None
        if status.st_uid not in (0, uid):
            return f"{folder} belongs to {_name_of(status.st_uid)}, who can write to it"
        mode = stat.S_IMODE(status.st_mode)
        is_shared = bool(mode & stat.S_IWOTH or (mode & stat.S_IWGRP and status.st_gid not in (0, status.st_uid)))
        if is_shared and not mode & stat.S_ISVTX:
            return f"{folder} has mode {mode:04o}: others can write to it"
    return None


def remedy(path: str | Path) -> str:
    """The commands that give the folders above a path to root."""
    folder = Path("/var/lib/flowd")
    if Path(path).is_relative_to(folder):
        return f"Look at what is in it; then: sudo chown root:root {folder} && sudo chmod 755 {folder}."
    return f"Give the folders above it to root, writable for root alone: sudo chown root: {Path(path).parent}."


def _name_of(uid: int) -> str:
    try:
        return f"user {pwd.getpwuid(uid).pw_name}"
    except KeyError:
        return f"user {uid}"
