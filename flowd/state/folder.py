"""The state folder: made safe, checked, and locked for one daemon at a time."""

import errno
import fcntl
import hashlib
import os
import sqlite3
import stat
import sys
import tempfile
from collections.abc import Iterable
from pathlib import Path
from types import TracebackType

from flowd.domain.errors import StateError
from flowd_client import wire

DATABASE = "flowd.db"
OUTPUT = "output"
KEEPER = "keeper"
LOCK = "daemon.lock"
MAX_SOCKET_PATH_BYTES = 104 if sys.platform == "darwin" else 108
"""What `sockaddr_un` holds, the final NUL included."""


_NO_ROOM = (errno.ENOSPC, errno.EDQUOT)
_DISK_CODES = (sqlite3.SQLITE_FULL, sqlite3.SQLITE_IOERR)


class LockedError(StateError):
    """Another daemon serves this workspace."""


def prepare(folder: Path) -> None:
    """Make the folder, for its owner only and invisible to git, or check that it is so.

    Raises:
        StateError: It cannot be made, belongs to somebody else, or others could write to it.
    """
    try:
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        status = folder.stat()
        if status.st_uid != os.geteuid():
            raise StateError(
                f"{folder} belongs to user {status.st_uid}, not to you. Set FLOWD_STATE_DIR to a folder of yours."
            )
        if stat.S_IMODE(status.st_mode) & 0o022:
            raise StateError(
                f"Others can write to {folder}, and so could start processes as you. Run: chmod 700 {folder}"
            )
        folder.chmod(0o700)
        for name in (OUTPUT, KEEPER):
            (folder / name).mkdir(mode=0o700, exist_ok=True)
        ignore = folder / ".gitignore"
        if not ignore.exists():
            ignore.write_text("*\n", encoding="utf-8")
    except OSError as error:
        raise unusable(folder, error) from error


def unusable(folder: Path, error: OSError) -> StateError:
    """What to say where the system declines something that was tried in the state folder."""
    remedy = "Free some space" if error.errno in _NO_ROOM else "Move what is in the way"
    return StateError(
        f"Cannot use {error.filename or folder} for flowd's state: {error.strerror}. {remedy}, or set FLOWD_STATE_DIR "
        "to another folder."
    )


def is_disk_failure(error: BaseException) -> bool:
    """Whether an error comes of a disk that is full or fails: one that may be well again without anybody's doing."""
    cause: BaseException | None = error
    while cause is not None:
        if isinstance(cause, OSError) and cause.errno in (*_NO_ROOM, errno.EIO):
            return True
        if isinstance(cause, sqlite3.Error) and getattr(cause, "sqlite_errorcode", 0) & 0xFF in _DISK_CODES:
            return True
        cause = cause.__cause__
    return False


def socket_path(wanted: Path) -> Path:
    """Where to bind a socket that is wanted at a path: there, or where that is too long, in the runtime folder.

    A pointer file is left beside the wanted path then, so that clients find it.

    Raises:
        StateError: No folder can be used.
    """
    pointer = wanted.with_name(f"{wanted.name}.path")
    try:
        if len(os.fsencode(wanted)) < MAX_SOCKET_PATH_BYTES:
            pointer.unlink(missing_ok=True)
            return wanted
        runtime = os.environ.get("XDG_RUNTIME_DIR")
        folder = Path(runtime) / "flowd" if runtime else Path(tempfile.gettempdir()) / f"flowd-{os.geteuid()}"
        folder.mkdir(mode=0o700, exist_ok=True)
        status = folder.lstat()
        if not stat.S_ISDIR(status.st_mode) or status.st_uid != os.geteuid() or stat.S_IMODE(status.st_mode) & 0o077:
            raise StateError(f"{folder} is not yours alone. Set FLOWD_SOCKET to a short path in a folder of yours.")
        short = folder / f"{hashlib.sha256(os.fsencode(wanted)).hexdigest()[:16]}.sock"
        pointer.write_text(f"{short}\n", encoding="utf-8")
    except OSError as error:
        raise StateError(f"Cannot find a place for the socket {wanted}: {error}. Set FLOWD_SOCKET.") from error
    return short


def point_to(socket: Path, workspace: Path) -> None:
    """Leave word in a workspace where its daemon listens, so that clients without any setting find it.

    Only for sockets that lie elsewhere, such as in a runtime folder. A workspace that we may not write to stays as it
    is: clients need ``FLOWD_SOCKET`` there.
    """
    wanted = workspace / wire.STATE_DIR / wire.SOCKET_NAME
    pointer = wanted.with_name(wire.SOCKET_POINTER)
    try:
        if socket == wanted:
            pointer.unlink(missing_ok=True)  # of a daemon that listened elsewhere
            return
        wanted.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        if not pointer.exists() or pointer.read_text(encoding="utf-8") != f"{socket}\n":
            pointer.write_text(f"{socket}\n", encoding="utf-8")
        ignore = wanted.with_name(".gitignore")
        if not ignore.exists():
            ignore.write_text("*\n", encoding="utf-8")
    except OSError:
        pass


def is_locked(path: Path) -> bool:
    """Whether some process holds a lock file's lock. A file that is not there is held by nobody."""
    try:
        fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    except FileNotFoundError:
        return False
    try:
        fcntl.flock(fd, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    finally:
        os.close(fd)
    return False


class Presence:
    """Tells whether files are still those that they were: not removed, and not replaced by others of their names."""

    def __init__(self, paths: Iterable[Path]) -> None:
        """Remember what lies at the paths now; those where nothing lies are left out."""
        self._known = {path: identity for path in paths if (identity := _identity(path)) is not None}

    def lost(self) -> Path | None:
        """The first one that is no longer there, None while all are."""
        return next((path for path, identity in self._known.items() if _identity(path) != identity), None)


def _identity(path: Path) -> tuple[int, int] | None:
    try:
        status = path.lstat()
    except OSError:
        return None
    return status.st_dev, status.st_ino


class Lock:
    """The daemon's lock on its state folder. The kernel lets it go with the process, however that ends."""

    def __init__(self, folder: Path) -> None:
        """Take the lock.

        Raises:
            LockedError: Another daemon holds it; the message has its pid.
            StateError: There can be no lock.
        """
        try:
            self._descriptor = os.open(folder / LOCK, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        except OSError as error:
            raise StateError(f"Cannot lock {folder / LOCK}: {error.strerror}.") from error
        try:
            fcntl.flock(self._descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            pid = os.read(self._descriptor, 32).decode("ascii", "replace").strip() or "unknown"
            os.close(self._descriptor)
            raise LockedError(
                f"A daemon (pid {pid}) serves this workspace already: its state is in {folder}. Talk to it with "
                f"`flowd status`, or stop it first."
            ) from None
        try:
            os.ftruncate(self._descriptor, 0)
            os.write(self._descriptor, b"%d\n" % os.getpid())
        except OSError as error:
            os.close(self._descriptor)
            raise unusable(folder, error) from error

    def __enter__(self) -> "Lock":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        os.close(self._descriptor)
