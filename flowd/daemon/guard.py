"""Looks every second whether somebody has removed what the daemon has on disk, and makes it again where that can be."""

import asyncio
import logging
import os
import socket
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from pathlib import Path

from flowd.domain.errors import StateError
from flowd.state import folder as state_folder
from flowd.state import sockets

log = logging.getLogger("flowd.daemon")

INTERVAL_S = 1.0
_TELL_EVERY_S = 10.0
SHARED_MEMORY = f"{state_folder.DATABASE}-shm"
"""Has SQLite's locks: another program that opens the database would make a new one, and write beside us."""

_LOG_MAGIC = b"\x37\x7f\x06"
"""What a write-ahead log begins with (https://www.sqlite.org/fileformat2.html, section 4.1)."""


class _Complaint:
    """Something that does not heal: an error in the log, and while it stays so one every ten seconds."""

    def __init__(self, message: str) -> None:
        self._message = message
        self._told_s = -_TELL_EVERY_S

    def tell(self, **about: str) -> None:
        """``about`` says what, where and why."""
        if time.monotonic() - self._told_s >= _TELL_EVERY_S:
            self._told_s = time.monotonic()
            log.error(self._message, extra=about)


class GuardedSocket:
    """A Unix socket that we listen on, by its path."""

    def __init__(self, path: Path, *, wanted: Path | None) -> None:
        """The socket is bound.

        Args:
            wanted: The path that it was to have; where that is too long, `sockets.socket_path` has another, and leaves
                a pointer to it. None for a socket of systemd's, which only systemd can bind again.
        """
        self._path = path
        self._wanted = wanted
        self._presence = state_folder.Presence([path])
        self._complaint = _Complaint("socket removed")
        self.listen_anew: Callable[[socket.socket], None] = lambda _: None
        """Takes the socket that was bound anew."""

    @property
    def is_ours(self) -> bool:
        """Whether the file at the path is the socket that we bound."""
        return self._wanted is not None and self._presence.lost() is None

    def check(self) -> None:
        """Bind it anew where somebody has removed it. What is in its place stays, unless it is a dead socket."""
        is_there = self._presence.lost() is None
        if is_there and (self._wanted in (None, self._path) or os.path.exists(f"{self._wanted}.path")):
            return
        if self._wanted is None:
            self._complain("systemd made it: restart its socket unit together with the service")
            return
        try:
            path = sockets.socket_path(self._wanted)
            if is_there:
                return
            bound = sockets.bind(path)
        except (StateError, OSError) as error:
            self._complain(str(error))
            return
        self._presence = state_folder.Presence([self._path])
        self.listen_anew(bound)
        log.warning("socket bound anew", extra={"socket": str(self._path), "problem": "somebody removed it"})

    def _complain(self, problem: str) -> None:
        self._complaint.tell(socket=str(self._path), problem=problem)


async def until_state_is_lost(folder: Path, *, look: Sequence[Callable[[], None]]) -> Path:
    """Keep what is on disk as it should be, until something is gone that cannot be made again: that is returned.

    What is accepted after that is in files that nobody can open again, and another daemon can lock the new folder
    beside this one.

    Args:
        look: Each looks at something, and makes it again where it is gone. Where one cannot, the log says so, and it
            is tried again.
    """
    names = (state_folder.LOCK, state_folder.DATABASE, f"{state_folder.DATABASE}-wal", SHARED_MEMORY)
    presence = state_folder.Presence(folder / name for name in names)
    complaint = _Complaint("files of the state cannot be made again")
    while (lost := presence.lost() or _emptied(folder)) is None:
        with suppress(OSError):
            state_folder.ignore_in_git(folder)
        for one in look:
            try:
                one()
            except (OSError, StateError) as error:
                complaint.tell(folder=str(folder), problem=str(error))
        await asyncio.sleep(INTERVAL_S)
    return lost


def _emptied(folder: Path) -> Path | None:
    """The database or its log, where somebody has emptied it: what SQLite writes into it then cannot be read again."""
    database, log_file = folder / state_folder.DATABASE, folder / f"{state_folder.DATABASE}-wal"
    with suppress(OSError):
        if database.stat().st_size == 0:
            return database
        with log_file.open("rb", buffering=0) as file:
            if file.read(len(_LOG_MAGIC)) == bytes(len(_LOG_MAGIC)):
                return log_file
    return None
