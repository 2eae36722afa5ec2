"""Tells whether git has a folder among its files, as far as its index tells without git.

https://git-scm.com/docs/index-format: names are whole there, but for version 4, which leaves out what a name has in
common with the one before.
"""

import os
from collections.abc import Iterator
from pathlib import Path

_MAX_INDEX_BYTES = 64 << 20
_UNREADABLE_VERSION = (4).to_bytes(4, "big")


def why(folder: Path) -> str | None:
    """Why a folder may have come out of git, for people; None where nothing in it is git's."""
    real = Path(os.path.realpath(folder))
    for above in real.parents:
        if (git := git_folder(above)) is None:
            continue
        name = os.fsencode(real.relative_to(above)) + b"/"
        for index in _indexes(git):
            if name in index:
                return "it is checked into git"
            if index[4:8] == _UNREADABLE_VERSION:
                return f"it may be checked into git, whose index in {git} is of version 4"
        return None
    return None


def git_folder(above: Path) -> Path | None:
    """The git folder of a work tree; that of a submodule, or of another work tree, is elsewhere."""
    git = above / ".git"
    try:
        if git.is_dir():
            return git
        kind, _, path = git.read_text(encoding="utf-8", errors="surrogateescape").partition(":")
    except OSError:
        return None
    return above / path.strip() if kind == "gitdir" else None


def _indexes(git: Path) -> Iterator[bytes]:
    """The index, and what a split one shares."""
    try:
        names = sorted(name for name in os.listdir(git) if name == "index" or name.startswith("sharedindex."))
    except OSError:
        return
    for name in names:
        try:
            if (git / name).stat().st_size <= _MAX_INDEX_BYTES:
                yield (git / name).read_bytes()
        except OSError:
            continue
