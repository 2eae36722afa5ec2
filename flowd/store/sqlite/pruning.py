"""Forgetting: events of long ago, with their runs, attempts and output."""

import sqlite3
from collections import Counter
from collections.abc import Callable
from typing import Any

from flowd.domain.ids import attempt_id
from flowd.ports import Pruned

CHUNK_EVENTS = 200
"""Looked at in one transaction, so that nobody waits long behind it."""

# Numbers of rows are given again when the newest row goes, and journal and cursors name rows by them.
_OLD = (
    "SELECT e.seq FROM events e WHERE e.seq IN ({}) AND e.created_at_ms < ?"
    " AND e.seq < (SELECT max(seq) FROM events) AND NOT EXISTS (SELECT 1 FROM runs r WHERE r.event_seq = e.seq AND"
    " (r.completed_at_ms IS NULL OR r.completed_at_ms >= ? OR r.seq = (SELECT max(seq) FROM runs)))"
)


def prune(
    db: sqlite3.Connection,
    *,
    before_ms: int,
    after_seq: int,
    is_trial: bool,
    remove_output: Callable[[str], None],
) -> Pruned:
    """Forget what is old among the next events; see `flowd.ports.Store.prune`."""
    chunk = db.execute(
        "SELECT seq, created_at_ms FROM events WHERE seq > ? ORDER BY seq LIMIT ?", (after_seq, CHUNK_EVENTS)
    ).fetchall()
    if not any(created_at_ms < before_ms for _, created_at_ms in chunk):
        return Pruned(next_seq=None)
    old = _column(db, _OLD.format(_marks(chunk)), [*(seq for seq, _ in chunk), before_ms, before_ms])
    runs = db.execute(f"SELECT seq, id, status FROM runs WHERE event_seq IN ({_marks(old)})", old).fetchall()  # noqa: S608
    seqs = [seq for seq, _, _ in runs]
    attempts = db.execute(
        "SELECT r.id, a.number, a.stdout_bytes + a.stderr_bytes, a.stdout IS NULL OR a.stderr IS NULL FROM attempts a"
        f" JOIN runs r ON r.seq = a.run_seq WHERE a.run_seq IN ({_marks(seqs)})",  # noqa: S608 - question marks
        seqs,
    ).fetchall()
    if not is_trial:
        for run_id, number, _, has_files in attempts:
            if has_files:
                remove_output(attempt_id(run_id, number))
        db.execute(f"DELETE FROM attempts WHERE run_seq IN ({_marks(seqs)})", seqs)  # noqa: S608 - as above
        db.execute(f"DELETE FROM runs WHERE seq IN ({_marks(seqs)})", seqs)  # noqa: S608
        db.execute(f"DELETE FROM events WHERE seq IN ({_marks(old)})", old)  # noqa: S608
        fewer = Counter({"events": len(old)}) + Counter(status for _, _, status in runs)
        db.executemany("UPDATE counts SET n = n - ? WHERE name = ?", [(count, name) for name, count in fewer.items()])
    return Pruned(chunk[-1][0], len(old), len(runs), sum(size for _, _, size, _ in attempts))


def _column(db: sqlite3.Connection, statement: str, values: list[Any]) -> list[int]:
    return [row[0] for row in db.execute(statement, values)]


def _marks(values: list[Any]) -> str:
    return ",".join("?" * len(values))
