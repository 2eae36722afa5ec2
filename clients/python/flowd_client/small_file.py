"""Reads files that are small where they are what they should be: a clone can hold any of any size and kind."""

import errno
import os
import stat
from pathlib import Path

MAX_BYTES = 1 << 20


def read(path: str | Path, max_bytes: int = MAX_BYTES) -> bytes:
    """The content of a regular file.

    Raises:
        OSError: It cannot be read at once, is larger than ``max_bytes``, or is no regular file.
    """
    # Without O_NONBLOCK, opening a named pipe waits for a writer.
    with open(os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC), "rb") as file:
        if not stat.S_ISREG(os.fstat(file.fileno()).st_mode):
            raise OSError(errno.EINVAL, "it is not a regular file", str(path))
        content = file.read(max_bytes + 1)
    if content is None:  # a file of the kernel's with nothing to say now, such as /proc/kmsg
        raise OSError(errno.EAGAIN, os.strerror(errno.EAGAIN), str(path))
    if len(content) > max_bytes:
        raise OSError(errno.EFBIG, f"it is larger than {max_bytes} bytes", str(path))
    return content
