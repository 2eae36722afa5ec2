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

_ERROR, _MESSAGE = "r.error", "iif(json_valid(r.result), json_extract(r.result, '$.message'), NULL)"
_SEARCHED = ("r.id", "e.id", "e.type", "r.flow_name", "r.step_name", _ERROR, _MESSAGE)


def runs(db: Connection, where: RunFilter, limit: int, cursor: str | None) -> Page[Run]:
    """Runs with their attempts; see `flowd.ports.records.Records.runs`."""
    part = Part(_OLDEST, reads.position(cursor, "r"))
    part = spans.part(db, "run", part, where.since_ms, where.until_ms)
    filters = ways.asked(where)
    if where.text is not None:
        filters.append(_named(db, where.text) or Asked(_text(db, where.text, where.shown)))
    chosen = ways.choose(db, filters, part)
    read = (ALL,) if chosen.by is None else filters[chosen.by].ways
    others = [one.term for number, one in enumerate(filters) if number != chosen.by]
    floor = chosen.floor if others else None
    if floor is not None:
        part = Part(max(part.low, floor), part.high)
    if chosen.by is not None and len(read) > 1:  # some that they lead to may not be meant
        others.append(filters[chosen.by].term)
    others += _times(where)
    found: dict[int, rows.Row] = {}
    for way in read:
        sql, values = statement(way, others, part)
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


def statement(way: Way, others: Sequence[Term], part: Part) -> tuple[str, list[object]]:
    """The statement that reads a way, and its values but the last one, which is its limit."""
    within = way.within(part)
    terms = [within, *others]
    clause = " AND ".join(term.sql for term in terms)
    sql = (
        f"SELECT {rows.RUN_COLUMNS} FROM {way.source} CROSS JOIN events e ON e.seq = r.event_seq"
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


def _text(db: Connection, text: str, shown: Callable[[str], str] | None) -> Term:
    searched: Sequence[str] = _SEARCHED
    if shown is not None:
        db.create_function("shown", 1, lambda found: None if found is None else shown(str(found)))
        searched = [f"shown({one})" if one in (_ERROR, _MESSAGE) else one for one in _SEARCHED]
    sql = " OR ".join(f"{one} LIKE ? ESCAPE '\\'" for one in searched)
    return Term(f"({sql})", (like(text),) * len(searched))
