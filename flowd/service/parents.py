"""Refuses a state folder of a service that somebody else could exchange: the folders above it are looked at.

systemd gives the state folder to the service's user, whatever it finds there. So whoever may rename a folder above it
decides what runs as that user.
"""

import os
from collections.abc import Mapping
from pathlib import Path

from flowd.domain.errors import StateError
from flowd.state import ownership


def refuse_in_unit(state_dir: Path, environ: Mapping[str, str]) -> None:
    """Raise where systemd made our state folder, and somebody else could have put it there.

    Raises:
        StateError: The message has the remedy.
    """
    if str(state_dir) not in environ.get("STATE_DIRECTORY", ""):
        return
    if found := ownership.problem_above(state_dir, uid=os.geteuid()):
        raise StateError(
            f"{found}, and so could exchange {state_dir}, from which steps are started. {remedy(state_dir)}"
        )


def remedy(path: str | Path) -> str:
    """The commands that give the folders above a path to root."""
    folder = Path("/var/lib/flowd")
    if Path(path).is_relative_to(folder):
        return f"Look at what is in it; then: sudo chown root:root {folder} && sudo chmod 755 {folder}."
    return f"Give the folders above it to root, writable for root alone: sudo chown root: {Path(path).parent}."
