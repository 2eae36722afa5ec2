"""The queue as people look at it: who is next, and what keeps the others. Reads only."""

from collections.abc import Sequence

from flowd.domain.errors import InvalidParamsError
from flowd.domain.filters import RunFilter
from flowd.domain.queue_view import QueueView
from flowd.domain.stored import Page
from flowd.store.sql import key_reads, pauses, places, reads, rows, ways
from flowd.store.sql.connection import Connection

_QUEUED = "r.status = 'queued' AND r.status IN ('queued', 'running') AND r.seq > ?"
_LOOKED_AT = f"FROM runs r INDEXED BY runs_active WHERE {_QUEUED}"
_WAITING = f"{rows.runs_along('runs_active')} WHERE {_QUEUED} AND r.seq <= ? AND r.waits_for IS NOT NULL"


def queue(db: Connection, where: RunFilter, *, limit: int, cursor: str | None) -> QueueView:
    """What is queued; see `flowd.ports.PauseStore.queue`.

    Raises:
        InvalidParamsError: The cursor is none of ours.
    """
    ready_before, after = _position(cursor)
    found: list[rows.Row] = []
    fits, values = ways.conditions(where)
    last: int | None = None
    if ready_before is not None:
        ready = f"SELECT r.seq {places.READY}{fits} {places.IN_ORDER} LIMIT ? OFFSET ?"
        seqs = [seq for (seq,) in db.execute(ready, [*values, limit + 1, ready_before])]
        found = _by_seq(db, seqs)
    if len(found) <= limit:
        last = ways.last_looked_at(db, _LOOKED_AT, after) if fits else None
        waiting = f"{_WAITING}{fits} ORDER BY r.seq LIMIT ?"
        until = reads.NEWEST if last is None else last
        found += db.execute(waiting, [after, until, *values, limit + 1 - len(found)]).fetchall()
    page = found[:limit]
    attempts = reads.attempts_by_run(db, page)
    items = places.known(db, page, [rows.run(row, attempts.get(row[0], ())) for row in page])
    counts = dict(db.execute("SELECT name, n FROM counts WHERE name IN ('queued', 'waiting')").fetchall())
    more = _cursor(page, ready_before or 0) if len(found) > limit else None if last is None else f"w{last}"
    asking = [(row[1], row[rows.ROUND_SEQ]) for row in page if row[rows.WAITS_FOR] == "question"]
    behind = {run_id: count for run_id, seq in asking if (count := key_reads.rounds_behind(db, seq))}
    ready_runs = counts["queued"] - counts["waiting"]
    return QueueView(Page(tuple(items), more), ready_runs, counts["waiting"], tuple(pauses.in_force(db)), behind)


def _by_seq(db: Connection, seqs: Sequence[int]) -> list[rows.Row]:
    """Rows in the order of these."""
    found = {}
    for seq in seqs:
        found[seq] = db.execute(f"{rows.RUNS} WHERE r.seq = ?", (seq,)).fetchone()
    return list(found.values())


def _cursor(page: Sequence[rows.Row], ready_before: int) -> str:
    """Where the list goes on. By count among those that are ready, who move on all the time, then by number."""
    is_ready = [row[rows.WAITS_FOR] is None for row in page]
    if all(is_ready):
        return f"n{ready_before + len(page)}"
    return f"w{page[-1][0]}"


def _position(cursor: str | None) -> tuple[int | None, int]:
    """How many of those that are ready to pass by, None for all; and after which number of the others to begin."""
    if cursor is None:
        return 0, -reads.NEWEST
    if cursor[:1] == "n" and cursor[1:].isascii() and cursor[1:].isdigit() and len(cursor) < 12:
        return int(cursor[1:]), -reads.NEWEST
    if cursor[:1] == "w":
        return None, reads.position(cursor, "w")
    raise InvalidParamsError(
        f"The cursor {cursor[:40]!r} is none that this list gave. Start without one.", param="cursor"
    )
