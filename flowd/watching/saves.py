"""Tells of files that were saved below some folders: by writing, by renaming another one over it, however."""

import os
from collections.abc import Callable, Collection, Iterator
from pathlib import Path

from flowd.watching.folders import Folders
from flowd.watching.watcher import Watcher

Stamp = tuple[int, int, int]
"""Modification time in ns, size and inode."""

MAX_FILES = 5_000
"""Of more, those that are found last are not watched."""

_OF_TOOLS = frozenset({"__pycache__", "node_modules", "venv"})
"""Folders that come from elsewhere, or are made by what runs."""


class Saves:
    """Calls ``on_saved`` from a thread of its own with the paths of files that were saved, made or removed since the
    last call; never for what was there at the start.

    Hidden files and folders do not count, nor those that tools make: editors keep their own there.

    Args:
        roots: Folders that are watched with all below them, whether they are there yet or not.
        also: Files elsewhere, asked for at each look.
    """

    def __init__(
        self,
        roots: Collection[Path],
        on_saved: Callable[[frozenset[str]], object],
        *,
        also: Callable[[], Collection[str]] = tuple,
    ) -> None:
        self._roots = [os.path.abspath(root) for root in roots]
        self._also = also
        self._on_saved = on_saved
        self._folders: dict[str, frozenset[str] | None] = {}
        self._stamps = self._look()
        self._watcher = Watcher(self._tell, self._watched, name="saves")

    def start(self) -> None:
        """Begin to watch. A save since this object was made is told, too."""
        self._watcher.start()

    def stop(self) -> None:
        """See `Watcher.stop`."""
        self._watcher.stop()

    def _watched(self) -> Folders:
        return self._folders

    def _tell(self) -> bool:
        before, self._stamps = self._stamps, self._look()
        saved = {path for path, stamp in self._stamps.items() if before.get(path) != stamp} | (
            before.keys() - self._stamps.keys()
        )
        if saved:
            self._on_saved(frozenset(saved))
        return bool(saved)

    def _look(self) -> dict[str, Stamp]:
        folders: dict[str, frozenset[str] | None] = {}
        stamps: dict[str, Stamp] = {}
        for root in self._roots:
            folders[root] = None
            folders.setdefault(os.path.dirname(root), frozenset({os.path.basename(root)}))
            for path in _files(root, folders, follows=True):
                if len(stamps) >= MAX_FILES:
                    break
                _note(stamps, path)
        for path in self._also():
            _note(stamps, path)
            folder, name = os.path.split(path)
            if (names := folders.get(folder, frozenset())) is not None:
                folders[folder] = names | {name}
        self._folders = folders
        return stamps


def _note(stamps: dict[str, Stamp], path: str) -> None:
    try:
        status = os.stat(path)
    except OSError:
        return
    stamps[path] = (status.st_mtime_ns, status.st_size, status.st_ino)


def _files(root: str, folders: dict[str, frozenset[str] | None], *, follows: bool) -> Iterator[str]:
    """The files below a folder, whose folders are noted. Links to folders are followed directly below it only, as
    packages may be such: deeper ones may lead in a circle."""
    try:
        listed = sorted(os.scandir(root), key=lambda entry: entry.name)
    except OSError:
        return
    for entry in listed:
        if entry.name.startswith(".") or entry.name in _OF_TOOLS:
            continue
        if not entry.is_dir():
            yield entry.path
        elif follows or not entry.is_symlink():
            folders[entry.path] = None
            yield from _files(entry.path, folders, follows=False)
