"""The journal table: adding to it, reading it by cursor, and keeping it bounded."""

from collections.abc import Collection, Iterable, Sequence

from flowd.domain.journal import JOURNALED, EventHead, FlowState, Interest, JournalEntry, JournalPage
from flowd.domain.run import ProcessStatus, Run
from flowd.domain.trees import CausedBy
from flowd.store.sql import inserting, notices, reads, rows
from flowd.store.sql.connection import Connection, WriteNotes
from flowd.store.sql.rows import Row

MAX_ROWS = 1_000_000
"""Kept by default: about 60 MB, and 250,000 events with one run each."""

_COLUMNS = "journal (at_ms, kind, event_seq, run_seq, status, attempt)"

_SCAN_ROWS = 20_000
"""Looked at for one page (5 ms), so that a reader of few entries holds its snapshot for a short time only."""

_PRUNE_FROM = 1_000
_PRUNE_ROWS = 10_000
"""Dropped at once at most: more than one transaction adds, and a few milliseconds of work."""


def add_accepted(
    db: Connection, at_ms: int, accepted: Iterable[tuple[int, Sequence[int]]], *, known: Collection[int] = ()
) -> None:
    """Events were accepted, each with these runs, which are queued; of those that are ``known`` the runs alone are new."""
    told: list[tuple[object, ...]] = []
    for event_seq, run_seqs in accepted:
        if event_seq not in known:
            told.append((at_ms, "event", event_seq, None, None, None))
        told += [(at_ms, "run", event_seq, run_seq, ProcessStatus.QUEUED, None) for run_seq in run_seqs]
    _tell(db, told)


def add_run(
    db: Connection,
    at_ms: int,
    event_seq: int,
    run_seq: int,
    status: ProcessStatus,
    *,
    attempt: int | None = None,
) -> None:
    """A run has this status from now on; ``attempt`` began or ended with it."""
    _tell(db, [(at_ms, "run", event_seq, run_seq, status, attempt)])


def _tell(db: Connection, told: Sequence[Row]) -> None:
    if isinstance(db, WriteNotes):
        db.told += told
    else:
        inserting.insert(db, _COLUMNS, told)


def write_told(db: Connection) -> None:
    """Write what the transaction has told so far. It has to be done before the commit, and before anybody reads the
    journal in it; until then it costs no statement."""
    if isinstance(db, WriteNotes) and db.told:
        if db.notify:
            notices.note_ends(db, db.told)
        inserting.insert(db, _COLUMNS, db.told)
        db.told = []


def note_flows(db: Connection, flows: Sequence[FlowState], at_ms: int, *, host: str) -> None:
    """Journal what differs from the flows that this host noted last, and note these. One that shares its store with
    nobody is called nothing."""
    write_told(db)
    told = {
        name: (status, digest)
        for name, status, digest in db.execute(
            "SELECT name, status, package_hash FROM flows_told WHERE host = ?", (host,)
        )
    }
    now = {flow.name: (flow.status, flow.package_hash) for flow in flows}
    changed = [(name, state) for name, state in now.items() if told.get(name) != state]
    removed = [name for name in told if name not in now]
    db.executemany(
        "INSERT INTO flows_told (host, name, status, package_hash) VALUES (?, ?, ?, ?)"
        " ON CONFLICT (host, name) DO UPDATE SET status = excluded.status, package_hash = excluded.package_hash",
        [(host, name, *state) for name, state in changed],
    )
    db.executemany("DELETE FROM flows_told WHERE host = ? AND name = ?", [(host, name) for name in removed])
    db.executemany(
        "INSERT INTO journal (at_ms, kind, flow_name, status, host) VALUES (?, 'flow', ?, ?, ?)",
        [
            *((at_ms, name, state[0], host or None) for name, state in changed),
            *((at_ms, name, "removed", host or None) for name in removed),
        ],
    )


def prune(db: Connection, max_rows: int) -> None:
    """Drop the oldest rows beyond ``max_rows``, some at a time. Cheap when there is nothing to drop."""
    oldest, newest = _span(db)
    excess = newest + 1 - oldest - max_rows
    if excess >= min(_PRUNE_FROM, max_rows):
        db.execute("DELETE FROM journal WHERE cursor < ?", (oldest + min(excess, _PRUNE_ROWS),))


def page(db: Connection, interest: Interest, after: int | None, limit: int) -> JournalPage:
    """Entries of interest after a cursor, oldest first."""
    oldest, newest = _span(db)
    if after is None:
        return JournalPage((), newest, oldest, newest)
    end = min(newest, after + _SCAN_ROWS)
    conditions, values = _conditions(interest)
    found = db.execute(
        "SELECT cursor, at_ms, kind, event_seq, run_seq, flow_name, status, attempt, host FROM journal"
        f" WHERE cursor > ? AND cursor <= ? {conditions} ORDER BY cursor LIMIT ?",
        (after, end, *values, limit),
    ).fetchall()
    events = _heads(db, {row[3] for row in found if row[2] == "event"})
    runs = _runs(db, {row[4] for row in found if row[2] == "run"})
    entries = tuple(
        JournalEntry(
            cursor=row[0],
            at_ms=row[1],
            kind=row[2],
            status=row[6],
            attempt=row[7],
            event=events[row[3]] if row[2] == "event" else None,
            run=runs[row[4]] if row[2] == "run" else None,
            flow_name=row[5],
            host=row[8],
        )
        for row in found
        if row[2] == "flow" or (row[3] in events if row[2] == "event" else row[4] in runs)  # else it was pruned
    )
    return JournalPage(entries, found[-1][0] if len(found) == limit else max(after, end), oldest, newest)


def running(db: Connection, interest: Interest) -> list[tuple[str, int]]:
    """Id and attempt number of the running runs of interest."""
    conditions, values = "", []
    if interest.run_id is not None:
        conditions += " AND id = ?"
        values.append(interest.run_id)
    if interest.event_id is not None:
        conditions += " AND event_seq = (SELECT seq FROM events WHERE id = ?)"
        values.append(interest.event_id)
    return db.execute(
        "SELECT id, attempt_count FROM runs WHERE status = 'running' AND status IN ('queued', 'running')"
        f" {conditions} ORDER BY seq",
        values,
    ).fetchall()


def _span(db: Connection) -> tuple[int, int]:
    """Cursor of the oldest row, and of the newest there ever was: that one is never dropped."""
    oldest, newest = db.execute(
        "SELECT (SELECT min(cursor) FROM journal), (SELECT max(cursor) FROM journal)"
    ).fetchone()
    return (1, 0) if newest is None else (oldest, newest)


def _conditions(interest: Interest) -> tuple[str, list[str]]:
    kinds: set[str] = set(interest.topics & JOURNALED)
    if interest.has_output:
        kinds.add("run")  # where an attempt's output begins and ends
    text = f"AND kind IN ({rows.marks(kinds)})"
    values = sorted(kinds)
    if interest.run_id is not None:
        text += " AND run_seq = (SELECT seq FROM runs WHERE id = ?)"
        values.append(interest.run_id)
    if interest.event_id is not None:
        text += " AND event_seq = (SELECT seq FROM events WHERE id = ?)"
        values.append(interest.event_id)
    return text, values


def _heads(db: Connection, seqs: set[int]) -> dict[int, EventHead]:
    if not seqs:
        return {}
    run_ids = reads.run_ids_by_event(db, list(seqs))
    found = db.execute(
        "SELECT seq, id, type, source, occurred_at, received_at, created_at_ms, cause_run_id, cause_event_id, root_id, depth"
        " FROM events"
        f" WHERE seq IN ({rows.marks(seqs)})",
        list(seqs),
    )
    return {row[0]: _head(row, run_ids.get(row[0], ())) for row in found}


def _head(row: rows.Row, run_ids: Sequence[str]) -> EventHead:
    (
        _,
        event_id,
        type_,
        source,
        occurred_at,
        received_at,
        created_at_ms,
        cause_run_id,
        cause_event_id,
        root_id,
        depth,
    ) = row
    caused_by = None if cause_run_id is None else CausedBy(cause_run_id, cause_event_id)
    return EventHead(
        event_id, type_, source, occurred_at, received_at, created_at_ms, tuple(run_ids), caused_by, root_id, depth
    )


def _runs(db: Connection, seqs: set[int]) -> dict[int, Run]:
    if not seqs:
        return {}
    found = db.execute(f"{rows.RUNS} WHERE r.seq IN ({rows.marks(seqs)})", list(seqs)).fetchall()
    attempts = reads.attempts_by_run(db, found)
    return {row[0]: rows.run(row, attempts.get(row[0], ())) for row in found}
