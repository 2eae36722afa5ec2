"""What tells a file from what it was before, in 28 bytes."""

import os
import stat
import struct

_ROW = struct.Struct("<qqQI")

SIZE = _ROW.size

LOST = bytes(SIZE)
"""Of a file that is not there."""


def row_of(status: os.stat_result) -> bytes:
    """When it was modified, its size, its inode, and whether it is a file or a link."""
    return _ROW.pack(status.st_mtime_ns, status.st_size, status.st_ino & (2**64 - 1), stat.S_IFMT(status.st_mode))


def modified_ns(row: bytes) -> int:
    """When the file was modified."""
    return int(_ROW.unpack(row)[0])


def counts(status: os.stat_result) -> bool:
    """Whether it is something that can be saved: pipes, sockets and devices are not."""
    return stat.S_ISREG(status.st_mode) or stat.S_ISLNK(status.st_mode)
