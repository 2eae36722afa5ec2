"""Connecting to a Unix socket: long paths, full backlogs, and who is to blame when it fails."""

import errno
import os
import select
import socket
import sys
from collections.abc import Callable
from pathlib import Path

from flowd_client.discovery import MAX_SOCKET_PATH_BYTES, find_service, workspace_of
from flowd_client.errors import DaemonNotRunningError

BACKLOG_PAUSE_S = 0.01
"""Between tries while the daemon's accept queue is full; it empties within a turn of the daemon's loop."""


def locator(path: Path | Callable[[], Path]) -> Callable[[], Path]:
    """What tells where to connect: a daemon that starts later may choose another place for its socket."""
    if isinstance(path, Path):
        return lambda: path
    return path


def speaks(descriptor: int) -> bool:
    """Whether there is something to read, be it the end."""
    poll = select.poll()  # select() itself takes no descriptor beyond 1023
    poll.register(descriptor, select.POLLIN)
    return bool(poll.poll(0))


def connect_once(path: Path) -> socket.socket | None:
    """Connect without blocking. None when the daemon's accept queue is full just now.

    Raises:
        DaemonNotRunningError: Nothing listens there, or this user may not connect.
    """
    connection = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    try:
        connection.settimeout(0)
        _connect(connection, path)
    except (BlockingIOError, InterruptedError):
        # Unlike TCP, a Unix connect that would block has not begun: it must be tried again, not waited for.
        connection.close()
        return None
    except OSError as error:
        connection.close()
        raise _refusal(path, error) from error
    except BaseException:
        connection.close()
        raise
    return connection


def _connect(connection: socket.socket, path: Path) -> None:
    address = os.fsencode(path)
    if len(address) <= MAX_SOCKET_PATH_BYTES:
        connection.connect(address)
        return
    if sys.platform != "linux":
        raise OSError(errno.ENAMETOOLONG, f"the path is longer than {MAX_SOCKET_PATH_BYTES} bytes")
    # The kernel resolves the folder through our own descriptor, so only the last name counts.
    folder = os.open(path.parent, os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        connection.connect(os.fsencode(f"/proc/self/fd/{folder}/{path.name}"))
    finally:
        os.close(folder)


def _refusal(path: Path, error: OSError) -> DaemonNotRunningError:
    if isinstance(error, PermissionError):
        message = f"Not allowed to connect to {path}: it belongs to another user. Run this as the daemon's user."
    else:
        match error.errno:
            case errno.ENOENT | errno.ENOTDIR:
                why = "there is no such socket"
            case errno.ECONNREFUSED:
                why = "nothing listens there any more"
            case _:
                why = error.strerror or str(error)
        message = f"No daemon at {path} ({why}). {_remedy(path)}"
    return DaemonNotRunningError(message, socket_path=str(path))


def _remedy(path: Path) -> str:
    workspace = workspace_of(path)
    if workspace is None:
        return "Start one with `flowd serve -w <workspace>`."
    from shlex import quote  # noqa: PLC0415 - only for people, and the name of a unit may have backslashes

    where = quote(str(workspace))
    if (service := find_service(workspace)) is None:
        return f"Start one with `flowd serve -w {where}`."
    scope, unit = service
    restart = "systemctl --user restart" if scope == "user" else "sudo systemctl restart"
    # Also right for one that runs, and has lost its socket; then systemd makes that only together with the service.
    units = f"{quote(unit.removesuffix('.service') + '.socket')} {quote(unit)}"
    return f"It has a service: `flowd service status -w {where}` says how it is, `{restart} {units}` starts it anew."
