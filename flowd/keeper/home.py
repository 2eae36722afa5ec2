"""The keeper's files as the next daemon looks for them: the lock, the socket, the journal. Made again if removed.

A keeper whose files were removed goes on, but nobody could find it any more: the next daemon would start another one.
"""

from __future__ import annotations

import fcntl
import os
import socket

from flowd.keeper.protocol import LISTEN_FD, LOCK_FD

LOCK, SOCKET, LOG, JOURNAL = "keeper.lock", "keeper.sock", "keeper.log", "keeper.journal"
POINTER = f"{SOCKET}.path"
"""Says where the socket is instead, where the folder's path is too long for one."""


class Home:
    """The folder that the keeper was started in."""

    def __init__(self, directory: str) -> None:
        self._directory = directory

    def restore(self) -> str | None:
        """Make the folder, the lock, the socket and the log again, as far as they are not there, under the descriptors
        that we have. The journal is its owner's to write anew.

        Returns:
            What was made; None where nothing was missing.

        Raises:
            OSError: Another keeper has the folder by now, or the folder's own folder is gone.
        """
        made = []
        try:
            os.mkdir(self._directory, 0o700)  # not its parents: a state folder that was removed stays away
            made.append("folder")
        except FileExistsError:
            pass
        if not self._is_ours(LOCK, LOCK_FD):
            self._lock()
            made.append(LOCK)
        if not os.path.exists(os.path.join(self._directory, SOCKET)) and not self._has_pointer():
            self._listen()
            made.append(SOCKET)
        if not self._is_ours(LOG, 2):
            self._open(LOG, os.O_WRONLY | os.O_APPEND, 2)
            made.append(LOG)
        return ", ".join(made) or None

    def _is_ours(self, name: str, fd: int) -> bool:
        try:
            there = os.stat(os.path.join(self._directory, name))
        except FileNotFoundError:
            return False
        here = os.fstat(fd)
        return (there.st_dev, there.st_ino) == (here.st_dev, here.st_ino)

    def _has_pointer(self) -> bool:
        return os.path.exists(os.path.join(self._directory, POINTER))

    def _lock(self) -> None:
        fd = os.open(os.path.join(self._directory, LOCK), os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)
        try:
            fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
            os.dup2(fd, LOCK_FD, inheritable=False)
        finally:
            os.close(fd)

    def _listen(self) -> None:
        with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as listener:
            mask = os.umask(0o177)
            os.chdir(self._directory)  # a socket's address is short, and the folder's path may not be
            try:
                listener.bind(SOCKET)
            finally:
                os.chdir("/")
                os.umask(mask)
            listener.listen(16)
            os.dup2(listener.fileno(), LISTEN_FD, inheritable=False)  # where the loop polls and accepts
        os.set_blocking(LISTEN_FD, False)

    def _open(self, name: str, flags: int, number: int) -> None:
        path = os.path.join(self._directory, name)
        fd = os.open(path, flags | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)
        os.dup2(fd, number, inheritable=False)
        os.close(fd)
