"""Connections to PostgreSQL that offer what the store uses of `sqlite3.Connection`. Nothing about events or runs.

A connection that is lost between two transactions is made again when the next one begins, and waited for as long as
`PATIENCE_S`. One that is lost in a transaction ends it: nothing of it was done. Only where that happens while it is
committed has somebody to look what became of it.
"""

import time
from collections.abc import Iterable, Sequence
from contextlib import suppress
from typing import Any

import psycopg
from psycopg import RawCursor, pq

from flowd.store.postgres.adapting import ADAPTERS
from flowd.store.postgres.address import Address
from flowd.store.postgres.dialect import translated
from flowd.store.sql import clocks
from flowd.store.sql.connection import WriteNotes

PATIENCE_S = 5.0
"""For a database that is away; then whoever asked for something is told so."""

_AGAIN_AFTER_S = 0.2
_MAX_PREPARED = 400
_HOLDING_MS = 5_000
"""How long a process that stands still may keep the others from writing."""

READ_ONLY = "25006"
"""The state of an error: a standby takes no writes."""

_READING = "SET default_transaction_isolation = 'repeatable read'; SET default_transaction_read_only = on;"
_EVERYWHERE = (
    "SET search_path = {schema}; SET client_encoding = 'UTF8'; SET jit = off; SET enable_seqscan = off;"
    "SET enable_bitmapscan = off; SET enable_sort = off; SET enable_hashjoin = off; SET enable_mergejoin = off;"
    f"SET lock_timeout = {_HOLDING_MS}; SET idle_in_transaction_session_timeout = {_HOLDING_MS};"
)
"""Each statement of the store is meant to go along an index, in its order, from row to row, as SQLite does it: plans are
made once, perhaps for tables that are empty yet."""

_WRITING = "SET plan_cache_mode = force_generic_plan;"
"""Else a claim beside a long queue is planned anew each time, which takes ten times as long as it does: the server thinks
that it is dear, as sorts are forbidden."""


class LostError(psycopg.OperationalError):
    """The connection was lost before anything was committed: the same may be done again."""


class InDoubtError(psycopg.OperationalError):
    """The connection was lost while something was committed, and it cannot be found out what became of it."""


class Outage:
    """Since when the server cannot be reached; shared by all connections to it, so that only the first of those who ask
    for something meanwhile wait in vain.

    Attributes:
        reconnects: How often one of them was made anew.
    """

    def __init__(self) -> None:
        self._since_s: float | None = None
        self.reconnects = 0

    def is_worth_waiting(self) -> bool:
        """Note that it could not be reached; whether it is worth trying again."""
        now_s = time.monotonic()
        if self._since_s is None:
            self._since_s = now_s
        return now_s < self._since_s + PATIENCE_S

    def end(self) -> None:
        """It is there."""
        self._since_s = None


class PostgresConnection:
    """A connection that reads; each of its transactions sees one snapshot, and none can write."""

    _SETTINGS = _EVERYWHERE + _READING

    def __init__(self, address: Address, outage: Outage | None = None) -> None:
        """Nothing is connected yet: the first transaction does that. ``outage`` is what others know of the server."""
        self._address = address
        self._outage = outage or Outage()
        self._raw: psycopg.Connection[Any] | None = None
        self.server_pid = -1
        """The number of the server's process that serves this connection; a pooler would tell another one."""

    @property
    def raw(self) -> "psycopg.Connection[Any]":
        """The connection itself."""
        if self._raw is None:
            raise LostError("nothing is connected")
        return self._raw

    def connect(self) -> None:
        """Make the connection, or another one.

        Raises:
            psycopg.Error: The server cannot be reached, or refuses us.
        """
        raw: psycopg.Connection[Any] = psycopg.connect(**self._address.parameters, autocommit=True, context=ADAPTERS)
        raw.prepare_threshold = 1
        raw.prepared_max = _MAX_PREPARED
        settings = self._SETTINGS.format(schema=self._address.schema)
        (self.server_pid,) = _run(raw, f"{settings}SELECT pg_backend_pid()")
        self._outage.reconnects += self._raw is not None
        self._raw = raw

    @property
    def is_lost(self) -> bool:
        """Whether nothing can be done on it any more."""
        return self._raw is None or self._raw.closed or self._raw.broken

    @property
    def in_transaction(self) -> bool:
        """Whether a transaction is under way."""
        status = self.raw.info.transaction_status
        return status in (pq.TransactionStatus.INTRANS, pq.TransactionStatus.INERROR)

    def execute(self, sql: str, parameters: Sequence[Any] = (), /) -> "RawCursor[Any]":
        """Execute a statement."""
        cursor: RawCursor[Any] = RawCursor(self.raw)
        try:
            cursor.execute(translated(sql), parameters)
        except psycopg.Error as error:
            raise self._lost(error) from error
        return cursor

    def write(self, sql: str, parameters: Sequence[Any] = (), /) -> None:
        """Execute a statement whose result nobody wants."""
        self.execute(sql, parameters)

    def executemany(self, sql: str, parameters: Iterable[Sequence[Any]], /) -> None:
        """Execute a statement once for each of these values."""
        try:
            RawCursor(self.raw).executemany(translated(sql), list(parameters))
        except psycopg.Error as error:
            raise self._lost(error) from error

    def _lost(self, error: psycopg.Error) -> psycopg.Error:
        return LostError(str(error)) if self.is_lost else error

    def begin(self) -> None:
        """Begin a transaction, on another connection where this one was lost."""
        self._begin("BEGIN")

    def _begin(self, statements: str) -> Any:
        while True:
            was_lost = self.is_lost
            try:
                if was_lost:
                    self.connect()
                begun = _run(self.raw, statements)
            except psycopg.Error as error:
                if not self.is_lost:
                    self.roll_back()
                    if error.sqlstate == READ_ONLY:
                        self.close()  # the server is a standby now, and the address may lead to another one
                    raise
                if was_lost:  # else it has only just turned out to be
                    if not self._outage.is_worth_waiting():
                        raise
                    time.sleep(_AGAIN_AFTER_S)
            else:
                self._outage.end()
                return begun

    def roll_back(self) -> None:
        """Undo what the transaction has done, and end it."""
        if not self.is_lost:
            with suppress(psycopg.Error):  # then it is undone by the server
                _run(self.raw, "ROLLBACK")

    def close(self) -> None:
        """Let go of the database."""
        if self._raw is not None:
            self._raw.close()


class PostgresWriter(PostgresConnection, WriteNotes):
    """The connection that writes. See `flowd.store.sql.connection.WriteConnection`.

    Its transactions hold the schema's lock, on whichever host, so that one after the other writes, and what a rule has
    looked at stays as it was until its commit.
    """

    _SETTINGS = _EVERYWHERE + _WRITING

    def __init__(self, address: Address, outage: Outage | None = None) -> None:
        """Connect.

        Raises:
            psycopg.Error: The server cannot be reached, or refuses us.
        """
        WriteNotes.__init__(self)
        self.total_changes = 0
        self._changes_told = 0
        self._transaction = ""
        self._unsent: list[tuple[str, Sequence[Any]]] = []
        self._server = ""
        schema = address.schema
        self._begin_all = (
            "BEGIN ISOLATION LEVEL READ COMMITTED;"
            f"SELECT pg_advisory_xact_lock({lock_key(schema)}), pg_current_xact_id()::text,"
            " (extract(epoch FROM clock_timestamp()) * 1000)::bigint"
        )
        self._tell = f"NOTIFY {channel(schema)};"
        self._identified: psycopg.Connection[Any] | None = None
        super().__init__(address, outage)
        self.connect()

    def execute(self, sql: str, parameters: Sequence[Any] = (), /) -> "RawCursor[Any]":
        """Execute a statement, after those that nobody waited for, with one answer of the server for all of them."""
        cursor = self._send(translated(sql), parameters) if self._unsent else super().execute(sql, parameters)
        if cursor.statusmessage is not None and not cursor.statusmessage.startswith("SELECT"):
            self.total_changes += cursor.rowcount
        return cursor

    def executemany(self, sql: str, parameters: Iterable[Sequence[Any]], /) -> None:
        """Execute a statement once for each of these values."""
        if self._unsent:
            self._send()
        values = list(parameters)
        self.total_changes += len(values)
        super().executemany(sql, values)

    def write(self, sql: str, parameters: Sequence[Any] = (), /) -> None:
        """Execute a statement that changes something, with the next one whose result is wanted, or with the commit."""
        self._unsent.append((translated(sql), parameters))
        self.total_changes += 1

    def _send(self, *last: Any) -> "RawCursor[Any]":
        """Execute what was not sent yet, and then this, with one answer of the server for all of it. The last cursor."""
        unsent, self._unsent = self._unsent, []
        try:
            with self.raw.pipeline():
                for statement in (*unsent, last) if last else unsent:
                    cursor: RawCursor[Any] = RawCursor(self.raw)
                    cursor.execute(*statement)
        except psycopg.Error as error:
            raise self._lost(error) from error
        return cursor

    def begin(self) -> None:
        """Begin a transaction that nobody else writes beside, on whichever host."""
        self._unsent.clear()
        (_, self._transaction, now_ms) = self._begin(self._begin_all)
        clocks.note_server_clock(self, now_ms)
        self._changes_told = self.total_changes
        if self._identified is not self._raw:
            try:
                self._server, self._identified = self._identity(), self._raw
            except psycopg.Error as error:
                raise self._lost(error) from error

    def commit(self) -> None:
        """Make durable what the transaction has done, and tell those who listen."""
        tell = self._tell if self.total_changes != self._changes_told else ""
        try:
            if self._unsent:
                self._unsent += [(tell, ())] if tell else []
                self._send("COMMIT", ())
            else:
                _run(self.raw, f"{tell}COMMIT")
        except psycopg.Error as error:
            if not self.is_lost:
                raise
            self._settle(error)

    def _settle(self, error: psycopg.Error) -> None:
        """Find out whether a commit was done whose answer was lost."""
        deadline_s = time.monotonic() + 2 * PATIENCE_S
        status: str | None = "in progress"
        while status == "in progress":
            try:
                if self.is_lost:
                    self.connect()
                if self._identity() != self._server:
                    break  # another history, in which the number may be another transaction's
                (status,) = _run(self.raw, f"SELECT pg_xact_status('{self._transaction}')")
            except psycopg.Error as again:
                error = again
            if time.monotonic() >= deadline_s:
                break
            time.sleep(0 if status != "in progress" else _AGAIN_AFTER_S)
        if status == "aborted":
            raise LostError(str(error)) from error
        if status != "committed":
            raise InDoubtError(str(error)) from error

    def _identity(self) -> str:
        """Of the server's history: another timeline begins where a standby takes over, and has numbers of transactions
        again that the one before it had. The control file would tell of it only after the next checkpoint."""
        (identity,) = _run(
            self.raw,
            "SELECT concat_ws('/', system_identifier, left(pg_walfile_name(pg_current_wal_lsn()), 8))"
            " FROM pg_control_system()",
        )
        return str(identity)


def lock_key(schema: str) -> str:
    """Of the lock that whoever writes holds, as an expression; two schemas of a database have two."""
    return f"hashtextextended('flowd {schema}', 0)"


def channel(schema: str) -> str:
    """Where commits are told."""
    return f"flowd_{schema}"


def _run(raw: "psycopg.Connection[Any]", statements: str) -> Any:
    """Execute some statements in one go, without values; the first row of the last one, if it has any."""
    cursor = raw.execute(statements, prepare=False)
    while cursor.nextset():
        pass
    return cursor.fetchone() if cursor.description else None
