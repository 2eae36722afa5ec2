"""Deletes old events with their runs, attempts and output."""

from collections import Counter
from collections.abc import Callable

from flowd.domain.ids import attempt_id
from flowd.domain.stored import Pruned
from flowd.store.sql import rows
from flowd.store.sql.connection import Connection

CHUNK_EVENTS = 200
"""Looked at in one transaction, so that nobody waits long behind it."""

# Takes the instant twice. Numbers of rows are given again when the newest row goes, and journal and cursors name rows by them.
_IS_KEPT = (
    "(e.created_at_ms >= ? OR e.seq = (SELECT max(seq) FROM events) OR EXISTS (SELECT 1 FROM runs q WHERE q.event_seq = e.seq"
    " AND (q.status IN ('queued', 'running') OR coalesce(q.completed_at_ms, q.updated_at_ms) >= ?"
    f" OR q.seq = (SELECT max(seq) FROM runs) OR ({rows.IS_QUESTION}))))"
)
_OLD = f"SELECT e.seq FROM events e WHERE e.seq > ? AND e.seq <= ? AND NOT {_IS_KEPT}"
_KEPT_TREE = (
    "WITH tree (seq) AS (SELECT ? UNION ALL SELECT seq FROM events WHERE root_seq = ?)"
    f" SELECT 1 FROM tree t JOIN events e ON e.seq = t.seq WHERE {_IS_KEPT} LIMIT 1"
)


def prune(
    db: Connection,
    *,
    before_ms: int,
    after_seq: int,
    dry_run: bool,
    remove_output: Callable[[str], None],
) -> Pruned:
    """Forget what is old among the next events; see `flowd.ports.Store.prune`."""
    (last_seq,) = db.execute(
        "SELECT max(seq) FROM (SELECT seq FROM events WHERE seq > ? ORDER BY seq LIMIT ?) AS seen",
        (after_seq, CHUNK_EVENTS),
    ).fetchone()
    if last_seq is None:
        return Pruned(next_seq=None)
    old = _of_old_trees(
        db, [seq for (seq,) in db.execute(_OLD, (after_seq, last_seq, before_ms, before_ms))], before_ms
    )
    # By their events alone: these may have more runs than a statement takes values.
    marks = rows.marks(old)
    theirs = f"event_seq IN ({marks})"
    attempts = db.execute(
        "SELECT r.id, a.number, a.stdout_bytes + a.stderr_bytes, a.stdout IS NULL OR a.stderr IS NULL"
        f" FROM attempts a JOIN runs r ON r.seq = a.run_seq WHERE r.{theirs}",
        old,
    ).fetchall()
    fewer = Counter({"events": len(old)})
    fewer.update(dict(db.execute(f"SELECT status, count(*) FROM runs WHERE {theirs} GROUP BY status", old)))
    if not dry_run:
        for run_id, number, _, has_files in attempts:
            if has_files:
                remove_output(attempt_id(run_id, number))
        definitions = db.execute(
            "SELECT DISTINCT definition_id FROM attempts WHERE definition_id IS NOT NULL"
            f" AND run_seq IN (SELECT seq FROM runs WHERE {theirs})",
            old,
        ).fetchall()
        db.execute(f"DELETE FROM attempts WHERE run_seq IN (SELECT seq FROM runs WHERE {theirs})", old)
        db.executemany(
            "DELETE FROM labels WHERE name = ? AND value = ? AND run_seq = ?",
            [
                (*label, seq)
                for seq, text in db.execute(f"SELECT seq, labels FROM runs WHERE labels IS NOT NULL AND {theirs}", old)
                for label in rows.read_labels(text)
            ],
        )
        for table in ("needs", "frozen"):
            db.execute(
                f"DELETE FROM {table} WHERE run_seq IN (SELECT seq FROM runs WHERE round_seq IS NOT NULL AND {theirs})",
                old,
            )
        db.execute(f"DELETE FROM runs WHERE {theirs}", old)
        db.execute(f"DELETE FROM round_keys WHERE round_seq IN (SELECT seq FROM rounds WHERE {theirs})", old)
        db.execute(f"DELETE FROM rounds WHERE {theirs}", old)
        db.execute(f"DELETE FROM causes WHERE {theirs}", old)
        db.execute(f"DELETE FROM trees WHERE root_seq IN ({marks})", old)
        db.execute(f"DELETE FROM events WHERE seq IN ({marks})", old)
        db.executemany(
            "DELETE FROM definitions WHERE id = ? AND NOT EXISTS (SELECT 1 FROM attempts WHERE definition_id = definitions.id)",
            definitions,
        )
        db.executemany("UPDATE counts SET n = n - ? WHERE name = ?", [(count, name) for name, count in fewer.items()])
    runs = fewer.total() - len(old)
    return Pruned(last_seq, len(old), runs, sum(size for _, _, size, _ in attempts))


def _of_old_trees(db: Connection, event_seqs: list[int], before_ms: int) -> list[int]:
    """Those of these events whose trees are old as a whole: a tree goes with the last of it."""
    marks = rows.marks(event_seqs)
    roots = dict(
        db.execute(
            f"SELECT seq, coalesce(root_seq, seq) FROM events WHERE seq IN ({marks})"
            " AND (root_seq IS NOT NULL OR seq IN (SELECT root_seq FROM trees))",
            event_seqs,
        ).fetchall()
    )
    asked = {root: (root, root, before_ms, before_ms) for root in roots.values()}
    kept = {root for root, values in asked.items() if db.execute(_KEPT_TREE, values).fetchone()}
    return [seq for seq in event_seqs if roots.get(seq) not in kept]
