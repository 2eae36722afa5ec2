"""`PostgresStore`: the store port on a schema of a PostgreSQL database."""

from collections.abc import Callable

import psycopg

from flowd.domain.errors import RefusedError, StorageFailedError
from flowd.domain.queue_view import StepQueue
from flowd.domain.queueing import MAX_WAITING
from flowd.domain.trees import MAX_EVENTS
from flowd.ports.clock import Clock
from flowd.store.postgres import errors, pooler, schema
from flowd.store.postgres.address import Address
from flowd.store.postgres.connection import Outage, PostgresConnection, PostgresWriter
from flowd.store.postgres.output_shelf import PostgresShelf
from flowd.store.sql import journal
from flowd.store.sql.connection import Connection
from flowd.store.sql.depths import to_start
from flowd.store.sql.store import SqlStore


class PostgresStore(SqlStore):
    """Durable memory in a schema of a PostgreSQL database. See `flowd.ports.Store` for what every method guarantees."""

    def __init__(
        self,
        address: Address,
        *,
        max_queued: int,
        max_waiting: int = MAX_WAITING,
        max_tree_events: int = MAX_EVENTS,
        max_journal_rows: int = journal.MAX_ROWS,
        on_failure: Callable[[StorageFailedError], None] = lambda _: None,
        clock: Clock | None = None,
    ) -> None:
        """Connect; must be called in a running loop. See `SqlStore`."""
        self._database_outage = Outage()
        super().__init__(
            PostgresDatabase(address, self._database_outage),
            max_queued=max_queued,
            max_waiting=max_waiting,
            max_tree_events=max_tree_events,
            max_journal_rows=max_journal_rows,
            on_failure=on_failure,
            clock=clock,
        )
        self._shelf = PostgresShelf(read=self._read, write=self._writer.do)
        self._asked = 0

    def _now_ms(self, db: Connection, at_ms: int) -> int:  # noqa: ARG002 - that is this host's clock
        """By the server's clock."""
        (now_ms,) = db.execute("SELECT server_ms()").fetchone()
        return int(now_ms)

    @property
    def output_shelf(self) -> PostgresShelf:
        """See `flowd.ports.OpenStore.output_shelf`."""
        return self._shelf

    @staticmethod
    def _count_steps(db: Connection) -> list[StepQueue]:
        return to_start(db)

    @property
    def reconnects(self) -> int | None:
        """See `flowd.ports.OpenStore.reconnects`."""
        return self._database_outage.reconnects

    @property
    def commits(self) -> int:
        """See `flowd.ports.Store.commits`."""
        self._asked += 1
        return self._asked

    async def give_back(self, *, compact: bool) -> int:  # noqa: ARG002
        """See `flowd.ports.Store.give_back`. Autovacuum does that, for what is stored next: nothing is given back here."""
        return 0


class PostgresDatabase:
    """A schema of a database. See `flowd.store.sql.database.Database`."""

    def __init__(self, address: Address, outage: Outage | None = None) -> None:
        self._address = address
        self._outage = outage or Outage()
        self.is_about_storage = errors.is_about_storage
        self.may_repeat = errors.may_repeat

    def open_writer(self) -> PostgresWriter:
        """See `flowd.store.sql.database.Database.open_writer`."""
        try:
            connection = PostgresWriter(self._address, self._outage)
            try:
                schema.refuse_unusable(connection.raw, self._address)
                pooler.refuse_useless(connection.raw, connection.server_pid, self._address)
            except BaseException:
                connection.close()
                raise
        except psycopg.Error as error:
            raise errors.at_start(error, self._address) from error
        return connection

    def open_reader(self) -> PostgresConnection:
        """See `flowd.store.sql.database.Database.open_reader`."""
        return PostgresConnection(self._address, self._outage)

    def translate(self, error: Exception, *, is_reading: bool = False) -> RefusedError:
        """See `flowd.store.sql.database.Database.translate`."""
        return errors.translate(error, self._address, is_reading=is_reading)

    def describe_full(self) -> str:
        """See `flowd.store.sql.database.Database.describe_full`."""
        return f"The disk of the database {self._address} is full; nothing was stored. Free some space and try again."

    def free_bytes(self, db: Connection) -> int:  # noqa: ARG002
        """See `flowd.store.sql.database.Database.free_bytes`. The server does not tell."""
        return 0
