"""Which folders are watched, and what tells one from another of its name."""

import os
import stat
from collections.abc import Iterable, Mapping

Folders = Mapping[str, frozenset[str] | None]
"""Folders to watch, whether they exist yet or not, and which names in them matter (None: all)."""

Identity = tuple[int, int]
"""Device and inode."""


def identities(folders: Iterable[str]) -> dict[str, Identity]:
    """Those of the folders that exist and can be watched, each with what tells it from another one of its name."""
    found: dict[str, Identity] = {}
    for folder in folders:
        try:
            # A name that is not UTF-8 cannot be given to the watch, and would cost all the others theirs. Its package
            # is refused anyway, and its renaming is a change in the folder above.
            folder.encode()
            status = os.stat(folder)
        except (OSError, UnicodeEncodeError):
            continue
        # One that may not be listed cannot be watched either; what its files become is seen by the looks now and then.
        if stat.S_ISDIR(status.st_mode) and os.access(folder, os.R_OK):
            found[folder] = (status.st_dev, status.st_ino)
    return found
