"""Which files and folders count for a watch.

Links are files here: one that leads elsewhere has changed. None is followed, so that there are no circles and no way
out of the workspace; but a folder that a pattern names letter by letter, on the way to files, may be a link to
another folder of the workspace, as packages may. What is flowd's own, or git's, never counts.
"""

import os
from collections.abc import Callable, Iterable

from flowd.domain.watches import Watch
from flowd.watching import ignoring
from flowd.watching.folders import Identity
from flowd.watching.ignoring import Ignoring
from flowd.watching.ledger import Folder
from flowd.watching.patterns import Selection
from flowd.watching.rows import row_of

_FLOWDS = ("/.codex/flowd", "/.codex/flows")
"""Where flowd keeps its state, and where packages are installed."""


class Scope:
    """What counts for a watch.

    Args:
        top: The workspace.
        is_own: Whether a folder or file is flowd's own, by what it is known by.
    """

    def __init__(self, watch: Watch, top: str, is_own: Callable[[Identity], bool]) -> None:
        self.links_out: set[str] = set()
        self._top = top
        self._is_own = is_own
        self._selection = Selection(watch.paths)
        self._ignores = watch.gitignore

    def is_own(self, status: os.stat_result) -> bool:
        """Whether it is flowd's own."""
        return self._is_own((status.st_dev, status.st_ino))

    def takes(self, path: str) -> bool:
        """See `Selection.takes`."""
        return self._selection.takes(path)

    def is_named(self, folder: str) -> bool:
        """See `Selection.is_named`."""
        return self._selection.is_named(folder)

    def rules(
        self, above: Ignoring | None, path: str, entries: Iterable[os.DirEntry[str]], old: Ignoring | None
    ) -> Ignoring | None:
        """What is ignored in a folder with these entries; the same object as long as that is the same.

        Args:
            above: What is ignored in the folder above it.
            old: What was ignored in it before.
        """
        mine = next((entry for entry in entries if entry.name == ignoring.NAME), None) if self._ignores else None
        if mine is None:
            return above
        try:
            stamp = row_of(mine.stat(follow_symlinks=False))
        except OSError:
            return above
        if old is not None and old.folder == path and old.above is above and old.stamp == stamp:
            return old
        return Ignoring(above, path, ignoring.read(mine.path), stamp)

    def is_folder(self, entry: os.DirEntry[str], path: str) -> bool:
        """Whether an entry is a folder to look into, as far as that depends on links. ``links_out`` has those that are
        none for leading out of the workspace."""
        if not entry.is_symlink():
            return entry.is_dir(follow_symlinks=False)
        if not self._selection.is_named(path):
            return False
        self.links_out.discard(path)
        try:
            if not entry.is_dir():
                return False
        except OSError:  # a circle of links
            return False
        top, real = os.path.realpath(self._top), os.path.realpath(entry.path)
        if os.path.commonpath([top, real]) == top and real != top:
            return True
        self.links_out.add(path)
        return False

    def is_looked_into(self, folder: Folder, path: str, name: str, entry: os.DirEntry[str]) -> bool:
        """The same as `may_look_into`, of an entry."""
        try:
            status = entry.stat()
        except OSError:
            return False
        return self.may_look_into(folder, path, name, (status.st_dev, status.st_ino))

    def may_look_into(self, folder: Folder, path: str, name: str, identity: Identity) -> bool:
        """Whether files that are meant may be in a folder. One that is ignored is in ``passed`` of the folder above."""
        if name == ".git" or not self._selection.may_be_in(path) or self._is_own(identity):
            return False
        if f"/{path}".endswith(_FLOWDS):
            return False
        if folder.rules is not None and folder.rules.hides(f"{path}/"):
            folder.passed.add(name)
            return False
        return True

    def is_meant(self, folder: Folder, path: str, name: str) -> bool:
        """Whether a file is meant. One that is ignored is in ``hidden`` of its folder."""
        if name == ".git" or not self._selection.takes(path):
            return False
        if folder.rules is not None and folder.rules.hides(path):
            folder.hidden.add(name)
            return False
        return True
