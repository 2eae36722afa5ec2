"""Frees what a step's leftovers write after its end: their output is recorded and removed, and nobody can read more."""

import os
import stat
from collections.abc import Iterable
from pathlib import Path

MAX_BYTES = 1 << 20
"""Of such a file. What is in it takes room on the disk until the last process that has it open has ended."""
_DELETED = " (deleted)"


def drop(pids: Iterable[str], below: Path) -> int:
    """Empty files of more than `MAX_BYTES` that were removed below a folder and are the output of these processes.

    Returns:
        How many bytes were freed.
    """
    freed_bytes = 0
    for path in (f"/proc/{pid}/fd/{fd}" for pid in pids for fd in (1, 2)):
        try:
            target = os.readlink(path)
            if not target.startswith(f"{below}/") or not target.endswith(_DELETED):
                continue
            status = os.stat(path)
            if stat.S_ISREG(status.st_mode) and status.st_size > MAX_BYTES:
                os.truncate(path, 0)
                freed_bytes += status.st_size
        except OSError:
            continue  # the process has ended meanwhile, or is not ours any more
    return freed_bytes
