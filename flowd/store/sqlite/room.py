"""Room on the disk: a reserve for what must be written when the disk is full, and who takes the room."""

import os
from contextlib import suppress
from pathlib import Path

RESERVE_BYTES = 2 << 20
"""Enough to end a few hundred runs, to cancel them, and to begin to prune."""

_MAX_LOOKED_AT = 20_000
_MAX_NAMED = 3


class Reserve:
    """A file that takes room while there is some, and is let go when the disk is full."""

    def __init__(self, path: Path, size_bytes: int) -> None:
        """Nothing is made yet. With 0 bytes there never is a reserve."""
        self._path = path
        self._size_bytes = size_bytes
        self._is_held = False

    def make(self) -> bool:
        """Take the room. False where it is not there, and nothing is held then."""
        if self._is_held or not self._size_bytes:
            return True
        try:
            # Without O_NONBLOCK, opening a named pipe waits for a reader.
            flags = os.O_WRONLY | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC | os.O_NONBLOCK
            descriptor = os.open(self._path, flags, 0o600)
            try:
                os.posix_fallocate(descriptor, 0, self._size_bytes)
            finally:
                os.close(descriptor)
        except OSError:
            self._remove()
        else:
            self._is_held = True
        return self._is_held

    def let_go(self) -> bool:
        """Give the room back. False where none was held."""
        was_held, self._is_held = self._is_held, False
        if was_held:
            self._remove()
        return was_held

    def _remove(self) -> None:
        with suppress(OSError):
            self._path.unlink()


def largest_files(folder: Path) -> list[tuple[str, int]]:
    """The largest files of a state folder, the largest first, each with its size in bytes."""
    found: list[tuple[int, str]] = []
    looked_at = 0
    for below in ("", "output", "keeper"):
        with suppress(OSError), os.scandir(folder / below) as entries:
            for entry in entries:
                looked_at += 1
                if looked_at > _MAX_LOOKED_AT:
                    break
                if entry.is_file(follow_symlinks=False):
                    # By what it takes of the disk: a sparse file is large and takes nothing.
                    taken = entry.stat(follow_symlinks=False).st_blocks * 512
                    found.append((taken, os.path.join(below, entry.name)))
    return [(name, taken) for taken, name in sorted(found, reverse=True)[:_MAX_NAMED]]


def full_disk_message(folder: Path) -> str:
    """What to do about a full disk, with flowd's own part in it."""
    named = ", ".join(f"{name} ({taken / (1 << 20):.1f} MiB)" for name, taken in largest_files(folder))
    return (
        "The disk under the state folder is full; nothing was stored. Free some space and try again. "
        f"flowd's own largest files in {folder}: {named or 'none'}. `flowd prune` forgets old runs with their output."
    )
