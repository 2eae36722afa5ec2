"""The file that a backup becomes: made under another name beside it, and given its own once it is whole and on disk."""

import fcntl
import os
from contextlib import suppress
from pathlib import Path
from typing import IO

from flowd.domain.errors import StateError
from flowd.state import files
from flowd.state.steadily import PIECE_BYTES, settle


class BackupFile:
    """A file of mode 0600 that is whole or not there. Beside it, a second one may be made that is gone at the end."""

    def __init__(self, path: Path, *, is_forced: bool) -> None:
        """Begin. What an earlier try has left there is taken over.

        Raises:
            StateError: There is a file already, which nobody said may go; or another backup is being written to it.
            OSError: Nothing can be written there.
        """
        if path.is_dir():
            raise StateError(f"{path} is a folder. Name a file in it.")
        if not path.parent.is_dir():
            raise StateError(f"There is no folder {path.parent}. Make it first.")
        if os.path.lexists(path) and not is_forced:
            raise StateError(f"{path} is there already. Take another name, or say --force.")
        self._path = path
        self._draft = path.with_name(f".{path.name}.draft")
        self.database = path.with_name(f".{path.name}.draft.db")
        descriptor = os.open(self._draft, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            os.close(descriptor)
            raise StateError(f"Another backup is being written to {path}. Wait for it.") from None
        os.ftruncate(descriptor, 0)
        os.fchmod(descriptor, 0o600)
        self.remove_database()
        self._file = _Steadily(descriptor)

    @property
    def file(self) -> IO[bytes]:
        """What to write to, front to end."""
        return self._file  # type: ignore[return-value]  # an archive only writes

    def reading(self) -> IO[bytes]:
        """What was written, from its beginning. It is on disk."""
        self._file.settle()
        return self._draft.open("rb")

    def keep(self) -> int:
        """Give the file its name. Its size."""
        self._file.settle()
        size = os.fstat(self._file.descriptor).st_size
        self._draft.replace(self._path)
        files.sync(os.open(self._path.parent, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC))
        return size

    def close(self) -> None:
        """Let nothing stay but what was kept."""
        self.remove_database()
        with suppress(FileNotFoundError):
            if os.path.samestat(self._draft.lstat(), os.fstat(self._file.descriptor)):
                self._draft.unlink()
        os.close(self._file.descriptor)

    def remove_database(self) -> None:
        """Remove the file beside."""
        for ending in ("", "-journal", "-wal", "-shm"):
            with suppress(FileNotFoundError):
                self.database.with_name(self.database.name + ending).unlink()


class _Steadily:
    """Writes, and brings to the disk what it has written piece by piece."""

    def __init__(self, descriptor: int) -> None:
        self.descriptor = descriptor
        self._since = 0

    def write(self, data: bytes) -> int:
        rest = memoryview(data)
        while rest:
            written = os.write(self.descriptor, rest[: PIECE_BYTES - self._since])
            rest = rest[written:]
            self._since += written
            if self._since >= PIECE_BYTES:
                settle(self.descriptor)
                self._since = 0
        return len(data)

    def settle(self) -> None:
        os.fsync(self.descriptor)
