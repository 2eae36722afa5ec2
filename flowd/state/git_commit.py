"""Tells which commit a folder's work tree is at, as far as git's files tell without git.

https://git-scm.com/docs/gitrepository-layout: HEAD names a branch, or is the commit; a branch is a file below refs, or
a line of packed-refs, in the folder that all work trees of a repository share (commondir).
"""

import os
import re
from collections.abc import Iterator
from pathlib import Path

from flowd.state.checked_in import git_folder

_is_commit = re.compile(r"[0-9a-f]{40}|[0-9a-f]{64}").fullmatch
_MAX_BYTES = 64 << 20
_MAX_NAMES = 5
"""As often may one name stand for another one."""


def commit_of(folder: Path) -> str | None:
    """The commit that is checked out; None where the folder is in no repository, or in one without a commit."""
    real = Path(os.path.realpath(folder))
    for above in (real, *real.parents):
        if (git := git_folder(above)) is not None:
            return _resolved(git)
    return None


def _resolved(git: Path) -> str | None:
    name = "HEAD"
    for _ in range(_MAX_NAMES):
        said = next((text for text in _said(git, name) if text), "")
        if not said.startswith("ref:"):
            return said if _is_commit(said) else None
        name = said.removeprefix("ref:").strip()
        if not name.startswith("refs/") or ".." in name:
            return None
    return None


def _said(git: Path, name: str) -> Iterator[str]:
    """What a name stands for, from all places where that may be written."""
    shared = _text(git / "commondir")
    common = git / shared if shared else git
    yield _text(git / name)
    if common != git:
        yield _text(common / name)
    for line in _text(common / "packed-refs").splitlines():
        commit, _, packed = line.partition(" ")
        if packed == name:
            yield commit


def _text(path: Path) -> str:
    try:
        if path.stat().st_size > _MAX_BYTES:
            return ""
        return path.read_text(encoding="utf-8", errors="surrogateescape").strip()
    except OSError:
        return ""
