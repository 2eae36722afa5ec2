"""Chooses where Unix sockets lie, and binds them so that only their owner can open them."""

import hashlib
import os
import re
import socket
import stat
import tempfile
from pathlib import Path

from flowd.domain.errors import StateError
from flowd.state import files
from flowd.state.folder import ignore_in_git
from flowd_client import discovery, small_file, wire

BACKLOG = 1024
"""A connect to a Unix socket whose backlog is full fails at once (EAGAIN), and few clients try again."""


_MAX_POINTER_BYTES = 4096


def is_bindable(path: Path) -> bool:
    """Whether a path is short enough for a socket's address."""
    return len(os.fsencode(path)) <= discovery.MAX_SOCKET_PATH_BYTES


def socket_path(wanted: Path) -> Path:
    """Where to bind a socket that is wanted at a path: there, or where that is too long, in the runtime folder.

    A pointer file is left beside the wanted path then, so that clients find it.

    Raises:
        StateError: No folder can be used.
    """
    pointer = wanted.with_name(f"{wanted.name}.path")
    try:
        is_free = not os.path.lexists(pointer)
        is_pointer = not is_free and _is_pointer(pointer)
        if is_bindable(wanted):
            if is_pointer:
                pointer.unlink(missing_ok=True)
            return wanted
        short = short_path(wanted)
        if not is_free and not is_pointer:
            raise StateError(f"{pointer} is in the way: flowd has not written it. Move it, or set FLOWD_SOCKET.")
        files.write_text(pointer, f"{short}\n")
    except OSError as error:
        raise StateError(f"Cannot find a place for the socket {wanted}: {error}. Set FLOWD_SOCKET.") from error
    return short


def _is_pointer(path: Path) -> bool:
    """Whether flowd has written a file that is named like a pointer: settings may name a socket beside any file."""
    if path.name == wire.SOCKET_POINTER:
        return True
    try:
        with open(files.open_own(path, os.O_RDONLY | os.O_NONBLOCK), "rb") as file:
            return re.fullmatch(rb"/[^\n]+\.sock\n", file.read(_MAX_POINTER_BYTES)) is not None
    except OSError:
        return False


def short_path(wanted: Path) -> Path:
    """A path in the user's runtime folder, always the same for the same wanted path.

    Raises:
        StateError: The folder is not the user's alone.
        OSError: It cannot be made.
    """
    # A system service has no user's runtime folder, but one of its own, which systemd makes and names.
    runtime = os.environ.get("RUNTIME_DIRECTORY") or os.environ.get("XDG_RUNTIME_DIR")
    folder = Path(runtime) / "flowd" if runtime else Path(tempfile.gettempdir()) / f"flowd-{os.geteuid()}"
    folder.mkdir(mode=0o700, exist_ok=True)
    status = folder.lstat()
    if not stat.S_ISDIR(status.st_mode) or status.st_uid != os.geteuid() or stat.S_IMODE(status.st_mode) & 0o077:
        raise StateError(f"{folder} is not yours alone. Remove it, or set FLOWD_STATE_DIR to a short path in yours.")
    return folder / f"{hashlib.sha256(os.fsencode(wanted)).hexdigest()[:16]}.sock"


def point_to(path: Path, workspace: Path) -> None:
    """Write a pointer file into a workspace, so that clients without any setting find its daemon's socket.

    Only for sockets that lie elsewhere, such as in a runtime folder. A workspace that we may not write to stays as it
    is: clients need ``FLOWD_SOCKET`` there.
    """
    wanted = workspace / wire.STATE_DIR / wire.SOCKET_NAME
    pointer = wanted.with_name(wire.SOCKET_POINTER)
    try:
        if path == wanted:
            pointer.unlink(missing_ok=True)  # of a daemon that listened elsewhere
            return
        if files.first_link(wanted.parent, workspace) is not None:
            return  # the workspace would have us write elsewhere
        wanted.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        if not pointer.exists() or small_file.read(pointer) != os.fsencode(f"{path}\n"):
            files.write_text(pointer, f"{path}\n")
        ignore_in_git(wanted.parent)
    except OSError:
        pass


def bind(path: Path, *, remedy: str = "set FLOWD_SOCKET to another path") -> socket.socket:
    """Bind a listening socket that only its owner can open (mode 0600 from the first moment on). It does not block.

    The caller holds the daemon's lock, so a socket at the path is stale, unless somebody answers there.

    Args:
        remedy: What else to do about a path that is taken, as the end of a sentence.

    Raises:
        StateError: The path is taken by something else.
    """
    _remove_stale(path, remedy)
    listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    mask = os.umask(0o177)
    try:
        listener.bind(str(path))
        listener.listen(BACKLOG)
    except OSError as error:
        listener.close()
        raise StateError(f"Cannot listen on {path}: {error.strerror or error}; {remedy}.") from error
    finally:
        os.umask(mask)
    listener.setblocking(False)  # noqa: FBT003
    return listener


def _remove_stale(path: Path, remedy: str) -> None:
    try:
        mode = os.lstat(path).st_mode
    except FileNotFoundError:
        return
    if not stat.S_ISSOCK(mode):
        raise StateError(f"{path} is in the way: it is not a socket. Move it, or {remedy}.")
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as probe:
        try:
            probe.connect(str(path))
        except OSError:
            path.unlink(missing_ok=True)
            return
    raise StateError(f"Another program answers on {path}. Stop it, or {remedy}.")
