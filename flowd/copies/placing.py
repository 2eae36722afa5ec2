"""Puts a state that was made beside a state folder's own into its place, at once, and what was there aside.

What is being made lies in a folder of its own until it is whole. Where a crash leaves neither the old database nor the
new one in its place, no daemon starts (`flowd.state.folder.prepare`), and doing it again ends it.
"""

import os
import sqlite3
from contextlib import closing, suppress
from pathlib import Path

from flowd.copies.conditions import has_history
from flowd.domain.errors import StateError
from flowd.state import files, removal
from flowd.state import folder as state_folder
from flowd.state.folder import DATABASE, DRAFT, KEEPER, OUTPUT, ROUNDS
from flowd.store.sqlite.bulk import SqliteBulk
from flowd.store.sqlite.connection import SqliteReader

_BESIDE = ("-wal", "-shm")


class Draft:
    """A folder in a state folder, in which another state is made. Empty at first."""

    def __init__(self, state_dir: Path) -> None:
        """The caller has the state folder's lock. What an earlier try has left is removed.

        Raises:
            OSError: It cannot be made.
        """
        self._state_dir = state_dir
        self._folder = state_dir / DRAFT
        self.remove()
        self._folder.mkdir(mode=0o700)
        self.output.mkdir(mode=0o700)

    @property
    def database(self) -> Path:
        """Where its database is to be made."""
        return self._folder / DATABASE

    @property
    def output(self) -> Path:
        """Where its output files are to be made."""
        return self._folder / OUTPUT

    def remove(self) -> None:
        """Forget it."""
        if os.path.lexists(self._folder) and (failures := removal.remove_tree(self._folder)):
            raise failures[0]

    def add_output(self) -> None:
        """Move its output files to those that are there. Of a name that is there, the longer file stays."""
        target = self._state_dir / OUTPUT
        for entry in sorted(self.output.iterdir()):
            there = target / entry.name
            with suppress(FileNotFoundError):
                if there.lstat().st_size >= entry.lstat().st_size:
                    continue
            _sync(entry)
            entry.replace(there)
        _sync(target)

    def take_place(self, *, with_processes: bool) -> Path | None:
        """Put its database into its place. What was there goes aside; where that is, None where nothing was.

        Args:
            with_processes: What is known of processes goes aside, too, and so does all output: it is another past.
        """
        _sync(self.database)
        aside = self._aside()
        taken = [KEEPER, ROUNDS, OUTPUT] if with_processes else []
        moved = [name for name in (DATABASE, *(DATABASE + end for end in _BESIDE), *taken) if self._is_any(name)]
        if moved:
            aside.mkdir(mode=0o700)
        for name in moved:
            (self._state_dir / name).rename(aside / name)
        for name in (OUTPUT, KEEPER):
            (self._state_dir / name).mkdir(mode=0o700, exist_ok=True)
        self.add_output()
        self.database.rename(self._state_dir / DATABASE)
        _sync(self._state_dir)
        self.remove()
        return aside if moved else None

    def _is_any(self, name: str) -> bool:
        path = self._state_dir / name
        return any(path.iterdir()) if path.is_dir() else os.path.lexists(path)

    def _aside(self) -> Path:
        return next(
            path for number in range(1, 10_000) if not os.path.lexists(path := self._state_dir / f"replaced-{number}")
        )


def history_of(state_dir: Path) -> str | None:
    """What the database of a state folder has that must not be overwritten, for people; None where there is none, or it
    is as good as new.

    Raises:
        StateError: It cannot be read, so it is not known what it has.
    """
    path = state_dir / DATABASE
    if not path.exists():
        return None
    try:
        with closing(
            sqlite3.connect(f"{path.as_uri()}?mode=rw", uri=True, isolation_level=None, factory=SqliteReader)
        ) as db:
            if "events" not in SqliteBulk(db).shapes():
                return None
            return has_history(db)
    except sqlite3.Error as error:
        raise StateError(
            f"Cannot read {path} ({error}), so what it has is not known. Move it aside, or say --replace."
        ) from error


def prepare(state_dir: Path, workspace: Path) -> None:
    """Make a state folder, or check it, whatever an earlier try has left there.

    Raises:
        StateError: It cannot be used.
    """
    state_folder.prepare(state_dir, workspace, is_replaced=True)


def _sync(path: Path) -> None:
    files.sync(files.open_own(path, os.O_RDONLY))
