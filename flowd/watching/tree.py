"""The files that a watch is about, as they were when the disk was last looked at.

What counts is decided in `flowd.watching.scope`.
"""

import os
import stat
import time
from collections.abc import Callable, Iterable, Iterator

from flowd.domain.watches import Watch
from flowd.watching import ignoring
from flowd.watching.folders import Identity
from flowd.watching.ledger import Changed, Folder, Ledger
from flowd.watching.rows import counts, row_of
from flowd.watching.scope import Scope

MAX_FILES = 500_000
"""Files and folders of one watch: 150 MB, and some seconds for each look at all of them."""

_LISTED_FOR_EACH = 4
"""Entries that are listed for each file that may be watched."""

_Visit = tuple[str, bool]
"""A folder to look into, and whether what it has is no news."""


class TooManyFilesError(Exception):
    """There are more files than can be watched."""


class Tree:
    """The files of one watch. For one thread at a time.

    Args:
        workspace: Absolute path of what the watch's patterns are relative to.
        is_own: Whether a folder or file is flowd's own, by what it is known by.
        before: Files as they were told, by somebody who remembers; None begins with what is there now.
        was_meant: Whether a file was looked at by that one, where the patterns were others then.
        max_files: The most that it looks at.

    Attributes:
        is_too_large: There are more files. It tells nothing until there are fewer.
        unreadable: Folders that cannot be looked into; their files are taken to be as they were.
        look_s: What the last look at everything took of a processor.
        standing: The folders to watch, and what each is known by.
        version: Grows with each change of ``standing``.
        has_unwatchable: A folder has a name that no watch can be given.
    """

    def __init__(
        self,
        watch: Watch,
        workspace: str,
        *,
        is_own: Callable[[Identity], bool] = lambda _: False,
        before: Iterable[tuple[str, bytes]] | None = None,
        was_meant: Callable[[str], bool] | None = None,
        max_files: int = MAX_FILES,
    ) -> None:
        self.watch = watch
        self._top = workspace.rstrip("/")
        self._was_meant = was_meant
        self._max_files = max_files
        self._listed = self._seen = 0
        self._is_whole = False
        self._scope = Scope(watch, workspace, is_own)
        self._ledger = Ledger()
        self._is_new = before is None
        self.is_too_large = False
        self.unreadable: set[str] = set()
        self.look_s = 0.0
        self.standing: dict[str, Identity] = {}
        self.version = 0
        self.has_unwatchable = False
        for path, row in before or ():
            self._ledger.remember(path, row)

    @property
    def files(self) -> int:
        """How many there are."""
        return self._ledger.files

    @property
    def links_out(self) -> set[str]:
        """Folders that a pattern names, and that are links out of the workspace."""
        return self._scope.links_out

    @property
    def has_news(self) -> bool:
        """Whether there is something to tell."""
        return bool(self._ledger) and not self.is_too_large and not self._is_new

    @property
    def silent_edits(self) -> int:
        """Grows with each file that came into view or left it without a change."""
        return self._ledger.silent_edits

    def told(self) -> Iterator[tuple[str, bytes]]:
        """All files as they were told."""
        return self._ledger.told()

    @property
    def is_known(self) -> bool:
        """Whether all files are known, so that from now on what changes is told."""
        return not self._is_new and not self.is_too_large

    def peek(self) -> list[Changed]:
        """What is to be told, nothing if it is too large."""
        return self._ledger.peek() if self.has_news else []

    def take(self, *, is_quiet: bool = True) -> list[Changed]:
        """What is to be told, nothing if it is too large; see `Ledger.take`."""
        return self._ledger.take(is_quiet=is_quiet) if self.has_news else []

    # --- looking -----------------------------------------------------------------------------------------------------

    def look(self) -> bool:
        """Look at everything. Tells whether something had changed."""
        before, began_s = self._ledger.edits, time.thread_time()
        self._listed = self._seen = 0
        self._is_whole = True
        if self._is_new:
            self._ledger = Ledger()
        try:
            self._visit([("", self._is_new)], is_deep=True)
            self.is_too_large = self._is_new = False
            self._was_meant = None
        except TooManyFilesError:
            self.is_too_large = True
        self.look_s = time.thread_time() - began_s
        return self._ledger.edits != before

    def look_at(self, paths: Iterable[str]) -> bool:
        """Look at these, whether they are files or folders, and into folders that are new. Absolute paths."""
        before = self._ledger.edits
        self._listed = 0
        self._is_whole = False
        if self._is_new:
            return False
        try:
            for path in paths:
                self._look_at(path)
        except TooManyFilesError:
            self.is_too_large = True
        return self._ledger.edits != before

    def _visit(self, folders: list[_Visit], *, is_deep: bool) -> None:
        while folders:
            path, is_silent = folders.pop()
            folders += self._visit_one(path, is_deep=is_deep, is_silent=is_silent)

    def _visit_one(self, path: str, *, is_deep: bool, is_silent: bool) -> list[_Visit]:
        at = self._absolute(path)
        try:
            status = os.stat(at)
            with os.scandir(at) as listed:
                entries = list(listed)
        except (FileNotFoundError, NotADirectoryError):
            # A workspace that is away has not lost its files: it may come back.
            if path:
                self._forget(path)
            return []
        except OSError:  # what cannot be looked at may still be there
            self.unreadable.add(path)
            self._stand(path, None)
            return []
        self._listed += len(entries)
        self._seen += 1
        self._bound()
        self.unreadable.discard(path)
        folder = self._ledger.folder(path)
        identity = (status.st_dev, status.st_ino)
        is_another = folder.identity != identity
        folder.identity = identity
        self._stand(path, identity)
        above = self._ledger.folders[os.path.dirname(path)].rules if path else None
        rules = self._scope.rules(above, path, entries, folder.rules)
        is_same_rules = rules is folder.rules and folder.is_visited
        folder.rules, folder.is_visited = rules, True
        looking = _Looking(folder, f"{path}/" if path else "", is_silent, is_same_rules)
        return self._compare(looking, entries, is_deep=is_deep or is_another or not is_same_rules)

    def _compare(self, at: "_Looking", entries: list[os.DirEntry[str]], *, is_deep: bool) -> list[_Visit]:
        folder = at.folder
        to_visit: list[_Visit] = []
        try:
            for entry in entries:
                name, path = entry.name, at.prefix + entry.name
                if self._scope.is_folder(entry, path):
                    if self._scope.is_looked_into(folder, path, name, entry):
                        folder.below.add(name)
                        if is_deep or name not in at.below:
                            to_visit.append((path, at.is_silent or name in at.passed))
                elif (row := self._row_of(at, entry, path, name)) is not None:
                    at.seen.add(name)
                    self._ledger.note(folder, path, name, row, is_silent=self._is_no_news(at, path, name))
                    self._seen += 1
                    self._bound()
        except TooManyFilesError:
            folder.below |= at.below
            raise
        for name in [name for name in folder.rows if name not in at.seen]:
            is_hidden = name in folder.hidden or not self._scope.takes(at.prefix + name)
            self._ledger.note(folder, at.prefix + name, name, None, is_silent=is_hidden)
        for name in at.below - folder.below:
            self._forget(at.prefix + name, is_silent=name in folder.passed)
        return to_visit

    def _bound(self) -> None:
        # What is gone meanwhile is forgotten only at the end of a look at everything.
        size = self._seen if self._is_whole else self._ledger.size
        if size > self._max_files or self._listed > _LISTED_FOR_EACH * self._max_files:
            raise TooManyFilesError

    def _row_of(self, at: "_Looking", entry: os.DirEntry[str], path: str, name: str) -> bytes | None:
        if at.is_same_rules and name in at.hidden:
            at.folder.hidden.add(name)
            return None
        # Of what is known, the patterns have been asked.
        if not (at.is_same_rules and name in at.folder.rows) and not self._scope.is_meant(at.folder, path, name):
            return None
        try:
            status = entry.stat(follow_symlinks=False)
        except OSError:
            return None
        if self._scope.is_own(status):
            at.folder.hidden.add(name)
            return None
        return row_of(status) if counts(status) else None

    def _is_no_news(self, at: "_Looking", path: str, name: str) -> bool:
        if at.is_silent:
            return True
        if name in at.folder.rows:
            return False
        return name in at.hidden or (self._was_meant is not None and not self._was_meant(path))

    def _look_at(self, at: str) -> None:
        path = self._relative(at)
        if path is None:
            return
        above, name = os.path.split(path)
        folder = self._ledger.folders.get(above)
        if not path or folder is None or not folder.is_visited:
            if not path:
                self._visit([("", False)], is_deep=False)
            return
        if name == ignoring.NAME and self.watch.gitignore:
            self._visit([(above, False)], is_deep=False)
            return
        try:
            status = os.lstat(at)
        except OSError:
            status = None
        self._meet(folder, path, name, status)

    def _meet(self, folder: Folder, path: str, name: str, status: os.stat_result | None) -> None:
        if status is None or not (counts(status) or stat.S_ISDIR(status.st_mode)):
            self._lose(folder, path, name)
        elif stat.S_ISDIR(status.st_mode):
            self._meet_folder(folder, path, name, (status.st_dev, status.st_ino))
        elif stat.S_ISLNK(status.st_mode) and self._scope.is_named(path):
            self._visit([(os.path.dirname(path), False)], is_deep=False)
            if name in folder.below:
                self._visit([(path, False)], is_deep=False)
        elif self._scope.is_own(status):
            folder.hidden.add(name)
        else:
            self._meet_file(folder, path, name, row_of(status))

    def _meet_folder(self, folder: Folder, path: str, name: str, identity: Identity) -> None:
        if name in folder.rows:
            self._ledger.note(folder, path, name, None)
        if name not in folder.passed and self._scope.may_look_into(folder, path, name, identity):
            folder.below.add(name)
            self._visit([(path, False)], is_deep=False)

    def _meet_file(self, folder: Folder, path: str, name: str, row: bytes) -> None:
        if name in folder.below:
            folder.below.discard(name)
            self._forget(path)
        folder.passed.discard(name)
        if name in folder.rows or self._scope.is_meant(folder, path, name):
            self._ledger.note(folder, path, name, row)

    def _lose(self, folder: Folder, path: str, name: str) -> None:
        folder.hidden.discard(name)
        folder.passed.discard(name)
        self._ledger.note(folder, path, name, None)
        if name in folder.below:
            folder.below.discard(name)
            self._forget(path)

    def _forget(self, path: str, *, is_silent: bool = False) -> None:
        """A folder is not there any more, or not looked into."""
        left = [path]
        while left:
            path = left.pop()
            folder = self._ledger.folders.pop(path, None)
            self._stand(path, None)
            self.unreadable.discard(path)
            if folder is None:
                continue
            for name in list(folder.rows):
                inside = f"{path}/{name}"
                self._ledger.note(folder, inside, name, None, is_silent=is_silent or not self._scope.takes(inside))
            left += [f"{path}/{name}" for name in folder.below]

    # --- folders to watch --------------------------------------------------------------------------------------------

    def _stand(self, path: str, identity: Identity | None) -> None:
        at = self._absolute(path)
        if self.standing.get(at) == identity:
            return
        try:
            at.encode()
        except UnicodeEncodeError:
            self.has_unwatchable = True
            return
        self.version += 1
        if identity is None:
            del self.standing[at]
        else:
            self.standing[at] = identity

    def _absolute(self, path: str) -> str:
        return f"{self._top}/{path}" if path else self._top or "/"

    def _relative(self, path: str) -> str | None:
        if path == self._absolute(""):
            return ""
        return path[len(self._top) + 1 :] if path.startswith(f"{self._top}/") else None


class _Looking:
    """A look into one folder: what was known of it before, and what is seen now."""

    __slots__ = ("below", "folder", "hidden", "is_same_rules", "is_silent", "passed", "prefix", "seen")

    def __init__(self, folder: Folder, prefix: str, is_silent: bool, is_same_rules: bool) -> None:
        self.folder = folder
        self.prefix = prefix
        self.is_silent = is_silent
        self.is_same_rules = is_same_rules
        self.hidden, self.passed, self.below = folder.hidden, folder.passed, folder.below
        folder.hidden, folder.passed, folder.below = set(), set(), set()
        self.seen: set[str] = set()
