"""Inserts many rows with few statements: most of what a row costs where triggers watch its table is begun anew with each
statement, not with each row."""

from collections.abc import Iterator, Sequence
from functools import lru_cache
from itertools import chain
from typing import Any

from flowd.store.sql.connection import Connection

_AT_ONCE = 250
"""Rows in a statement. Of 24 columns they are a fifth of the values that SQLite takes in one, and with more a row costs no
less."""


def insert(db: Connection, into: str, rows: Sequence[Sequence[object]]) -> None:
    """Insert these rows, in their order.

    Args:
        into: The table and its columns, such as ``events (id, type)``.
    """
    for part in _parts(rows):
        db.write(_statement(into, len(part[0]), len(part)), _values(part))


def insert_new(db: Connection, into: str, rows: Sequence[Sequence[object]], *, returning: str) -> Iterator[Any]:
    """Insert those of these rows that no unique index forbids, in their order, as they are asked for; of each that was
    inserted the columns ``returning``."""
    for part in _parts(rows):
        sql = f"{_statement(into, len(part[0]), len(part))} ON CONFLICT DO NOTHING RETURNING {returning}"
        yield from db.execute(sql, _values(part)).fetchall()


def _parts(rows: Sequence[Sequence[object]]) -> Iterator[Sequence[Sequence[object]]]:
    return (rows[first : first + _AT_ONCE] for first in range(0, len(rows), _AT_ONCE))


def _values(rows: Sequence[Sequence[object]]) -> list[object]:
    return list(chain.from_iterable(rows))


@lru_cache(maxsize=64)
def _statement(into: str, columns: int, rows: int) -> str:
    row = f"({','.join('?' * columns)})"
    return f"INSERT INTO {into} VALUES {','.join([row] * rows)}"
