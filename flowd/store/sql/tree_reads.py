"""Questions about an event and all that its runs caused, theirs, and so on. They run inside any transaction."""

from collections.abc import Mapping, Sequence

from flowd.domain.errors import EventNotFoundError, InvalidParamsError
from flowd.domain.run import Run
from flowd.domain.stored import Page, TreeEvent
from flowd.domain.trees import CausedBy
from flowd.store.sql import reads, rows
from flowd.store.sql.connection import Connection

MAX_RUNS = 2_000
"""Of one page, which ends with the event that reaches it; so does one whose results are larger than a page may be."""

_AT_ONCE = 50
"""Events whose runs are read at once."""

_TREE = (
    "WITH RECURSIVE scope (seq) AS (SELECT seq FROM events WHERE id = ?"
    " UNION ALL SELECT e.seq FROM scope s JOIN events e ON e.parent_seq = s.seq) "
)
_ALONE = "WITH RECURSIVE scope (seq) AS (SELECT seq FROM events WHERE id = ?) "

_KEPT = "('needs', 'question', 'person', 'pause')"
RUNS = "scope s CROSS JOIN runs r INDEXED BY runs_by_event ON r.event_seq = s.seq"
"""All runs of a `scope`, found by their events whatever SQLite thinks of the sizes of both."""

BY_THEMSELVES = (
    f"(r.status = 'running' OR (coalesce(r.waits_for, '') NOT IN {_KEPT} AND (coalesce(r.waits_for, '') <> 'key' OR r.wait_why = 'step'"
    " OR EXISTS (SELECT 1 FROM lane_members m JOIN lane_members h ON h.lane_id = m.lane_id AND h.has = 1"
    " JOIN runs q ON q.round_seq = h.owner AND q.status IN ('queued', 'running')"
    f" AND coalesce(q.waits_for, '') NOT IN {_KEPT} WHERE m.kind = 'flow' AND m.owner = r.round_seq))))"
)
"""Whether an unfinished run goes on without a person. One that waits for needs does when these do, and is not looked at; one
that waits for a round's key does while something of the round that holds it goes on."""


def scope(*, is_tree: bool) -> str:
    """The beginning of a statement whose first value is an event's id: ``scope (seq)`` has the event, with ``is_tree``
    all below it, too."""
    return _TREE if is_tree else _ALONE


def refuse_unknown(db: Connection, event_id: str) -> None:
    """Raise `EventNotFoundError` where there is no such event."""
    if db.execute("SELECT 1 FROM events WHERE id = ?", (event_id,)).fetchone() is None:
        raise EventNotFoundError(event_id)


def tree(db: Connection, event_id: str, *, limit: int, cursor: str | None, max_runs: int | None) -> Page[TreeEvent]:
    """The event and all below it, with their runs, every event after the one whose run caused it; with ``max_runs`` at
    most so many, the newest where a single event has more."""
    refuse_unknown(db, event_id)
    after = _position(cursor)
    found = db.execute(
        f"{_TREE} SELECT e.seq, e.id, e.type, e.created_at_ms, e.cause_run_id, e.cause_event_id, e.depth"
        " FROM scope s JOIN events e ON e.seq = s.seq WHERE e.seq > ? ORDER BY e.seq LIMIT ?",
        (event_id, after, limit + 1),
    ).fetchall()
    items = _with_runs(db, found[:limit], max_runs)
    return Page(tuple(items), f"t{found[len(items) - 1][0]}" if len(found) > len(items) else None)


def _with_runs(db: Connection, found: Sequence[rows.Row], max_runs: int | None) -> list[TreeEvent]:
    """As many of these events as make a page, at least one."""
    counts = _run_counts(db, [row[0] for row in found])
    page = _fitting(found, counts, max_runs)
    items: list[TreeEvent] = []
    size = 0
    for start in range(0, len(page), _AT_ONCE):
        part = page[start : start + _AT_ONCE]
        runs = _runs(db, [row[0] for row in part], max_runs)
        for seq, id_, type_, created_at_ms, cause_run_id, cause_event_id, depth in part:
            theirs = tuple(runs.get(seq, ()))
            size += sum(len(said.text) for run in theirs for said in (run.result, run.reported_result) if said)
            if items and size > reads.MAX_PAGE_BYTES:
                return items
            caused_by = None if cause_run_id is None else CausedBy(cause_run_id, cause_event_id)
            count = max(counts.get(seq, 0), len(theirs))
            items.append(TreeEvent(id_, type_, created_at_ms, caused_by, depth, theirs, count))
    return items


def _fitting(found: Sequence[rows.Row], counts: Mapping[int, int], max_runs: int | None) -> list[rows.Row]:
    """The first of these events that have no more runs together than a page may have, at least one."""
    most = max_runs or MAX_RUNS
    page: list[rows.Row] = []
    total = 0
    for row in found:
        total += counts.get(row[0], 0)
        if page and total > most:
            break
        page.append(row)
    return page


def going_on(db: Connection, event_id: str, *, is_tree: bool) -> bool:
    """Whether anything of the event, or of its tree, is unfinished and goes on without a person."""
    refuse_unknown(db, event_id)
    found = db.execute(
        f"{scope(is_tree=is_tree)} SELECT 1 FROM {RUNS}"
        f" WHERE r.status IN ('queued', 'running') AND {BY_THEMSELVES} LIMIT 1",
        (event_id,),
    ).fetchone()
    return found is not None


def round_goes_on(db: Connection, run_id: str) -> bool:
    """Whether anything of a run's round is unfinished and goes on without a person."""
    found = db.execute(
        "WITH these (seq) AS (SELECT seq FROM runs WHERE id = ? UNION"
        " SELECT q.seq FROM runs q WHERE q.round_seq = (SELECT round_seq FROM runs WHERE id = ?))"
        " SELECT 1 FROM these t JOIN runs r ON r.seq = t.seq"
        f" WHERE r.status IN ('queued', 'running') AND {BY_THEMSELVES} LIMIT 1",
        (run_id, run_id),
    ).fetchone()
    return found is not None


def unfinished(db: Connection, event_id: str, *, is_tree: bool, limit: int) -> list[Run]:
    """Runs of the event, or of its tree, that have not ended or ask a person, the oldest first."""
    seqs = db.execute(
        f"{scope(is_tree=is_tree)} SELECT r.seq FROM {RUNS}"
        " WHERE r.status IN ('queued', 'running') OR r.wants_person = 1 ORDER BY r.seq LIMIT ?",
        (event_id, limit),
    ).fetchall()
    return reads.runs_by_seq(db, [seq for (seq,) in seqs])


def statuses(db: Connection, event_id: str, *, is_tree: bool) -> dict[str, int]:
    """How many steps of the event, or of its tree, have which effective status: that of their newest runs."""
    return dict(
        db.execute(
            f"{scope(is_tree=is_tree)} SELECT coalesce(q.result_status, q.status), count(*) FROM runs q WHERE q.seq IN"
            f" (SELECT max(r.seq) FROM {RUNS} GROUP BY r.event_seq, r.flow_name, r.step_name) GROUP BY 1",
            (event_id,),
        ).fetchall()
    )


def _run_counts(db: Connection, event_seqs: Sequence[int]) -> dict[int, int]:
    marks = rows.marks(event_seqs)
    counted = f"SELECT event_seq, count(*) FROM runs WHERE event_seq IN ({marks}) GROUP BY event_seq"
    return dict(db.execute(counted, list(event_seqs)).fetchall())


def _runs(db: Connection, event_seqs: Sequence[int], max_runs: int | None) -> dict[int, list[Run]]:
    """The runs of each of these events in their order; with ``max_runs`` the newest of them all."""
    marks = rows.marks(event_seqs)
    asked, values = f"r.event_seq IN ({marks})", list(event_seqs)
    if max_runs is not None:
        # As many of each: only one that is alone on its page has more.
        ranked = "SELECT seq, row_number() OVER (PARTITION BY event_seq ORDER BY seq DESC) AS place FROM runs"
        asked = f"r.seq IN (SELECT seq FROM ({ranked} WHERE event_seq IN ({marks})) AS ranked WHERE place <= ?)"
        values.append(max_runs)
    found = db.execute(f"{rows.RUNS} WHERE {asked} ORDER BY r.seq", values).fetchall()
    attempts = reads.attempts_by_run(db, found)
    by_event: dict[int, list[Run]] = {}
    for row in found:
        by_event.setdefault(row[rows.EVENT_SEQ], []).append(rows.run(row, attempts.get(row[0], ())))
    return by_event


def _position(cursor: str | None) -> int:
    if cursor is None:
        return -(1 << 62)
    digits = cursor[1:].removeprefix("-")
    if cursor[:1] == "t" and digits.isascii() and digits.isdigit() and len(cursor) < 20:
        return int(cursor[1:])
    raise InvalidParamsError(
        f"The cursor {cursor[:40]!r} is none that this list gave. Start without one.", param="cursor"
    )
