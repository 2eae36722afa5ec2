"""Connecting to a Unix socket: long paths, full backlogs, and who is to blame when it fails."""

import errno
import os
import pwd
import select
import socket
import struct
import sys
import time
from collections.abc import Callable
from pathlib import Path

from flowd_client.discovery import (
    MAX_SOCKET_PATH_BYTES,
    SYSTEM_SOCKETS,
    find_service,
    rehearsal_socket,
    user_dir,
    workspace_of,
)
from flowd_client.errors import DaemonNotRunningError, FlowClientError, UntrustedDaemonError

BACKLOG_PAUSE_S = 0.01
"""Between tries while the daemon's accept queue is full; it empties within a turn of the daemon's loop."""

_FRESH_S = 0.5
"""A socket that was bound so short a time ago may not listen yet: the two are separate system calls."""


def locator(path: Path | Callable[[], Path]) -> Callable[[], Path]:
    """What tells where to connect: a daemon that starts later may choose another place for its socket.

    A step that is only tried out connects to who does, wherever its caller sends it.
    """
    if (rehearsal := rehearsal_socket()) is not None:
        return lambda: rehearsal
    if isinstance(path, Path):
        return lambda: path
    return path


def speaks(descriptor: int) -> bool:
    """Whether there is something to read, be it the end."""
    poll = select.poll()  # select() itself takes no descriptor beyond 1023
    poll.register(descriptor, select.POLLIN)
    return bool(poll.poll(0))


def connect_once(path: Path, server_uid: int | None = None) -> socket.socket | None:
    """Connect without blocking. None when it is to be tried again: the daemon's accept queue is full just now, or the
    socket was bound a moment ago and does not listen yet.

    Args:
        server_uid: Whose daemon is trusted, besides this user's and root's.

    Raises:
        DaemonNotRunningError: Nothing listens there, or this user may not connect.
        UntrustedDaemonError: Another user's process listens there.
    """
    connection = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    try:
        connection.settimeout(0)
        _connect(connection, path)
        _require_trusted(connection, path, server_uid)
    except (BlockingIOError, InterruptedError):
        # Unlike TCP, a Unix connect that would block has not begun: it must be tried again, not waited for.
        connection.close()
        return None
    except OSError as error:
        connection.close()
        if isinstance(error, ConnectionRefusedError) and _is_fresh(path):
            return None
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


def _is_fresh(path: Path) -> bool:
    """Whether a file was made just now."""
    try:
        return 0 <= time.time() - path.lstat().st_mtime < _FRESH_S
    except OSError:
        return False


def peer(connection: socket.socket) -> tuple[int | None, int | None]:
    """The process and the user that listen at the other end, each None where the platform does not tell."""
    try:
        if hasattr(socket, "SO_PEERCRED"):
            pid, uid, _ = struct.unpack("iII", connection.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, 12))
            return pid or None, uid
        # macOS: getsockopt(SOL_LOCAL, LOCAL_PEERCRED) gives a `struct xucred` of a version and the uid, to begin with.
        version, uid = struct.unpack_from("II", connection.getsockopt(0, 1, 76))
        return None, None if version else uid
    except (OSError, struct.error):
        return None, None


def listening_pid(path: Path) -> int | None:
    """The process that listens on a socket, by its number here: one in a container has another there. None on doubt."""
    try:
        connection = connect_once(path)
    except FlowClientError:
        return None
    if connection is None:
        return None
    with connection:
        return peer(connection)[0]


def stopped_pid(path: Path) -> int | None:
    """The process that listens on a socket, where it is stopped: by SIGSTOP, Ctrl-Z or a debugger. None on doubt."""
    try:
        pid = listening_pid(path)
        status = Path(f"/proc/{pid}/stat").read_text(encoding="utf-8", errors="replace")
    except OSError:
        return None
    return pid if status.rpartition(")")[2].split()[0] in ("T", "t") else None


def _require_trusted(connection: socket.socket, path: Path, server_uid: int | None) -> None:
    """Whoever can make a socket where a daemon's would be could read what is sent there, and answer what they like."""
    _, uid = peer(connection)
    trusted = {os.geteuid(), 0, server_uid}
    if os.geteuid() == 0 and (person := os.environ.get("SUDO_UID", "")).isdecimal():
        trusted.add(int(person))  # whoever sits at the keyboard
    if uid is None or uid in trusted or _is_roots_place(path) or _is_trusted_place(path):
        return
    raise UntrustedDaemonError(str(path), uid=uid)


def _is_roots_place(path: Path) -> bool:
    """Whether only systemd can have put the socket there: that of a system service belongs to the service's user."""
    return Path(os.path.realpath(path)).is_relative_to(SYSTEM_SOCKETS)


def _is_trusted_place(path: Path) -> bool:
    """Whether a person has vouched for the folder that the socket is in: in ``$FLOWD_TRUST``, or by ``flowd trust``."""
    real = Path(os.path.realpath(path))
    entries = [*os.environ.get("FLOWD_TRUST", "").split(":"), *_trusted_list()]
    folders = [entry.removesuffix("/*") or "/" for entry in entries if entry]
    return any(folder == "*" or real.is_relative_to(os.path.realpath(folder)) for folder in folders)


def _trusted_list() -> list[str]:
    try:
        with (user_dir() / "flowd/trusted").open(encoding="utf-8", errors="surrogateescape") as file:
            status = os.fstat(file.fileno())
            is_ours = status.st_uid in (os.geteuid(), 0) and not status.st_mode & 0o022
            return file.read().split("\n") if is_ours else []
    except OSError:
        return []


def _refusal(path: Path, error: OSError) -> DaemonNotRunningError:
    if isinstance(error, PermissionError):
        message = f"Not allowed to connect to {path}: it belongs to {_owner(path)}. Run this as the daemon's user."
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


def _owner(path: Path) -> str:
    try:
        return f"user {pwd.getpwuid(uid := path.lstat().st_uid).pw_name}"
    except KeyError:
        return f"user {uid}"
    except OSError:
        return "another user"


def _remedy(path: Path) -> str:
    if path == rehearsal_socket():
        return (
            "It was there while a step was tried out (flowd dev, fire, exec). FLOWD_REHEARSAL says that this program "
            "belongs to that; without it, it finds its daemon."
        )
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
