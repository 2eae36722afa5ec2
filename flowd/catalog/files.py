"""Reads a package's files once, and remembers by what to tell later whether they have changed."""

import errno
import hashlib
import os
import stat
import time
from collections.abc import Mapping
from dataclasses import dataclass, field

Stamp = tuple[int, int, int, int, int]
"""Modification time, size, inode, change time (ns) and mode. The change time cannot be set back by a program."""

MAX_HASHED_BYTES = 16 * 1024 * 1024
"""A larger script is told apart by size and modification time."""

MAX_FILES = 1_000
"""Of a larger package only the manifest and the script are hashed; `flowd validate` says so."""

UNHASHED = frozenset({".git", ".hg", ".svn", ".venv", "__pycache__", "node_modules", "venv"})
"""Folders that come from elsewhere, or are made by what runs. Their files are in no hash."""

_MAX_LINKS = 40  # as many as Linux follows

# Two writes within one tick of the file system's clock leave the same times (git calls such entries racily clean).
# Two seconds cover the coarsest clock in use, FAT's.
TICK_NS = 2_000_000_000


def stamp(path: str) -> Stamp | None:
    """What changes whenever the file does; None where there is no file."""
    try:
        return _stamp(os.stat(path))
    except OSError:
        return None


def _stamp(found: os.stat_result) -> Stamp:
    return (found.st_mtime_ns, found.st_size, found.st_ino, found.st_ctime_ns, found.st_mode)


@dataclass
class Reading:
    """Files read together. Every file asked for is remembered, one that is missing too.

    Attributes:
        stamps: By absolute path; taken before the content was read, so that a write during the reading shows later.
        digests: SHA-256 of each content in hex; ``""`` where it could not be read.
    """

    stamps: dict[str, Stamp | None] = field(default_factory=dict)
    digests: dict[str, str] = field(default_factory=dict)
    _read_at_ns: int = field(default_factory=time.time_ns)

    def read(self, path: str, max_bytes: int) -> bytes:
        """The content of a regular file.

        Raises:
            OSError: It is missing, unreadable, no regular file (a pipe would block), or larger than ``max_bytes``.
        """
        self.stamps[path], self.digests[path] = None, ""
        # Without O_NONBLOCK, opening a named pipe waits for a writer.
        with open(os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC), "rb") as file:
            found = os.fstat(file.fileno())
            self.stamps[path] = _stamp(found)
            if not stat.S_ISREG(found.st_mode):
                raise OSError(errno.EINVAL, "it is not a regular file", path)
            if found.st_size > max_bytes:
                raise OSError(errno.EFBIG, f"it is larger than {max_bytes} bytes", path)
            content = file.read(max_bytes + 1)
        if content is None:  # a file of the kernel's with nothing to say now, such as /proc/kmsg
            raise OSError(errno.EAGAIN, os.strerror(errno.EAGAIN), path)
        if len(content) > max_bytes:
            raise OSError(errno.EFBIG, f"it is larger than {max_bytes} bytes", path)
        self.digests[path] = hashlib.sha256(content).hexdigest()
        return content

    def note(self, path: str) -> bool:
        """Remember a file by its content, whatever its size. False when there is no such regular file."""
        if path in self.stamps:
            return bool(self.digests[path])
        try:
            self.read(path, MAX_HASHED_BYTES)
        except OSError as error:
            if error.errno != errno.EFBIG:
                return False
            self.digests[path] = hashlib.sha256(repr((self.stamps[path] or ())[:2]).encode()).hexdigest()
        return True

    def is_current(self) -> bool:
        """Whether no file has changed since, as far as stamps tell. Costs one stat a file."""
        return all(stamp(path) == seen for path, seen in self.stamps.items())

    def is_settled(self) -> bool:
        """Whether the files had rested when they were read, so that their stamps can be trusted."""
        newest = max((seen[3] for seen in self.stamps.values() if seen), default=0)
        return newest < self._read_at_ns - TICK_NS

    def again(self) -> "Reading":
        """The same files, read anew."""
        reading = Reading()
        for path in self.stamps:
            reading.note(path)
        return reading


def digest_of(digests: Mapping[str, str], folder: str) -> str:
    """``sha256:`` over relative path, NUL, content's SHA-256 and NUL of each file, in the paths' byte order."""
    total = hashlib.sha256()
    relative = {os.path.relpath(path, folder).replace(os.sep, "/"): digest for path, digest in digests.items()}
    for path in sorted(relative, key=os.fsencode):
        total.update(os.fsencode(path) + b"\0" + relative[path].encode() + b"\0")
    return f"sha256:{total.hexdigest()}"


def list_files(root: str, most: int) -> tuple[list[str], list[str]] | None:
    """The folders of a package and its regular files, links to files included; None where there are more than ``most``
    of both. Folders in `UNHASHED`, and links to folders, are left out."""
    folders: list[str] = []
    files: list[str] = []
    left = [root]
    while left:
        folders.append(left.pop())
        try:
            with os.scandir(folders[-1]) as entries:
                for entry in entries:
                    if entry.is_dir(follow_symlinks=False):
                        left += [] if entry.name in UNHASHED else [entry.path]
                    elif entry.is_file(follow_symlinks=False) or (entry.is_symlink() and _is_file(entry.path)):
                        files.append(entry.path)
        except OSError:
            continue
        if len(folders) + len(files) + len(left) > most:
            return None
    return folders, files


def _is_file(path: str) -> bool:
    try:
        return stat.S_ISREG(os.stat(path).st_mode)
    except OSError:
        return False


def links_of(path: str, base: str) -> list[tuple[str, str]]:
    """Every link on the way from ``base`` to a path as (folder, name), and what it all leads to; empty without links.

    >>> links_of("/proc/self/exe", "/proc")[0]
    ('/proc', 'self')
    """
    found: list[tuple[str, str]] = []
    at, left = (base, path[len(base) + 1 :].split("/")) if path.startswith(f"{base}/") else ("/", path.split("/"))
    while left and len(found) < _MAX_LINKS:
        name = left.pop(0)
        if name == "..":
            at = os.path.dirname(at)
        elif name not in ("", "."):
            here = os.path.join(at, name)
            try:
                target = os.readlink(here)
            except OSError:  # no link, or nothing at all
                at = here
                continue
            found.append((at, name))
            at = "/" if target.startswith("/") else at
            left = target.split("/") + left
    return [*found, os.path.split(at)] if found else []
