"""What the ``.gitignore`` files of a workspace leave out."""

import os
import stat

from flowd.watching.patterns import Patterns

NAME = ".gitignore"

MAX_BYTES = 1024 * 1024
"""Of a file of patterns that people write; what follows is not read."""


class Ignoring:
    """The patterns of one ``.gitignore``, and of those in the folders above it.

    Args:
        above: Of the nearest folder above that has one.
        folder: Where it lies, relative to the workspace; empty for that itself.
    """

    __slots__ = ("_patterns", "_skip", "above", "folder", "stamp")

    def __init__(self, above: "Ignoring | None", folder: str, lines: list[str], stamp: bytes) -> None:
        self.above = above
        self.folder = folder
        self.stamp = stamp
        self._skip = len(folder) + 1 if folder else 0
        self._patterns = Patterns(lines)

    def hides(self, path: str) -> bool:
        """Whether a path, relative to the workspace, is left out; a folder's ends with ``/``. Those of the folders
        above it are taken to be not."""
        verdict = self._patterns.verdict(path[self._skip :])
        if verdict is None:
            return self.above is not None and self.above.hides(path)
        return verdict


def read(path: str) -> list[str]:
    """The patterns in a file; none where it cannot be read, or is no regular file."""
    try:
        # Without O_NONBLOCK, opening a named pipe waits for a writer.
        with open(os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC | os.O_NOFOLLOW), "rb") as file:
            if not stat.S_ISREG(os.fstat(file.fileno()).st_mode):
                return []
            return os.fsdecode(file.read(MAX_BYTES)).splitlines()
    except OSError:
        return []


def ignores(top: str, path: str) -> bool:
    """Whether the ``.gitignore`` files from ``top`` down leave out a path relative to it, or a folder above it."""
    rules: Ignoring | None = None
    at = ""
    for name in path.split("/"):
        lines = read(os.path.join(top, at, NAME))
        rules = Ignoring(rules, at, lines, b"") if lines else rules
        at = f"{at}/{name}" if at else name
        if rules is not None and rules.hides(at if at == path else f"{at}/"):
            return True
    return False
