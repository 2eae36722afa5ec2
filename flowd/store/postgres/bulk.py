"""`PostgresBulk`: all rows of a schema, read or written in one go. See `flowd.store.sql.bulk.Bulk`."""

from collections.abc import Iterable, Iterator, Sequence
from contextlib import closing, contextmanager
from typing import Any

import psycopg

from flowd.store.postgres import errors, schema
from flowd.store.postgres.address import Address
from flowd.store.postgres.connection import PostgresConnection, PostgresWriter
from flowd.store.postgres.store import PostgresDatabase
from flowd.store.sql.bulk import Row, Shape

_AT_ONCE = 50
"""Rows that are fetched at once: each may have a payload."""

_PATIENT = (
    "SET lock_timeout = '60s'; SET idle_in_transaction_session_timeout = '1h';"
    "SET enable_seqscan = on; SET enable_bitmapscan = on; SET enable_sort = on; SET enable_hashjoin = on;"
    "SET plan_cache_mode = auto"
)
"""For a transaction that lasts, with statements that want whole tables."""

_SHAPES = (
    "SELECT c.relname, a.attname, coalesce(array_position(i.indkey::smallint[], a.attnum), -1) FROM pg_class c"
    " JOIN pg_attribute a ON a.attrelid = c.oid AND a.attnum > 0 AND NOT a.attisdropped"
    " LEFT JOIN pg_index i ON i.indrelid = c.oid AND i.indisprimary"
    " WHERE c.relkind IN ('r', 'v') AND c.relnamespace = current_schema()::regnamespace ORDER BY c.relname, a.attnum"
)
_NUMBERED = (
    "SELECT a.attname, pg_get_serial_sequence(c.relname, a.attname) FROM pg_class c JOIN pg_attribute a ON a.attrelid = c.oid"
    " WHERE c.relnamespace = current_schema()::regnamespace AND c.relname = %s AND a.attidentity <> ''"
)


class PostgresBulk:
    """A schema, inside a transaction of the connection."""

    def __init__(self, db: PostgresConnection) -> None:
        self.db = db

    def shapes(self) -> dict[str, Shape]:
        """See `Bulk.shapes`."""
        columns: dict[str, list[str]] = {}
        keys: dict[str, list[tuple[int, str]]] = {}
        for table, column, place in self._ask(_SHAPES):
            columns.setdefault(table, []).append(column)
            if place >= 0:
                keys.setdefault(table, []).append((place, column))
        return {
            name: Shape(tuple(columns[name]), tuple(column for _, column in sorted(keys.get(name, []))))
            for name in columns
        }

    def rows(self, table: str, columns: Sequence[str]) -> Iterator[Row]:
        """See `Bulk.rows`."""
        key = ", ".join(self.shapes()[table].key)
        order = f" ORDER BY {key}" if key else ""
        self._ask(f"DECLARE all_of_{table} NO SCROLL CURSOR FOR SELECT {', '.join(columns)} FROM {table}{order}")
        while found := self._ask(f"FETCH FORWARD {_AT_ONCE} FROM all_of_{table}"):
            yield from found
        self._ask(f"CLOSE all_of_{table}")

    def insert(self, table: str, columns: Sequence[str], rows: Iterable[Row]) -> None:
        """See `Bulk.insert`."""
        with self.db.raw.cursor() as cursor, cursor.copy(f"COPY {table} ({', '.join(columns)}) FROM STDIN") as copy:
            for row in rows:
                copy.write_row(row)
        if isinstance(self.db, PostgresWriter):
            self.db.total_changes += 1  # others are told

    def settle(self, tables: Iterable[str]) -> None:
        """See `Bulk.settle`. By taking numbers, where we may not set the next one."""
        for table in tables:
            for column, sequence in self._ask(_NUMBERED, table):
                ((last,),) = self._ask(f"SELECT coalesce(max({column}), 0) FROM {table}")
                ((may_set,),) = self._ask("SELECT has_sequence_privilege(%s, 'UPDATE')", sequence)
                if last and may_set:
                    self._ask("SELECT setval(%s, %s)", sequence, last)
                elif last:
                    self._ask(
                        "SELECT max(nextval(%s)) FROM generate_series(nextval(%s) + 1, %s)", sequence, sequence, last
                    )

    def _ask(self, statement: str, *values: Any) -> list[Any]:
        cursor = self.db.raw.execute(statement, values or None, prepare=False)
        return cursor.fetchall() if cursor.description else []


@contextmanager
def reading(address: Address) -> Iterator[PostgresBulk]:
    """All of a schema as it is now, whatever is written meanwhile.

    Raises:
        StateError: It cannot be used.
        RefusedError: It went away.
    """
    db = PostgresConnection(address)
    try:
        db.connect()
    except psycopg.Error as error:
        raise errors.at_start(error, address) from error
    with closing(db):
        try:
            schema.refuse_unusable(db.raw, address)
            _be_patient(db)
            db.begin()
            yield PostgresBulk(db)
        except psycopg.Error as error:
            raise errors.translate(error, address, is_reading=True) from error


@contextmanager
def filling(address: Address, *, is_dry: bool = False) -> Iterator[PostgresBulk]:
    """A schema in one transaction beside which nobody else writes. It is committed at the end, or undone where anything
    failed, or the run is a dry one.

    Raises:
        StateError: It cannot be used.
        RefusedError: It went away, or refused something. Nothing was stored.
    """
    with closing(PostgresDatabase(address).open_writer()) as db:
        try:
            _be_patient(db)
            db.begin()
            yield PostgresBulk(db)
            if not is_dry:
                db.commit()
        except psycopg.Error as error:
            raise errors.translate(error, address) from error
        finally:
            if not db.is_lost and db.in_transaction:
                db.roll_back()


def _be_patient(db: PostgresConnection) -> None:
    cursor = db.raw.execute(_PATIENT, prepare=False)
    while cursor.nextset():
        pass
