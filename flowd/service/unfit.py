"""Refuses workspaces and units that no service can be installed for."""

import os
import re
from pathlib import Path

from flowd.domain.errors import StateError
from flowd.observe.own_unit import Scope
from flowd.service import unit_files
from flowd.service.systemctl import ServiceManager
from flowd.service.unit_files import ServiceUnits
from flowd_client.discovery import MAX_SOCKET_PATH_BYTES, SYSTEM_SOCKETS, system_socket

_MAX_NAME_BYTES = 255
"""Of a file, and so of a unit."""
_UNFIT = re.compile(r"[\0-\x1f\x7f\udc80-\udcff]").search
"""A control character, or a byte that is not of UTF-8 (as `os.fsdecode` has it)."""
_SHORTER = "Move it to a shorter path, or bind-mount it at one; a symbolic link does not help."


def refuse_unfit_path(scope: Scope, workspace: Path) -> None:
    """Raise where units cannot be made for a workspace's path.

    Raises:
        StateError: It has a character that systemd does not take; or the name of one of its units, or the path of its
            socket, would be too long.
    """
    if _UNFIT(str(workspace)):
        raise StateError(
            f"The path of {str(workspace)!r} has a control character or is not UTF-8, which systemd does not take. "
            "Rename it, or run `flowd serve` there by hand."
        )
    length = max(len(name) for name in (*unit_files.names(workspace), unit_files.http_name(workspace)))
    if length > _MAX_NAME_BYTES:
        raise StateError(
            f"The path of {workspace} is too long for a systemd unit, which is named after it: {length} bytes, and "
            f"{_MAX_NAME_BYTES} at most. {_SHORTER}"
        )
    length = len(os.fsencode(system_socket(workspace)))
    if scope == "system" and length > MAX_SOCKET_PATH_BYTES:
        raise StateError(
            f"The path of {workspace} is too long for a system service's socket, which lies below {SYSTEM_SOCKETS}: "
            f"{length} bytes, and {MAX_SOCKET_PATH_BYTES} at most. {_SHORTER} A service of a user (--user) has its "
            "socket elsewhere."
        )


def refuse_masked(manager: ServiceManager, units: ServiceUnits) -> None:
    """Raise where one of the units is masked: what is written to such a file is lost.

    Raises:
        StateError: The message has the command that unmasks it.
    """
    if masked := [path.name for path in units.files if is_masked(path)]:
        raise StateError(
            f"{' and '.join(masked)} {'is' if len(masked) == 1 else 'are'} masked, so nothing can start it. To let "
            f"it start: {manager.typed('unmask', *masked)}"
        )


def is_masked(path: Path) -> bool:
    """Whether a unit file is a link to nothing, as ``systemctl mask`` makes it."""
    return path.is_symlink() and os.path.realpath(path) == os.devnull
