"""Where a workspace's daemon has its state and socket when it is a system service: not where a command would look."""

import os
from collections.abc import Mapping
from pathlib import Path

from flowd.units import installation
from flowd.units.templates import SYSTEM_STATE
from flowd_client.discovery import find_socket, system_socket, systemd_escape

_SAID = ("FLOWD_STATE_DIR", "CODEX_FLOW_BACKEND_DATA_DIR", "FLOWD_SOCKET")


def as_the_daemon_has_it(workspace: Path, environ: Mapping[str, str], *, socket: Path | None) -> Mapping[str, str]:
    """The environment, with the folder and socket of the workspace's system service where it has one.

    What the caller says, and a daemon that was started by hand, come first.
    """
    if socket is not None or any(environ.get(name) for name in _SAID):
        return environ
    root = workspace.resolve()
    instance = systemd_escape(root)
    wanted, found = system_socket(root), find_socket(root)
    is_by_hand = found != wanted and os.path.lexists(found)
    is_service = found == wanted or installation.is_installed("system", root, home=Path("/"))
    if is_by_hand or not is_service:
        return environ
    return {**environ, "FLOWD_STATE_DIR": str(SYSTEM_STATE / instance), "FLOWD_SOCKET": str(wanted)}


def is_closed(folder: Path) -> bool:
    """Whether the folder is there, and we may not look into it."""
    return folder.is_dir() and not os.access(folder, os.R_OK | os.X_OK)


def rightful_owner(folder: Path) -> int:
    """Whose a state folder should be: ours, but for root who looks at a system service's, its user's."""
    if os.geteuid() == 0 and folder.parent == SYSTEM_STATE:
        return folder.stat().st_uid
    return os.geteuid()
