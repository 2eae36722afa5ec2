"""Lists of events, newest first, by filters. Reads only."""

from collections.abc import Iterator, Sequence

from flowd.domain.filters import EventFilter, RunFilter
from flowd.domain.stored import Page, StoredEvent
from flowd.store.sql import reads, rows, spans, ways
from flowd.store.sql.connection import Connection
from flowd.store.sql.run_lists import like
from flowd.store.sql.spans import Part
from flowd.store.sql.ways import Asked, Term

_AT_ONCE = 1_000
"""Events that are looked at in one go; their runs may have to be looked at, too."""

_READ_AT_ONCE = 60
"""A page of the usual size, and one more, to see whether there is any."""

_LOWEST, _HIGHEST = -reads.NEWEST, reads.NEWEST
_TEXT = "(e.id LIKE ? ESCAPE '\\' OR e.type LIKE ? ESCAPE '\\' OR e.source LIKE ? ESCAPE '\\')"


def events(db: Connection, where: EventFilter, limit: int, cursor: str | None) -> Page[StoredEvent]:
    """Events with the ids of their runs; see `flowd.ports.records.Records.events`."""
    part = Part(_LOWEST, reads.position(cursor, "e"))
    part = spans.part(db, "event", part, where.since_ms, where.until_ms)
    terms, are_few = _of_runs(db, where.runs)
    if where.text is not None:
        named = db.execute("SELECT seq FROM events WHERE id = ?", (where.text,)).fetchone()
        are_few = are_few or named is not None
        terms.append(Term("e.seq = ?", named) if named else Term(_TEXT, (like(where.text),) * 3))
    floor = _floor(db, where, part) if terms and not are_few else None
    if floor is not None:
        part = Part(max(part.low, floor), part.high)
    taken: list[rows.Row] = []
    size = 0
    is_full = False
    for row in _rows(db, where, terms, part):
        size += len(row[6])
        if len(taken) == limit or (taken and size > reads.MAX_PAGE_BYTES):
            is_full = True
            break
        taken.append(row)
    more = taken[-1][0] if is_full else floor
    run_ids = reads.run_ids_by_event(db, [row[0] for row in taken])
    items = tuple(rows.event(row, run_ids.get(row[0], ())) for row in taken)
    return Page(items, None if more is None else f"e{more}")


def _rows(db: Connection, where: EventFilter, terms: list[Term], part: Part) -> Iterator[rows.Row]:
    """The events of a part, some at a time: their bodies may be large."""
    found: Sequence[rows.Row] = ()
    while not found or len(found) == _READ_AT_ONCE:
        sql, values = statement(where, terms, part)
        found = db.execute(f"{sql} LIMIT ?", [*values, _READ_AT_ONCE]).fetchall()
        yield from found
        if not found:
            return
        part = Part(part.low, found[-1][0])


def statement(where: EventFilter, terms: list[Term], part: Part) -> tuple[str, list[object]]:
    """The statement that reads the list, and its values."""
    own = [Term("e.seq >= ? AND e.seq < ?", part)]
    if where.type is not None:
        own.append(Term("e.type = ?", (where.type,)))
    if where.since_ms is not None:
        own.append(Term("e.created_at_ms >= ?", (where.since_ms,)))
    if where.until_ms is not None:
        own.append(Term("e.created_at_ms < ?", (where.until_ms,)))
    every = [*own, *terms]
    source = "events e NOT INDEXED" if where.type is None else "events e INDEXED BY events_by_type"
    columns = ", ".join(f"e.{column.strip()}" for column in rows.EVENT_COLUMNS.split(","))
    sql = f"SELECT {columns} FROM {source} WHERE {' AND '.join(term.sql for term in every)} ORDER BY e.seq DESC"
    return sql, [value for term in every for value in term.values]


def _floor(db: Connection, where: EventFilter, part: Part) -> int | None:
    """How far one go looks; None where it comes to the end."""
    if where.type is None:
        lowest, highest = db.execute("SELECT (SELECT min(seq) FROM events), (SELECT max(seq) FROM events)").fetchone()
        if lowest is None:
            return None
        floor = min(part.high, highest + 1) - _AT_ONCE
        return int(floor) if floor > max(part.low, lowest) else None
    entries = "SELECT seq FROM events WHERE type = ? AND seq >= ? AND seq < ? ORDER BY seq DESC LIMIT ?"
    counted = f"SELECT count(*), min(seq) FROM ({entries}) AS seen"
    count, last = db.execute(counted, (where.type, *part, _AT_ONCE)).fetchone()
    return int(last) if count == _AT_ONCE else None


def _of_runs(db: Connection, where: RunFilter) -> tuple[list[Term], bool]:
    """What events have to be that have such runs; and whether so few are that they are looked up one by one."""
    filters = ways.asked(where)
    if not filters:
        return [], False
    whole = Part(_LOWEST, _HIGHEST)
    chosen = ways.choose(db, filters, whole)
    if chosen.by is not None and chosen.floor is None and chosen.count < ways.MAX_LOOKED_AT:
        return [_few(filters, chosen.by)], True
    clause = " AND ".join(one.term.sql for one in filters)
    has = f"EXISTS (SELECT 1 FROM runs r INDEXED BY runs_by_event WHERE r.event_seq = e.seq AND {clause})"
    return [Term(has, tuple(value for one in filters for value in one.term.values))], False


def _few(filters: list[Asked], chosen: int) -> Term:
    """So few runs that their events are looked up first."""
    parts = []
    values: list[object] = []
    for way in filters[chosen].ways:
        terms = [way.term, *(one.term for one in filters)]
        parts.append(f"SELECT r.event_seq FROM {way.source} WHERE {' AND '.join(term.sql for term in terms)}")
        values += [value for term in terms for value in term.values]
    return Term(f"e.seq IN ({' UNION '.join(parts)})", tuple(values))
