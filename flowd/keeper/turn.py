"""Whose turn it is to drain the pipes: the keeper's, or its standby's while the keeper is stopped.

Both move bytes to the ends of the same files, so they must never do it at the same time.
"""

from __future__ import annotations

import fcntl
import mmap
import os


class Turn:
    """A lock of the keeper and of the standby that is forked from it, and what has happened in between.

    A lock of a file and not of memory: the kernel takes it back when its holder dies.
    """

    def __init__(self, path: str) -> None:
        """Open the lock.

        Args:
            path: Of its file, which is made where it is missing.
        """
        self._path = path
        self._fd = self._open()
        self._others = mmap.mmap(-1, mmap.PAGESIZE)  # shared with our copy: how often it had the turn
        self._seen = 0

    def open_anew(self) -> None:
        """In the copy: have a lock of its own; all descriptors were closed. The memory stays shared."""
        self._fd = self._open()

    def take(self) -> bool:
        """Wait for the turn. True when the other one has had it since."""
        fcntl.flock(self._fd, fcntl.LOCK_EX)
        count = self._others[0]
        has_changed, self._seen = count != self._seen, count
        return has_changed

    def over(self) -> None:
        """Our turn is over."""
        fcntl.flock(self._fd, fcntl.LOCK_UN)

    def try_take(self) -> bool:
        """In the copy: take the turn unless the keeper has it."""
        try:
            fcntl.flock(self._fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            return False
        return True

    def give_back(self) -> None:
        """In the copy: say that something was drained, and let the keeper go on."""
        self._others[0] = (self._others[0] + 1) % 256
        fcntl.flock(self._fd, fcntl.LOCK_UN)

    def _open(self) -> int:
        return os.open(self._path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
