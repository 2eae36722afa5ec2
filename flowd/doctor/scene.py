"""What all checks start from: the settings, the paths, and who holds which lock."""

import os
import sqlite3
from collections.abc import Iterator, Mapping
from contextlib import closing, contextmanager
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from urllib.parse import quote

from flowd.observe.processes import ProcessView, find_process
from flowd.settings.values import Settings
from flowd.state import folder as state_folder
from flowd.state.lock import is_locked, try_lock
from flowd.store.sql.connection import Connection
from flowd.store.sqlite.connection import SqliteReader
from flowd.wiring.store import reading_shared


@dataclass(frozen=True)
class Scene:
    """What the checks share: one workspace, its paths and its processes."""

    settings: Settings
    environ: Mapping[str, str]

    @property
    def folder(self) -> Path:
        """The state folder."""
        return self.settings.state_dir

    @property
    def database(self) -> Path:
        """The database file."""
        return self.folder / state_folder.DATABASE

    @property
    def keeper_folder(self) -> Path:
        """The keeper's own folder."""
        return self.folder / state_folder.KEEPER

    @cached_property
    def has_daemon(self) -> bool:
        """Whether a daemon holds the state folder's lock."""
        return is_locked(self.folder / state_folder.LOCK)

    @cached_property
    def daemon(self) -> ProcessView | None:
        """The daemon's process, where the lock's holder says who it is."""
        if not self.has_daemon:
            return None
        try:
            return find_process(int((self.folder / state_folder.LOCK).read_text(encoding="ascii")))
        except (OSError, ValueError):
            return None

    @cached_property
    def executor(self) -> str:
        """Who starts steps: as the running daemon was told, else as the settings say."""
        words = [] if self.daemon is None else " ".join(self.daemon.command_line).replace("=", " ").split()
        said = words[words.index("--executor") + 1 :] if "--executor" in words else []
        return (said or [self.step_environ.get("FLOWD_EXECUTOR") or self.settings.executor])[0]

    @cached_property
    def has_keeper(self) -> bool:
        """Whether a keeper lives. It is never connected to: it would take the doctor for its next daemon."""
        return is_locked(self.keeper_folder / "keeper.lock")

    @property
    def step_environ(self) -> Mapping[str, str]:
        """The environment that the daemon runs in, where it may be looked at; else this command's."""
        environ = None if self.daemon is None else self.daemon.environ
        return self.environ if environ is None else environ

    @contextmanager
    def reading(self) -> Iterator[Connection | None]:
        """The database to read from; None where there is none, or the shared one cannot be reached.

        Nothing is written. A database that nobody has open and that was closed properly is read as it is, without the
        files that SQLite would make beside it.

        Raises:
            sqlite3.Error: It cannot be read.
        """
        if self.settings.store is not None:
            with reading_shared(self.settings) as shared:
                yield shared
            return
        with self.reading_file() as connection:
            yield connection

    @contextmanager
    def reading_file(self) -> Iterator[SqliteReader | None]:
        """The file of the state folder; see `reading`."""
        if not self.database.is_file() or self.database.is_symlink():  # of which the check of the folder tells
            yield None
            return
        wal = self.database.with_name(f"{self.database.name}-wal")
        how = "" if self.has_daemon or wal.exists() else "&immutable=1"
        address = f"file:{quote(str(self.database))}?mode=ro{how}"
        opened = sqlite3.connect(address, uri=True, timeout=5.0, isolation_level=None, factory=SqliteReader)
        with closing(opened) as connection:
            connection.execute("PRAGMA query_only = ON")
            yield connection

    def schema_of(self, connection: Connection) -> int:
        """The version of the schema; a shared one is never older than what this flowd knows."""
        if self.settings.store is not None:
            return 1 << 31
        return int(connection.execute("PRAGMA user_version").fetchone()[0])

    @contextmanager
    def without_daemon(self) -> Iterator[bool]:
        """Keep daemons from starting meanwhile; False when one is there already."""
        descriptor = try_lock(self.folder / state_folder.LOCK)
        try:
            yield descriptor is not None
        finally:
            if descriptor is not None:
                os.close(descriptor)
