"""Removes folders that others have filled."""

import os
import secrets
from collections.abc import Callable
from pathlib import Path
from typing import ParamSpec

P = ParamSpec("P")


def remove_tree(top: Path) -> list[OSError]:
    """Remove a folder with all that is in it, however deep that is and whatever its modes are.

    Links are removed, not followed. What is mounted in it is left alone, with what it holds. Folders inside are moved
    up and emptied there, one after the other, so that neither the stack nor open files bound how deep it may be.

    Returns:
        What could not be removed, one error for each; nothing where all is gone.
    """
    if top.is_symlink() or not top.is_dir():
        top.unlink(missing_ok=True)
        return []
    return _Removal(top).run()


class _Removal:
    def __init__(self, top: Path) -> None:
        self._top = top
        self._token = secrets.token_hex(8)
        self._moved: list[str] = []
        self._count = 0
        self._failures: list[OSError] = []

    def run(self) -> list[OSError]:
        self._empty(str(self._top))
        while self._moved:
            folder = self._moved.pop()
            self._empty(folder)
            self._try(os.rmdir, folder)
        if not self._failures:
            self._try(os.rmdir, str(self._top))
        return self._failures

    def _empty(self, folder: str) -> None:
        self._try(os.chmod, folder, 0o700)
        try:
            with os.scandir(folder) as entries:
                found = list(entries)
        except OSError as failure:
            self._failures.append(failure)
            return
        for entry in found:
            self._try(self._remove, entry)

    def _remove(self, entry: "os.DirEntry[str]") -> None:
        if not entry.is_dir(follow_symlinks=False):
            os.unlink(entry.path)
            return
        self._count += 1
        new = str(self._top / f"{self._token}-{self._count}")
        try:
            os.rename(entry.path, new)  # refused where something is mounted
        except PermissionError:  # it may not be written, and so not be told its new parent
            os.chmod(entry.path, 0o700)
            os.rename(entry.path, new)
        self._moved.append(new)

    def _try(self, step: Callable[P, None], *args: P.args, **kwargs: P.kwargs) -> None:
        try:
            step(*args, **kwargs)
        except OSError as failure:
            self._failures.append(failure)
