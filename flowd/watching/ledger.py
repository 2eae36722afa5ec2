"""The files that are known, and what has become of each since it was told."""

import os
import time
from collections.abc import Iterator
from dataclasses import dataclass, field

from flowd.domain.watches import Change
from flowd.watching.folders import Identity
from flowd.watching.ignoring import Ignoring
from flowd.watching.rows import LOST, modified_ns

_TICK_NS = 50_000_000
"""Two writes within a tick of the file system's clock leave the same times; most tick every 4 ms."""

_AGAIN = b""
"""In place of what was told of a file that may have changed since, though nothing about it shows that."""


@dataclass(slots=True)
class Folder:
    """A folder that is looked into.

    Attributes:
        rows: Of the files that are meant, by name.
        below: Names of the folders in it that are looked into.
        hidden: Names of the files that are ignored, and ``passed`` of the folders.
        rules: What is ignored in it.
        is_visited: It was looked at, and not only remembered.
    """

    identity: Identity | None = None
    rows: dict[str, bytes] = field(default_factory=dict)
    below: set[str] = field(default_factory=set)
    hidden: set[str] = field(default_factory=set)
    passed: set[str] = field(default_factory=set)
    rules: Ignoring | None = None
    is_visited: bool = False


@dataclass(frozen=True, slots=True)
class Changed:
    """What has become of a file. ``row`` is `LOST` where it is gone."""

    path: str
    change: Change
    row: bytes


class Ledger:
    """Folders with their files, and what of them is still to be told.

    Attributes:
        files: How many are known.
        edits: Grows with each change of what is to be told.
        silent_edits: Grows with each file that comes into view or leaves it without a change.
    """

    def __init__(self) -> None:
        self.folders: dict[str, Folder] = {}
        self.files = 0
        self.edits = 0
        self.silent_edits = 0
        self._pending: dict[str, bytes | None] = {}
        self._fresh: dict[str, bytes] = {}

    @property
    def size(self) -> int:
        """How many files and folders are known."""
        return self.files + len(self.folders)

    def __bool__(self) -> bool:
        """Whether there is anything to tell."""
        return bool(self._pending)

    def remember(self, path: str, row: bytes) -> None:
        """A file was told so, by an earlier daemon."""
        at, name = os.path.split(path)
        folder = self.folders.get(at)
        if folder is None:
            folder = self.folders[at] = Folder()
            while at:
                at, below = os.path.split(at)
                self.folders.setdefault(at, Folder()).below.add(below)
        self.files += name not in folder.rows
        folder.rows[name] = row

    def told(self) -> Iterator[tuple[str, bytes]]:
        """All files as they were told."""
        pending = self._pending
        for path, folder in self.folders.items():
            prefix = f"{path}/" if path else ""
            for name, row in folder.rows.items():
                told = pending.get(prefix + name, row) if pending else row
                if told is not None:
                    yield prefix + name, told or row
        for path, told in pending.items():
            if told and self._row(path) is None:
                yield path, told

    def folder(self, path: str) -> Folder:
        """The folder, which is known from now on."""
        found = self.folders.get(path)
        if found is None:
            found = self.folders[path] = Folder()
        return found

    def note(self, folder: Folder, path: str, name: str, row: bytes | None, *, is_silent: bool = False) -> None:
        """A file is now so, or gone; ``is_silent`` where that is no change of the file."""
        was = folder.rows.get(name)
        if row == was:
            if row is not None and not is_silent and self._fresh.get(path) == row:
                self._pending.setdefault(path, _AGAIN)
                self.edits += 1
            return
        if row is None:
            del folder.rows[name]
            self.files -= 1
        else:
            self.files += was is None
            folder.rows[name] = row
        if is_silent:
            self._pending.pop(path, None)
            self.silent_edits += 1
            return
        self.edits += 1
        if path not in self._pending:
            self._pending[path] = was
        elif self._pending[path] == row:
            del self._pending[path]

    def peek(self) -> list[Changed]:
        """What is to be told, sorted by path."""
        return [self._changed(path, told) for path, told in sorted(self._pending.items(), key=lambda item: item[0])]

    def take(self, *, is_quiet: bool) -> list[Changed]:
        """What is to be told, sorted by path; it counts as told from now on.

        Args:
            is_quiet: Nothing changes any more. Else a file that was modified just now may be modified again within
                the same tick of its file system's clock, so that the next report of it counts whatever its times are.
        """
        changes = self.peek()
        self._pending = {}
        self._fresh = {}
        if not is_quiet:
            newest_ns = time.time_ns() - _TICK_NS
            self._fresh = {it.path: it.row for it in changes if it.row != LOST and modified_ns(it.row) > newest_ns}
        return changes

    def _changed(self, path: str, told: bytes | None) -> Changed:
        row = self._row(path)
        if row is None:
            return Changed(path, "deleted", LOST)
        return Changed(path, "added" if told is None else "modified", row)

    def _row(self, path: str) -> bytes | None:
        at, name = os.path.split(path)
        folder = self.folders.get(at)
        return None if folder is None else folder.rows.get(name)
