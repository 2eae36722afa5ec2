"""Makes the named pipes that steps print into, and uses them again: two for each step that runs, in slots.

A step has its pipes open for reading and writing, so it gets no SIGPIPE whoever dies. So has the standby
(`flowd.keeper.standby`), for reading: what is in a pipe is lost when the last one closes it.
"""

from __future__ import annotations

import fcntl
import os

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

ENDS = ".1", ".2"
MAX_SPARE = 64
"""Slots beyond so many are removed when they are not used."""
_MANY_SLOTS = 128
_SMALL_BYTES = 16384
"""With more than `_MANY_SLOTS`, pipes hold this much. A user without privileges may have 64 MiB in pipes, which a
thousand steps of 64 KiB a pipe would use up twice (fs.pipe-user-pages-soft); every other new pipe would hold 8 KiB."""


def open_for_reading(folder: str, slot: str) -> list[int]:
    """Both pipes of a slot, to be drained.

    Raises:
        OSError: One is not there.
    """
    return _open(folder, slot, os.O_RDONLY | os.O_NONBLOCK)


class Pipes:
    """The slots of one keeper, each open for reading."""

    def __init__(self, folder: str, prefix: str, *, on_made: Callable[[str], None], on_removed: Callable[[str], None]):
        """There are none yet.

        Args:
            prefix: Distinguishes our slots from those of earlier keepers.
            on_made: Called with a new slot.
            on_removed: Called with one that is gone.
        """
        self._folder = folder
        self._prefix = prefix
        self._on_made = on_made
        self._on_removed = on_removed
        self._made = 0
        self._spare: list[str] = []
        self.fds: dict[str, list[int]] = {}

    def take(self) -> tuple[str, list[int]]:
        """A slot that nobody writes into, and the descriptors for a step's standard output and standard error.

        Raises:
            OSError: There is none, and none can be made.
        """
        while self._spare:
            slot = self._spare.pop()
            try:
                return slot, self._open_for_step(slot)
            except OSError:  # somebody has removed it
                self.remove(slot)
        slot = self._make()
        return slot, self._open_for_step(slot)

    def adopt(self, slot: str) -> None:
        """Open a slot of an earlier keeper.

        Raises:
            OSError: It is not there.
        """
        self.fds[slot] = open_for_reading(self._folder, slot)

    def give_back(self, slot: str) -> None:
        """Take back a slot that is empty and that nobody has open any more."""
        if slot.startswith(self._prefix) and len(self._spare) < MAX_SPARE:
            self._spare.append(slot)
        else:
            self.remove(slot)

    def remove(self, slot: str) -> None:
        """Let go of a slot."""
        for fd in self.fds.pop(slot, ()):
            os.close(fd)
        remove_files(self._folder, slot)
        self._on_removed(slot)

    def remove_all(self) -> None:
        """Let go of every slot."""
        for slot in list(self.fds):
            self.remove(slot)

    def _open_for_step(self, slot: str) -> list[int]:
        return _open(self._folder, slot, os.O_RDWR)

    def _make(self) -> str:
        self._made += 1
        slot = f"{self._prefix}{self._made}"
        os.makedirs(self._folder, mode=0o700, exist_ok=True)
        try:
            for end in ENDS:
                os.mkfifo(f"{self._folder}/{slot}{end}", 0o600)
            self.fds[slot] = open_for_reading(self._folder, slot)
        except OSError:
            remove_files(self._folder, slot)
            raise
        if len(self.fds) > _MANY_SLOTS and hasattr(fcntl, "F_SETPIPE_SZ"):
            for fd in self.fds[slot]:
                _shrink(fd)
        self._on_made(slot)
        return slot


def _open(folder: str, slot: str, flags: int) -> list[int]:
    first = os.open(f"{folder}/{slot}{ENDS[0]}", flags | os.O_CLOEXEC | os.O_NOFOLLOW)
    try:
        return [first, os.open(f"{folder}/{slot}{ENDS[1]}", flags | os.O_CLOEXEC | os.O_NOFOLLOW)]
    except OSError:
        os.close(first)
        raise


def remove_files(folder: str, slot: str) -> None:
    """Remove a slot's pipes from the folder; who has them open keeps them."""
    for end in ENDS:
        try:
            os.unlink(f"{folder}/{slot}{end}")
        except OSError:
            pass


def slots_in(folder: str) -> list[str]:
    """All slots that are there, of earlier keepers, too."""
    try:
        return sorted({name[: -len(end)] for name in os.listdir(folder) for end in ENDS if name.endswith(end)})
    except OSError:
        return []


def _shrink(fd: int) -> None:
    try:
        if fcntl.fcntl(fd, fcntl.F_GETPIPE_SZ) > _SMALL_BYTES:
            fcntl.fcntl(fd, fcntl.F_SETPIPE_SZ, _SMALL_BYTES)
    except OSError:
        pass
