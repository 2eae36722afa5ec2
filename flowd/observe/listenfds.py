"""Takes over the sockets that systemd opened for the daemon: sd_listen_fds(3), by name."""

import os
import socket
from collections.abc import Mapping
from contextlib import suppress

FIRST_FD = 3
CONTROL_NAMES = ("flowd.sock", "control")
"""``FileDescriptorName=`` of the control socket in flowd's socket units."""


def passed(environ: Mapping[str, str] = os.environ) -> dict[str, list[int]]:
    """The descriptors that systemd passed to this process, by name. Processes that it starts do not get them.

    A unit without ``FileDescriptorName=`` gives its own name; what has no name at all is under ``unknown``.
    """
    if environ.get("LISTEN_PID") != str(os.getpid()):
        return {}
    try:
        count = int(environ.get("LISTEN_FDS", "0"))
    except ValueError:
        return {}
    names = environ.get("LISTEN_FDNAMES", "").split(":")
    found: dict[str, list[int]] = {}
    for index in range(count):
        fd = FIRST_FD + index
        os.set_inheritable(fd, False)  # noqa: FBT003
        name = names[index] if index < len(names) and names[index] else "unknown"
        found.setdefault(name, []).append(fd)
    return found


def control_socket(environ: Mapping[str, str] = os.environ) -> socket.socket | None:
    """The control socket that systemd passed; None where it passed none, and the daemon binds its own.

    Known by its name, or by being the only Unix stream socket among those that have no name of another purpose. The
    manager made it, keeps it across our restarts, and removes it: closing our copy disturbs nobody.
    """
    descriptors = passed(environ)
    for name in (*CONTROL_NAMES, *(name for name in descriptors if name.endswith(".socket")), "unknown"):
        for fd in descriptors.get(name, ()):
            listener = _unix_listener(fd)
            if listener is not None:
                return listener
    return None


def stream_sockets() -> list[socket.socket]:
    """All listening sockets that systemd passed, whatever their names."""
    found = []
    for fd in (fd for fds in passed(os.environ).values() for fd in fds):
        with suppress(OSError):
            candidate = socket.socket(fileno=os.dup(fd))
            if candidate.type == socket.SOCK_STREAM and candidate.getsockopt(socket.SOL_SOCKET, socket.SO_ACCEPTCONN):
                candidate.setblocking(False)  # noqa: FBT003
                found.append(candidate)
            else:
                candidate.close()
    return found


def _unix_listener(fd: int) -> socket.socket | None:
    try:
        candidate = socket.socket(fileno=os.dup(fd))
    except OSError:
        return None
    is_listening = bool(candidate.getsockopt(socket.SOL_SOCKET, socket.SO_ACCEPTCONN))
    if candidate.family == socket.AF_UNIX and candidate.type == socket.SOCK_STREAM and is_listening:
        candidate.setblocking(False)  # noqa: FBT003
        return candidate
    candidate.close()
    return None
