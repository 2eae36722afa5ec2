"""How a list of runs is read: by which index, and how far in one go.

Filters that have an index are each a way to read the list by. The one that reaches back furthest with the same number of
entries is taken, and the others are asked of each run that it comes to. Only so many are looked at in one go.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import NamedTuple

from flowd.domain.errors import InvalidParamsError
from flowd.domain.filters import RunFilter
from flowd.store.sql.connection import Connection
from flowd.store.sql.spans import Part

MAX_LOOKED_AT = 1000
"""Runs in one go, which lie all over the table: a millisecond or two, some more where the disk is asked."""

Values = tuple[object, ...]


class Term(NamedTuple):
    """A condition on the run ``r``."""

    sql: str
    values: Values = ()


@dataclass(frozen=True, slots=True)
class Way:
    """An order to read runs in: those of an index that fit a term, the newest first.

    Attributes:
        source: What stands behind FROM.
        seq: The column that it goes by.
        term: A literal where the index is partial, because SQLite needs one then.
    """

    source: str
    seq: str
    term: Term

    def within(self, part: Part) -> Term:
        """The condition of the way in a part of the list."""
        between = f"{self.seq} >= ? AND {self.seq} < ?"
        sql = f"{self.term.sql} AND {between}" if self.term.sql else between
        return Term(sql, (*self.term.values, *part))


def by_index(name: str, sql: str, *values: object) -> Way:
    """The way along an index of runs."""
    return Way(f"runs r INDEXED BY {name}", "r.seq", Term(sql, values))


ALL = Way("runs r NOT INDEXED", "r.seq", Term(""))
"""All runs."""


@dataclass(frozen=True, slots=True)
class Asked:
    """One filter: its condition, and the ways that lead to all runs that meet it, each along one index; none where there
    is no index. Several ways may lead to some run twice, and to some that do not meet it."""

    term: Term
    ways: tuple[Way, ...] = ()


def asked(where: RunFilter) -> list[Asked]:
    """The filters of a list, without its times."""
    together = _flow_and_status(where.flow, where.status)
    apart = [*_plain("flow_name", "runs_by_flow", where.flow), *_status(where.status)]
    return [
        *_event(where.event_id),
        *(together or apart),
        *_plain("step_name", "runs_by_step", where.step),
        *_plain("reason", "runs_by_reason", where.reason),
        *(_label(name, value) for name, value in where.labels),
        *_host(where.host),
    ]


def _event(event_id: str | None) -> Iterator[Asked]:
    if event_id is not None:
        sql = "r.event_seq = (SELECT seq FROM events WHERE id = ?)"
        yield Asked(Term(sql, (event_id,)), (by_index("runs_by_event", sql, event_id),))


def _plain(column: str, index: str, value: str | None) -> Iterator[Asked]:
    if value is not None:
        sql = f"r.{column} = ?"
        yield Asked(Term(sql, (value,)), (by_index(index, sql, value),))


def _label(name: str, value: str) -> Asked:
    # CROSS JOIN: SQLite keeps to this order.
    source = "labels l CROSS JOIN runs r ON r.seq = l.run_seq"
    way = Way(source, "l.run_seq", Term("l.name = ? AND l.value = ?", (name, value)))
    has = "EXISTS (SELECT 1 FROM labels WHERE name = ? AND value = ? AND run_seq = r.seq)"
    return Asked(Term(has, (name, value)), (way,))


def _host(host: str | None) -> Iterator[Asked]:
    if host is None:
        return
    source = "attempts a INDEXED BY attempts_by_host CROSS JOIN runs r ON r.seq = a.run_seq"
    # Each run once: by the first of its attempts there.
    first = (
        "a.host = ? AND a.host IS NOT NULL AND NOT EXISTS (SELECT 1 FROM attempts b"
        " WHERE b.run_seq = a.run_seq AND b.number < a.number AND b.host = a.host)"
    )
    has = "EXISTS (SELECT 1 FROM attempts b WHERE b.run_seq = r.seq AND b.host = ?)"
    yield Asked(Term(has, (host,)), (Way(source, "a.run_seq", Term(first, (host,))),))


class _Ends(NamedTuple):
    """How a status is looked for. Literals, because partial indexes need them.

    Attributes:
        sql: What it means.
        process: The process status of some of its runs, where these are in an index.
        result: The result status of the others, likewise.
    """

    sql: str
    process: str | None = None
    result: str | None = None


_STATUSES = {
    "queued": _Ends("r.status = 'queued'", process="queued"),
    "running": _Ends("r.status = 'running'", process="running"),
    # The process was canceled, or the question that it had ended with.
    "canceled": _Ends("(r.status = 'canceled' OR r.result_status = 'canceled')", "canceled", "canceled"),
    "completed": _Ends("r.status = 'completed'"),  # as most runs have, so that no index is kept for it
    # The process failed, or it completed and said that it failed.
    "failed": _Ends(
        "(r.status = 'failed' OR r.status = 'completed' AND r.result_status = 'failed')", "failed", "failed"
    ),
    **{
        said: _Ends(f"r.result_status = '{said}'", result=said)
        for said in ("skipped", "changed", "needs_intervention", "blocked")
    },
}

_ACTIVE = "r.status IN ('queued', 'running')"
_ENDED_BADLY = "r.status IN ('failed', 'canceled')"
_TOLD = "r.result_status IN ('failed', 'skipped', 'blocked', 'needs_intervention', 'canceled')"
"""As the partial indexes have them."""


def ended(status: str) -> str:
    """That the run ``r`` has this status, as lists mean it."""
    return _ends(status).sql


def _status(status: str | None) -> Iterator[Asked]:
    if status is None:
        return
    ends = _ends(status)
    ways = []
    if ends.process in ("queued", "running"):
        ways.append(by_index("runs_active", f"r.status = '{ends.process}' AND {_ACTIVE}"))
    elif ends.process is not None:
        ways.append(by_index("runs_ended_badly", f"r.status = '{ends.process}' AND {_ENDED_BADLY}"))
    if ends.result is not None:
        ways.append(by_index("runs_by_result", f"r.result_status = '{ends.result}'"))
    yield Asked(Term(ends.sql), tuple(ways))


def _flow_and_status(flow: str | None, status: str | None) -> list[Asked]:
    """Both at once, by the indexes that have both; nothing where these do not have the status."""
    if flow is None or status is None or status in ("queued", "running", "completed", "changed"):
        return []
    ends = _ends(status)
    ways = []
    if ends.process is not None:
        of_flow = f"r.flow_name = ? AND r.status = '{ends.process}' AND {_ENDED_BADLY}"
        ways.append(by_index("runs_of_flow_ended_badly", of_flow, flow))
    if ends.result is not None:
        of_flow = f"r.flow_name = ? AND r.result_status = '{ends.result}' AND {_TOLD}"
        ways.append(by_index("runs_of_flow_by_result", of_flow, flow))
    return [Asked(Term(f"r.flow_name = ? AND {ends.sql}", (flow,)), tuple(ways))]


def _ends(status: str) -> _Ends:
    if status not in _STATUSES:
        raise InvalidParamsError(
            f"Unknown status {status[:40]!r}: it is a process status (queued, running, completed, failed, canceled) "
            f"or a result status (skipped, completed, changed, needs_intervention, blocked, failed).",
            param="status",
        )
    return _STATUSES[status]


def conditions(where: RunFilter) -> Term:
    """All filters in one, for lists that have an order of their own: it begins with AND, or is empty."""
    terms = [one.term for one in asked(where)]
    return Term("".join(f" AND {term.sql}" for term in terms), tuple(value for term in terms for value in term.values))


def last_looked_at(db: Connection, entries: str, *values: object) -> int | None:
    """Where one go along a list ends that goes upwards; None where it comes to the end.

    Args:
        entries: What stands behind ``SELECT r.seq``; its values come first in ``values``.
    """
    found = db.execute(
        f"SELECT r.seq {entries} ORDER BY r.seq LIMIT 1 OFFSET ?", (*values, MAX_LOOKED_AT - 1)
    ).fetchone()
    return None if found is None else int(found[0])


@dataclass(frozen=True, slots=True)
class Chosen:
    """The filter whose ways are read.

    Attributes:
        by: Its place among the filters; None where all runs are read.
        floor: Where one go ends: what has a lower number is not looked at. None where it comes to the end.
        count: How many entries it comes to by then.
    """

    by: int | None
    floor: int | None
    count: int

    @property
    def rank(self) -> tuple[int, int]:
        """The lower, the better: how far it reaches, and then how many entries it takes."""
        return (-(1 << 63) if self.floor is None else self.floor), self.count


def choose(db: Connection, filters: Sequence[Asked], part: Part) -> Chosen:
    """The best way to read a part of the list."""
    found = [_reach(db, number, one.ways, part) for number, one in enumerate(filters) if one.ways]
    if found:
        return min(found, key=lambda one: one.rank)
    lowest, highest = db.execute("SELECT (SELECT min(seq) FROM runs), (SELECT max(seq) FROM runs)").fetchone()
    if lowest is None:
        return Chosen(None, None, 0)
    # At least so far: some numbers are those of forgotten runs. Rows that lie one behind the other take half the time.
    floor = min(part.high, highest + 1) - 2 * MAX_LOOKED_AT
    return Chosen(None, floor if floor > max(part.low, lowest) else None, MAX_LOOKED_AT)


def _reach(db: Connection, number: int, ways: Sequence[Way], part: Part) -> Chosen:
    """How far one go comes along these ways. Reads indexes alone."""
    floor: int | None = None
    total = 0
    for way in ways:
        within = way.within(part)
        entries = f"SELECT {way.seq} AS seq FROM {_alone(way)} WHERE {within.sql} ORDER BY {way.seq} DESC LIMIT ?"
        count, last = db.execute(
            f"SELECT count(*), min(seq) FROM ({entries}) AS seen", (*within.values, MAX_LOOKED_AT)
        ).fetchone()
        total += count
        if count == MAX_LOOKED_AT:
            floor = last if floor is None else max(floor, last)
    return Chosen(number, floor, total)


def _alone(way: Way) -> str:
    """The index, without the runs that it leads to."""
    return way.source.partition(" CROSS JOIN ")[0]
