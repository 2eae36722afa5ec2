"""Lists of runs, newest first, by filters. Reads only; see `ways` for how they are read."""

from collections.abc import Callable, Sequence

from flowd.domain.filters import RunFilter
from flowd.domain.run import Run
from flowd.domain.stored import Page
from flowd.store.sql import places, reads, rows, spans, ways
from flowd.store.sql.connection import Connection
from flowd.store.sql.spans import Part
from flowd.store.sql.ways import ALL, Asked, Term, Way, by_index

_OLDEST = -reads.NEWEST

_ERROR, _MESSAGE = "r.error", "CASE WHEN json_valid(r.result) THEN json_extract(r.result, '$.message') END"
_SAID = f"r.seq, {_ERROR}, {_MESSAGE}"
_NAMES = ("r.id", "e.id", "e.type", "r.flow_name", "r.step_name")


def runs(db: Connection, where: RunFilter, limit: int, cursor: str | None) -> Page[Run]:
    """Runs with their attempts; see `flowd.ports.records.Records.runs`."""
    part = Part(_OLDEST, reads.position(cursor, "r"))
    part = spans.part(db, "run", part, where.since_ms, where.until_ms)
    filters = ways.asked(where)
    named = None if where.text is None else _named(db, where.text)
    if where.text is not None:
        filters.append(named or Asked(_has(where.text, (*_NAMES, _ERROR, _MESSAGE))))
    chosen = ways.choose(db, filters, part)
    read = (ALL,) if chosen.by is None else filters[chosen.by].ways
    others = [one.term for number, one in enumerate(filters) if number != chosen.by]
    floor = chosen.floor if others else None
    if floor is not None:
        part = Part(max(part.low, floor), part.high)
    if chosen.by is not None and len(read) > 1:  # some that they lead to may not be meant
        others.append(filters[chosen.by].term)
    others += _times(where)
    if where.text is not None and where.shown is not None and named is None:
        others = [one for one in others if one != filters[-1].term]
        others.append(_shows(db, [statement(way, others, part, _SAID) for way in read], where.text, where.shown))
    found: dict[int, rows.Row] = {}
    for way in read:
        sql, values = statement(way, others, part, rows.RUN_COLUMNS)
        found |= {row[0]: row for row in db.execute(sql, [*values, limit + 1])}
    page = sorted(found.values(), key=lambda row: -row[0])
    if len(page) > limit:
        page = page[:limit]
        more = page[-1][0]
    else:
        more = floor
    attempts = reads.attempts_by_run(db, page)
    items = places.known(db, page, [rows.run(row, attempts.get(row[0], ())) for row in page])
    return Page(tuple(items), None if more is None else f"r{more}")


def statement(
    way: Way, others: Sequence[Term], part: Part, columns: str = rows.RUN_COLUMNS
) -> tuple[str, list[object]]:
    """The statement that reads a way, and its values but the last one, which is its limit."""
    within = way.within(part)
    terms = [within, *others]
    clause = " AND ".join(term.sql for term in terms)
    sql = (
        f"SELECT {columns} FROM {way.source} CROSS JOIN events e ON e.seq = r.event_seq"
        f" WHERE {clause} ORDER BY {way.seq} DESC LIMIT ?"
    )
    return sql, [value for term in terms for value in term.values]


def _times(where: RunFilter) -> list[Term]:
    terms = []
    if where.since_ms is not None:
        terms.append(Term("r.created_at_ms >= ?", (where.since_ms,)))
    if where.until_ms is not None:
        terms.append(Term("r.created_at_ms < ?", (where.until_ms,)))
    return terms


def like(text: str) -> str:
    """What has this text in it, for LIKE with a backslash as ESCAPE."""
    for special in ("\\", "%", "_"):
        text = text.replace(special, f"\\{special}")
    return f"%{text}%"


def _named(db: Connection, text: str) -> Asked | None:
    """What has this id: a run, or all runs of an event; None where nothing has it."""
    sql = "SELECT (SELECT seq FROM runs WHERE id = ?), (SELECT seq FROM events WHERE id = ?)"
    run_seq, event_seq = db.execute(sql, (text, text)).fetchone()
    if run_seq is None and event_seq is None:
        return None
    one = Way(ALL.source, "r.seq", Term("r.seq = ?", (run_seq,)))
    of_event = by_index("runs_by_event", "r.event_seq = ?", event_seq)
    return Asked(Term("(r.seq = ? OR r.event_seq = ?)", (run_seq, event_seq)), (one, of_event))


def _has(text: str, columns: Sequence[str]) -> Term:
    sql = " OR ".join(f"{one} LIKE ? ESCAPE '\\'" for one in columns)
    return Term(f"({sql})", (like(text),) * len(columns))


def _shows(db: Connection, read: Sequence[tuple[str, list[object]]], text: str, shown: Callable[[str], str]) -> Term:
    """What has this text in its names, or in what is shown of its error and its message: nobody is to find out by a search
    what is masked there. So few runs are looked at in one go that they are looked at here."""
    wanted = text.encode().lower()  # of ASCII alone, as LIKE does
    found = [
        seq
        for sql, values in read
        for seq, *said in db.execute(sql, [*values, reads.NEWEST])
        if any(wanted in shown(str(one)).encode().lower() for one in said if one is not None)
    ]
    names = _has(text, _NAMES)
    return Term(f"({names.sql} OR r.seq IN ({','.join(map(str, found)) or 'NULL'}))", names.values)
