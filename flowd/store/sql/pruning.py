"""Finds and deletes old events with their runs, attempts and output."""

from collections import Counter
from collections.abc import Callable, Sequence

from flowd.domain.ids import attempt_id
from flowd.domain.retention import Cutoff, Kept, Rule
from flowd.domain.stored import KeptEvents, OldEvents, Pruned
from flowd.store.sql import bursts, rows, ways
from flowd.store.sql.connection import Connection
from flowd.store.sql.ways import Term

LOOKED_AT = 2_000
"""Events in one question, so that no reader is away for long."""


def old_events(db: Connection, cutoffs: Sequence[Cutoff], *, after_seq: int) -> OldEvents:
    """What may go of the next events; see `flowd.ports.Upkeep.old_events`. Reads only."""
    (last_seq,) = db.execute(
        "SELECT max(seq) FROM (SELECT seq FROM events WHERE seq > ? ORDER BY seq LIMIT ?) AS seen",
        (after_seq, LOOKED_AT),
    ).fetchone()
    if last_seq is None:
        return OldEvents((), None)
    before_ms = max((one.before_ms for one in cutoffs if one.before_ms is not None), default=-1)
    before_seq = max((one.before_seq for one in cutoffs if one.before_seq is not None), default=after_seq)
    kept = _is_kept(cutoffs)
    found = db.execute(
        "SELECT e.seq FROM events e WHERE e.seq > ? AND e.seq <= ? AND (e.created_at_ms < ? OR e.seq < ?)"
        f" AND NOT {kept.sql}",
        (after_seq, last_seq, before_ms, before_seq, *kept.values),
    )
    return OldEvents(tuple(_of_old_trees(db, [seq for (seq,) in found], kept)), last_seq)


def kept_events(db: Connection, rules: Sequence[Rule], *, below_seq: int) -> KeptEvents:
    """The next older events as rules count them; see `flowd.ports.Upkeep.kept_events`. Reads only."""
    (low,) = db.execute(
        "SELECT min(seq) FROM (SELECT seq FROM events WHERE seq < ? ORDER BY seq DESC LIMIT ?) AS seen",
        (below_seq, LOOKED_AT),
    ).fetchone()
    if low is None:
        return KeptEvents((), None)
    fits = [_fits(rule) for rule in rules]
    whens = " ".join(f"WHEN {one.sql} THEN {number}" for number, one in enumerate(fits) if one.sql)
    rule = f"CASE {whens} ELSE {len(rules) - 1} END" if whens else str(len(rules) - 1)
    output = "(SELECT coalesce(sum(a.stdout_bytes + a.stderr_bytes), 0) FROM attempts a WHERE a.run_seq = q.seq)"
    sql = (
        f"SELECT seq, rule, max(body_size) + sum(output_size) FROM (SELECT e.seq AS seq, {rule} AS rule,"
        f" length(e.body) AS body_size, CASE WHEN q.seq IS NULL THEN 0 ELSE {output} END AS output_size"
        " FROM events e LEFT JOIN runs q ON q.event_seq = e.seq WHERE e.seq >= ? AND e.seq < ?) AS one"
        " GROUP BY seq, rule ORDER BY seq DESC"
    )
    values = [value for one in fits if one.sql for value in one.values]
    found = db.execute(sql, (*values, low, below_seq)).fetchall()
    return KeptEvents(tuple(Kept(seq, int(number), int(size)) for seq, number, size in found), low)


def prune(
    db: Connection,
    *,
    event_seqs: Sequence[int],
    cutoffs: Sequence[Cutoff],
    dry_run: bool,
    remove_output: Callable[[str], None],
) -> Pruned:
    """Forget those of these events that may still go; see `flowd.ports.Upkeep.prune`."""
    kept = _is_kept(cutoffs)
    marks = rows.marks(event_seqs)
    still = db.execute(
        f"SELECT e.seq FROM events e WHERE e.seq IN ({marks}) AND NOT {kept.sql}", (*event_seqs, *kept.values)
    )
    old = _of_old_trees(db, [seq for (seq,) in still], kept)
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
        bursts.forget(db, theirs, old)
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
    return Pruned(len(old), runs, sum(size for _, _, size, _ in attempts))


def _fits(one: Rule | Cutoff) -> Term:
    """That a rule fits the run ``q``; no SQL where it fits all."""
    terms = []
    if one.flow is not None:
        terms.append(Term("q.flow_name = ?", (one.flow,)))
    if one.status is not None:
        terms.append(Term(ways.ended(one.status).replace("r.", "q."), ()))
    return Term(" AND ".join(term.sql for term in terms), tuple(value for term in terms for value in term.values))


def _keeps(cutoff: Cutoff, at_ms: str, seq: str) -> Term:
    """That a cutoff keeps what ended then and belongs to the event of this number."""
    terms = []
    if cutoff.before_ms is not None:
        terms.append(Term(f"{at_ms} >= ?", (cutoff.before_ms,)))
    if cutoff.before_seq is not None:
        terms.append(Term(f"{seq} >= ?", (cutoff.before_seq,)))
    sql = " AND ".join(term.sql for term in terms)
    return Term(f"({sql or '1 = 1'})", tuple(value for term in terms for value in term.values))


def _is_kept(cutoffs: Sequence[Cutoff]) -> Term:
    """That the event ``e`` has to stay. Numbers of rows are given again when the newest row goes, and journal and cursors
    name rows by them: so the newest event stays, and that of the newest run."""
    *special, general = cutoffs
    run = _keeps(general, "coalesce(q.completed_at_ms, q.updated_at_ms)", "q.event_seq")
    parts: list[Term] = []
    for one in special:
        fits, keeps = _fits(one), _keeps(one, "coalesce(q.completed_at_ms, q.updated_at_ms)", "q.event_seq")
        parts.append(Term(f"WHEN {fits.sql} THEN {keeps.sql}", (*fits.values, *keeps.values)))
    if parts:
        sql = f"CASE {' '.join(part.sql for part in parts)} ELSE {run.sql} END"
        run = Term(sql, (*(value for part in parts for value in part.values), *run.values))
    event = _keeps(general, "e.created_at_ms", "e.seq")
    newest_event, newest_run = (
        ("e.seq = (SELECT max(seq) FROM events) OR ", " OR q.seq = (SELECT max(seq) FROM runs)")
        if general.spares_newest
        else ("", "")
    )
    return Term(
        f"({newest_event}(NOT EXISTS (SELECT 1 FROM runs q WHERE q.event_seq = e.seq)"
        f" AND {event.sql}) OR EXISTS (SELECT 1 FROM runs q WHERE q.event_seq = e.seq"
        f" AND (q.status IN ('queued', 'running') OR {run.sql}{newest_run} OR ({rows.IS_QUESTION}))))",
        (*event.values, *run.values),
    )


def _of_old_trees(db: Connection, event_seqs: list[int], kept: Term) -> list[int]:
    """Those of these events whose trees are old as a whole: a tree goes with the last of it."""
    marks = rows.marks(event_seqs)
    roots = dict(
        db.execute(
            f"SELECT seq, coalesce(root_seq, seq) FROM events WHERE seq IN ({marks})"
            " AND (root_seq IS NOT NULL OR seq IN (SELECT root_seq FROM trees))",
            event_seqs,
        ).fetchall()
    )
    of_tree = (
        "WITH tree (seq) AS (SELECT ? UNION ALL SELECT seq FROM events WHERE root_seq = ?)"
        f" SELECT 1 FROM tree t JOIN events e ON e.seq = t.seq WHERE {kept.sql} LIMIT 1"
    )
    young = {root for root in set(roots.values()) if db.execute(of_tree, (root, root, *kept.values)).fetchone()}
    return [seq for seq in event_seqs if roots.get(seq) not in young]
