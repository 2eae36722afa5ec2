"""What it means that SQLite cannot write a file that is being made."""

import errno
import sqlite3
from pathlib import Path

from flowd.domain.errors import StateError

_NO_ROOM = (sqlite3.SQLITE_FULL, sqlite3.SQLITE_IOERR)


def failure(error: sqlite3.Error, path: Path) -> OSError | StateError:
    """The same as of any other file where the disk is full or fails; else a sentence of its own."""
    if getattr(error, "sqlite_errorcode", 0) & 0xFF in _NO_ROOM:
        return OSError(errno.ENOSPC, f"{error}: free some space, or look after the disk", str(path))
    return StateError(f"{path} cannot be written: {error}.")
