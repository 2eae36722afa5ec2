"""Locks that keep a second daemon, or a second keeper, out of a state folder.

The kernel lets a lock go with the last process that holds it, however that ends.
"""

import fcntl
import os
from pathlib import Path
from types import TracebackType

from flowd.domain.errors import StateError
from flowd.state import files
from flowd.state.folder import LOCK, unusable
from flowd_client import fork


class LockedError(StateError):
    """Another daemon serves this workspace."""


def try_lock(path: Path) -> int | None:
    """Take a file's lock, making the file where it is not there.

    Returns:
        A descriptor that holds the lock until it is closed; None where another process holds it.

    Raises:
        OSError: The file cannot be made or opened.
    """
    descriptor = files.open_own(path, os.O_RDWR | os.O_CREAT)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        os.close(descriptor)
        return None
    except BaseException:
        os.close(descriptor)
        raise
    return descriptor


def is_locked(path: Path) -> bool:
    """Whether some process holds a file's lock. Nobody holds that of a file that is not there.

    Raises:
        OSError: The file cannot be opened.
    """
    try:
        descriptor = files.open_own(path, os.O_RDONLY)
    except FileNotFoundError:
        return False
    try:
        fcntl.flock(descriptor, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    finally:
        os.close(descriptor)
    return False


class Lock:
    """The daemon's lock on its state folder, with its pid in the file."""

    def __init__(self, folder: Path) -> None:
        """Take the lock.

        Raises:
            LockedError: Another daemon holds it; the message has its pid.
            StateError: There can be no lock.
        """
        try:
            descriptor = try_lock(folder / LOCK)
        except OSError as error:
            raise StateError(f"Cannot lock {folder / LOCK}: {error.strerror}.") from error
        if descriptor is None:
            raise LockedError(
                f"A daemon (pid {holder(folder / LOCK)}) serves this workspace already: its state is in {folder}. "
                "Talk to it with `flowd status`, or stop it first."
            )
        self._descriptor = descriptor
        try:
            os.ftruncate(descriptor, 0)
            os.write(descriptor, b"%d\n" % os.getpid())
        except OSError as error:
            os.close(descriptor)
            raise unusable(folder, error) from error
        fork.tell(self)

    def __enter__(self) -> "Lock":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.forked()

    def forked(self) -> None:
        """Let go of the lock, or of a forked child's copy, which would hold it for longer than its owner lives."""
        descriptor, self._descriptor = self._descriptor, -1
        if descriptor >= 0:
            os.close(descriptor)


def holder(path: Path) -> str:
    """The pid that a lock's file has."""
    try:
        return path.read_text(encoding="ascii", errors="replace").strip()[:32] or "unknown"
    except OSError:
        return "unknown"
