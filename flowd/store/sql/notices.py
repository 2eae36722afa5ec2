"""Writes notices into the outbox: in the transaction that ends the runs which they tell of.

Nothing here is called, and no statement is executed, where the settings have no notifier.
"""

import hashlib
import json
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, NamedTuple

from flowd.domain import why
from flowd.domain.notices import MAX_TEXT, MAX_WAITING, NotifyRule, What, is_failure, what_of
from flowd.domain.run import ProcessStatus, effective_status
from flowd.store.sql import rows
from flowd.store.sql.connection import Connection, WriteNotes

_AT_ONCE = 500
"""Runs that are looked at in one statement."""

_RUNS = (
    "SELECT r.seq, r.id, r.flow_name, r.step_name, r.status, r.result_status, r.result, r.reason, r.error,"
    " r.attempt_count, r.round, r.labels, e.seq, e.id, e.type, coalesce(e.root_seq, e.seq), coalesce(e.root_id, e.id),"
    " (SELECT a.host FROM attempts a WHERE a.run_seq = r.seq AND a.number = r.attempt_count)"
    " FROM runs r JOIN events e ON e.seq = r.event_seq WHERE r.seq IN ({marks})"
)
_ALARMING = (
    f"{_RUNS} AND r.resolution IS NULL AND r.status IN ('failed', 'completed')"
    " AND (r.status = 'failed' OR r.result_status IN ('failed', 'blocked', 'needs_intervention'))"
)
_RECOVERING = (
    "SELECT t.notifier, r.event_seq, r.flow_name, r.round, max(r.seq) FROM runs r"
    " JOIN notice_troubles t ON t.flow_name = r.flow_name WHERE r.seq IN ({marks})"
    " AND r.status NOT IN ('queued', 'running') GROUP BY t.notifier, r.event_seq, r.flow_name, r.round"
)
_ROUND = (
    "SELECT count(*) FILTER (WHERE status IN ('queued', 'running') OR wants_person = 1"
    " OR coalesce(result_status, status) IN ('failed', 'canceled')),"
    " count(*) FILTER (WHERE coalesce(result_status, status) IN ('completed', 'changed'))"
    " FROM runs WHERE event_seq = ? AND flow_name = ? AND round = ?"
)
_INSERT = (
    "INSERT INTO notices (id, notifier, what, created_at_ms, root_seq, told) VALUES (?, ?, ?, ?, ?, ?)"
    " ON CONFLICT (id) DO NOTHING"
)
_COUNT = "UPDATE notices SET failures = failures + 1 WHERE root_seq = ? AND notifier = ? RETURNING seq"
IS_FULL = f"SELECT 1 FROM notices WHERE state = 'waiting' AND notifier = ? LIMIT 1 OFFSET {MAX_WAITING - 1}"
_COUNT_IN_NEWEST = (
    "UPDATE notices SET failures = failures + 1 WHERE seq ="
    " (SELECT max(seq) FROM notices WHERE state = 'waiting' AND notifier = ? AND what = ?)"
)
_TROUBLE = "INSERT INTO notice_troubles (notifier, flow_name, since_ms) VALUES (?, ?, ?) ON CONFLICT DO NOTHING"
_OVER = "DELETE FROM notice_troubles WHERE notifier = ? AND flow_name = ? RETURNING since_ms"


class _Ended(NamedTuple):
    """A run that has ended, as `_RUNS` has it."""

    seq: int
    run_id: str
    flow_name: str
    step_name: str
    status: str
    result_status: str | None
    result: str | None
    reason: str | None
    error: str | None
    attempt: int
    round: int
    labels: str | None
    event_seq: int
    event_id: str
    event_type: str
    root_seq: int
    root_id: str
    host: str | None

    @property
    def effective_status(self) -> str:
        return effective_status(self.status, self.result_status)


def note_ends(db: Connection, told: Iterable[Sequence[Any]]) -> None:
    """Write the notices of what the journal is about to be told of.

    Args:
        told: Rows of the journal: the instant, the kind, the ``seq`` of event and run, the status.
    """
    if not isinstance(db, WriteNotes) or not db.notify:
        return
    finals = (ProcessStatus.FAILED, ProcessStatus.COMPLETED)
    ended = {row[3]: row[0] for row in told if row[1] == "run" and row[4] in finals}
    outbox, seqs = _Outbox(db, db.notify, ended), list(ended)
    for first in range(0, len(seqs), _AT_ONCE):
        outbox.look_at(seqs[first : first + _AT_ONCE])
    db.has_notices = db.has_notices or outbox.has_new


def begin_anew(db: Connection, event_seq: int) -> None:
    """Somebody has something of the event's tree run again: what fails then is told again."""
    if isinstance(db, WriteNotes) and db.notify:
        db.execute(
            "UPDATE notices SET root_seq = NULL"
            " WHERE root_seq = (SELECT coalesce(root_seq, seq) FROM events WHERE seq = ?)",
            (event_seq,),
        )


class _Outbox:
    """Takes the notices of one transaction."""

    def __init__(self, db: Connection, rules: Sequence[NotifyRule], ended: Mapping[int, int]) -> None:
        """``ended`` is when each run has ended, by its ``seq``."""
        self._db = db
        self._rules = {rule.name: rule for rule in rules}
        self._ended = ended
        self._is_recovery_asked = any("recovered" in rule.on for rule in rules)
        self.has_new = False

    def look_at(self, seqs: Sequence[int]) -> None:
        """Tell what is to be told of these runs, failures first."""
        for run in self._runs(_ALARMING, seqs):
            what = what_of(run.effective_status, run.reason)
            if what is not None:
                self._tell(what, run)
        if self._is_recovery_asked:
            self._tell_recoveries(seqs)

    def _runs(self, sql: str, seqs: Sequence[int]) -> list[_Ended]:
        """In the order of ``seqs``, which is the one in which they ended."""
        found = {row[0]: _Ended(*row) for row in self._db.execute(sql.format(marks=rows.marks(seqs)), seqs)}
        return [found[seq] for seq in seqs if seq in found]

    def _tell(self, what: What, run: _Ended) -> None:
        for rule in self._rules.values():
            if not rule.wants(what, run.flow_name):
                continue
            if not is_failure(what):
                self._insert(rule, what, run)
            elif not self._is_counted(rule, run):
                self._insert(rule, what, run, root_seq=run.root_seq)
                if "recovered" in rule.on:
                    self._db.execute(_TROUBLE, (rule.name, run.flow_name, self._ended[run.seq]))

    def _is_counted(self, rule: NotifyRule, run: _Ended) -> bool:
        """Count it in the notice of its tree. False where that has none."""
        return self._db.execute(_COUNT, (run.root_seq, rule.name)).fetchone() is not None

    def _tell_recoveries(self, seqs: Sequence[int]) -> None:
        """Tell that a flow is well again of which a failure was told: a round of it has ended, and nothing in it failed."""
        recovering = self._db.execute(_RECOVERING.format(marks=rows.marks(seqs)), seqs).fetchall()
        for notifier, event_seq, flow_name, number, seq in recovering:
            rule = self._rules.get(notifier)
            if rule is None or not rule.wants("recovered", flow_name):
                continue
            bad, good = self._db.execute(_ROUND, (event_seq, flow_name, number)).fetchone()
            if bad or not good:
                continue
            over = self._db.execute(_OVER, (notifier, flow_name)).fetchone()
            if over is not None:
                (run,) = self._runs(_RUNS, [seq])
                self._insert(rule, "recovered", run, since_ms=over[0])

    def _insert(
        self, rule: NotifyRule, what: What, run: _Ended, *, root_seq: int | None = None, since_ms: int | None = None
    ) -> None:
        if self._db.execute(IS_FULL, (rule.name,)).fetchone() is not None:
            self._db.execute(_COUNT_IN_NEWEST, (rule.name, what))
            return
        at_ms = self._ended[run.seq]
        members = (rule.name, what, run.run_id, run.attempt, at_ms)
        notice_id = f"notice-{hashlib.sha256(json.dumps(members).encode()).hexdigest()[:24]}"
        told = _told(run) if since_ms is None else _told(run) | {"failedSinceMs": since_ms}
        text = json.dumps(told, ensure_ascii=False)
        self._db.execute(_INSERT, (notice_id, rule.name, what, at_ms, root_seq, text))
        self.has_new = True


def _told(run: _Ended) -> dict[str, Any]:
    """What there is to tell of it. The event's payload is not: it may be large, and secret."""
    said = json.loads(run.result).get("message") if run.result is not None else None
    members = {
        "flow": run.flow_name,
        "step": run.step_name,
        "runId": run.run_id,
        "attempt": run.attempt,
        "round": run.round,
        "eventId": run.event_id,
        "eventType": run.event_type,
        "rootEventId": run.root_id,
        "status": run.effective_status,
        "reason": run.reason,
        "message": said[:MAX_TEXT] if isinstance(said, str) and said.strip() else None,
        "why": why.line(f"{run.flow_name}/{run.step_name}", run.reason, run.error, None),
        "error": None if run.error is None else run.error[:MAX_TEXT],
        "labels": None if run.labels is None else json.loads(run.labels),
        "host": run.host,
    }
    return {name: value for name, value in members.items() if value is not None}
