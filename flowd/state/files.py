"""Opens files of the state folder. A link there is never followed: git stores links, so a clone may hold one, and what
it leads to would be overwritten."""

import errno
import os
import stat
from pathlib import Path

FOLLOWS_NOT = "it is a link, and flowd follows none where its state is"


def open_own(path: str | Path, flags: int, mode: int = 0o600) -> int:
    """Open a file of the state folder, which must not be a link. Never waits: a named pipe has no writer there.

    Raises:
        OSError: It is one (ELOOP), or cannot be opened.
    """
    try:
        return os.open(path, flags | os.O_NOFOLLOW | os.O_CLOEXEC | os.O_NONBLOCK, mode)
    except OSError as error:
        # FreeBSD says EMLINK, NetBSD EFTYPE.
        if error.errno == errno.ELOOP or (error.errno != errno.ENOENT and os.path.islink(path)):
            raise OSError(errno.ELOOP, FOLLOWS_NOT, str(path)) from None
        raise


def write_text(path: Path, text: str) -> None:
    """Write a small file of the state folder anew, which must be a regular file or not there.

    Raises:
        OSError: It cannot be written.
    """
    descriptor = open_own(path, os.O_WRONLY | os.O_CREAT | os.O_NONBLOCK, 0o644)
    with open(descriptor, "w", encoding="utf-8", errors="surrogateescape") as file:
        if not stat.S_ISREG(os.fstat(descriptor).st_mode):
            raise OSError(errno.EINVAL, "it is not a regular file", str(path))
        file.truncate()
        file.write(text)


def sync(descriptor: int) -> None:
    """Put what was written to an open file, or the names in an open folder, on the disk; and close it."""
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def first_link(folder: Path, below: Path) -> Path | None:
    """The first link on the way from ``below`` down to a folder in it; None where there is none, or the folder lies
    elsewhere: then somebody has named it with all its links."""
    if not folder.is_relative_to(below):
        return None
    above = [each for each in (folder, *folder.parents) if each != below and each.is_relative_to(below)]
    return next((each for each in reversed(above) if each.is_symlink()), None)
