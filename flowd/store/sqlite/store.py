"""`SqliteStore`: the store port on one SQLite file."""

from collections.abc import Callable
from pathlib import Path

from flowd.domain.errors import RefusedError, StorageFailedError
from flowd.domain.queueing import MAX_WAITING
from flowd.domain.trees import MAX_EVENTS
from flowd.ports.clock import Clock
from flowd.store.sql import journal
from flowd.store.sql.store import SqlStore
from flowd.store.sqlite import connection, files
from flowd.store.sqlite.connection import SqliteReader, SqliteWriter
from flowd.store.sqlite.room import Reserve, full_disk_message


class SqliteStore(SqlStore):
    """Durable memory in one SQLite file. See `flowd.ports.Store` for what every method guarantees."""

    def __init__(
        self,
        path: Path,
        *,
        max_queued: int,
        max_waiting: int = MAX_WAITING,
        max_tree_events: int = MAX_EVENTS,
        max_journal_rows: int = journal.MAX_ROWS,
        on_failure: Callable[[StorageFailedError], None] = lambda _: None,
        reserve_bytes: int = 0,
        clock: Clock | None = None,
    ) -> None:
        """Open the file, or make it; must be called in a running loop. See `SqlStore`.

        Args:
            reserve_bytes: Kept free beside the file, for ends and cancels on a full disk.
        """
        super().__init__(
            SqliteDatabase(path),
            max_queued=max_queued,
            max_waiting=max_waiting,
            max_tree_events=max_tree_events,
            max_journal_rows=max_journal_rows,
            on_failure=on_failure,
            clock=clock,
            reserve=Reserve(path.with_suffix(".reserve"), reserve_bytes) if reserve_bytes else None,
        )

    async def give_back(self, *, compact: bool) -> int:
        """See `flowd.ports.Store.give_back`."""
        before = await self._read(files.size_bytes)
        if compact:
            await self._writer.do_alone(files.compact)
        while await self._writer.do(files.give_back):
            pass
        await self._writer.do_alone(files.shrink_files)
        return max(0, before - await self._read(files.size_bytes))


class SqliteDatabase:
    """One file. See `flowd.store.sql.database.Database`."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self.is_about_storage = connection.is_about_storage
        self.translate: Callable[..., RefusedError] = connection.translate
        self.free_bytes = files.free_bytes

    def may_repeat(self, error: Exception) -> bool:  # noqa: ARG002
        """See `flowd.store.sql.database.Database.may_repeat`."""
        return False

    def open_writer(self) -> SqliteWriter:
        """See `flowd.store.sql.database.Database.open_writer`."""
        return connection.open_writer(self._path)

    def open_reader(self) -> SqliteReader:
        """See `flowd.store.sql.database.Database.open_reader`."""
        return connection.open_reader(self._path)

    def describe_full(self) -> str:
        """See `flowd.store.sql.database.Database.describe_full`."""
        return full_disk_message(self._path.parent)
