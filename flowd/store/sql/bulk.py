"""Copies all rows of one database into another one, table by table: whatever both have, by its columns' names.

So a table, or a column, that a migration adds to both is copied without a line here. What is not copied as rows stands
in `LEFT_OUT` and `LEFT_OUT_COLUMNS`, with the reason.
"""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple, Protocol

from flowd.store.sql.connection import Connection

Row = Sequence[Any]

LEFT_OUT: dict[str, str] = {
    "about": "it tells which flowd made this very file",
    "schema_version": "it tells which flowd made this very schema",
    "hosts": "which daemons there are now; each tells of itself when it is started",
    "host_abilities": "what these can start now; they tell that, too",
    "host_packages": "which packages these have; they tell that, too",
    "host_notifiers": "whom these tell; they tell that, too",
    "output_chunks": "output goes as such: in files beside a file, in chunks in a schema that hosts share",
    "output_wanted": "who reads what is being printed right now",
    "output_left": "files that hosts have still to remove; what they are of is not there any more",
    "tallies": "they are told by the views counts and ready_numbers, and set through these",
}
"""Tables of either database that are not copied, and why."""

LEFT_OUT_COLUMNS: dict[tuple[str, str], str] = {
    ("attempts", "host_id"): "whose lease it is; of leases none is copied",
    ("attempts", "session"): "the same",
    ("attempts", "lost_after_ms"): "the same",
    ("attempts", "lease_until_ms"): "the same",
}
"""Columns that one of the databases has alone, and why they need not be copied."""

COUNTED = ("counts", "ready_numbers")
"""Numbers that triggers keep. They are set at the end, to what they are where the rows come from."""

_FIRST = ("events", "runs")
"""What triggers count into other tables, which are therefore emptied and filled after these."""


class Shape(NamedTuple):
    """What a table has.

    Attributes:
        key: The columns of its primary key, in their order.
    """

    columns: tuple[str, ...]
    key: tuple[str, ...]


class Bulk(Protocol):
    """A database, inside a transaction, for who reads or writes all of it."""

    @property
    def db(self) -> Connection:
        """For plain statements."""
        ...

    def shapes(self) -> Mapping[str, Shape]:
        """Its tables and views, by name."""
        ...

    def rows(self, table: str, columns: Sequence[str]) -> Iterator[Row]:
        """All rows of a table, in the order of its key, with no more of them in memory than a few."""
        ...

    def insert(self, table: str, columns: Sequence[str], rows: Iterable[Row]) -> None:
        """Insert rows, with the numbers that they have."""
        ...

    def settle(self, tables: Iterable[str]) -> None:
        """Let the numbers that the database itself gives in these tables go on after those that are there."""
        ...


@dataclass(frozen=True, slots=True)
class HostNames:
    """How hosts are called on the other side: a database that one daemon has alone calls it nothing.

    Attributes:
        names: What becomes of names, by name.
        keeps_others: Rows of other hosts stay as they are, in tables whose key has the host; else they are left out.
    """

    names: Mapping[str, str]
    keeps_others: bool = True

    def of(self, name: str) -> str | None:
        """A host's name on the other side; None where its rows are left out."""
        return self.names.get(name, name if self.keeps_others else None)


class Plan(NamedTuple):
    """What is copied: these columns of these tables, in this order."""

    tables: Mapping[str, tuple[str, ...]]
    keys: Mapping[str, tuple[str, ...]]


OnProgress = Callable[[str, int], None]
"""``(what, how many more of it)``."""


def plan(source: Mapping[str, Shape], target: Mapping[str, Shape]) -> Plan:
    """What can be copied from one database into the other: the tables that both have, with the columns that both have."""
    both = [name for name in source if name in target and name not in LEFT_OUT and name not in COUNTED]
    ordered = sorted(both, key=lambda name: (_FIRST.index(name) if name in _FIRST else len(_FIRST), name))
    tables = {
        name: tuple(column for column in source[name].columns if column in target[name].columns) for name in ordered
    }
    return Plan(tables, {name: target[name].key for name in ordered})


def counts(bulk: Bulk, tables: Iterable[str]) -> dict[str, int]:
    """How many rows tables have."""
    return {name: int(bulk.db.execute(f"SELECT count(*) FROM {name}").fetchone()[0]) for name in tables}


def copy(source: Bulk, target: Bulk, hosts: HostNames, on_progress: OnProgress) -> dict[str, int]:
    """Copy everything, inside the transactions of both sides; the target has no events. How many rows each table has.

    Raises:
        DifferenceError: What is there afterwards is not what was copied.
    """
    todo = plan(source.shapes(), target.shapes())
    copied: dict[str, int] = {}
    for table, columns in todo.tables.items():
        target.db.execute(f"DELETE FROM {table}")
        told = _Told(_renamed(table, columns, todo.keys[table], source.rows(table, columns), hosts), table, on_progress)
        target.insert(table, columns, told)
        copied[table] = told.count
    for table in COUNTED:
        _set_counted(source.db, target.db, table)
    target.settle(todo.tables)
    _compare(copied, counts(target, todo.tables))
    return copied


class DifferenceError(Exception):
    """What is there after a copy is not what was copied, which is a fault of flowd, or of what stores it."""


def _renamed(
    table: str, columns: Sequence[str], key: Sequence[str], rows: Iterator[Row], hosts: HostNames
) -> Iterator[Row]:
    """Rows with the names that hosts have on the other side."""
    if "host" in key:
        place = columns.index("host")
        for row in rows:
            name = hosts.of(row[place])
            if name is not None:
                yield (*row[:place], name, *row[place + 1 :])
    elif table == "attempts":
        place = columns.index("host")
        nameless = hosts.names.get("")
        for row in rows:
            yield row if row[place] is not None else (*row[:place], nameless, *row[place + 1 :])
    else:
        yield from rows


def _set_counted(source: Connection, target: Connection, table: str) -> None:
    if table == "counts":
        for name, number in source.execute("SELECT name, n FROM counts").fetchall():
            target.execute("UPDATE counts SET n = ? WHERE name = ?", (number, name))
    else:
        target.execute("UPDATE ready_numbers SET last = ?", source.execute("SELECT last FROM ready_numbers").fetchone())


def _compare(copied: Mapping[str, int], found: Mapping[str, int]) -> None:
    wrong = [f"{name} {found[name]} instead of {count}" for name, count in copied.items() if found[name] != count]
    if wrong:
        raise DifferenceError(f"rows: {', '.join(wrong)}")


class _Told:
    """Rows that are counted as they go by."""

    def __init__(self, rows: Iterator[Row], table: str, on_progress: OnProgress) -> None:
        self.count = 0
        self._rows = rows
        self._table = table
        self._on_progress = on_progress

    def __iter__(self) -> Iterator[Row]:
        told = 0
        for row in self._rows:
            self.count += 1
            if self.count - told >= _TELL_EVERY:
                self._on_progress(self._table, self.count - told)
                told = self.count
            yield row
        self._on_progress(self._table, self.count - told)


_TELL_EVERY = 500
