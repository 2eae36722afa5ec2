"""What a host can start of what is ready, in a store that hosts share, and what it holds from then on. Each function runs
inside the writer's transaction.

A host can run a step that its own catalog has, with labels that it has itself: these are its abilities.
"""

from flowd.domain.definition import Definition
from flowd.domain.hosts import HostSession
from flowd.domain.queueing import Claim
from flowd.store.sql import rows
from flowd.store.sql.connection import Connection

_READY = "status = 'queued' AND waits_for IS NULL AND called_off IS NULL"
_STEPS = f"""
WITH RECURSIVE ready (flow_name, step_name) AS (
    (SELECT flow_name, step_name FROM runs WHERE {_READY} ORDER BY flow_name, step_name LIMIT 1)
    UNION ALL
    SELECT other.flow_name, other.step_name FROM ready, LATERAL (
        SELECT runs.flow_name, runs.step_name FROM runs
        WHERE {_READY} AND (runs.flow_name, runs.step_name) > (ready.flow_name, ready.step_name)
        ORDER BY runs.flow_name, runs.step_name LIMIT 1
    ) other
)"""
"""The steps of which any run is ready, by a look at one run of each."""

_ABLE = f"""{_STEPS}
SELECT head.seq FROM ready
JOIN host_abilities able ON able.host = ? AND able.flow_name = ready.flow_name AND able.step_name = ready.step_name
JOIN LATERAL (
    SELECT seq, priority, ready_seq FROM runs
    WHERE {_READY} AND runs.flow_name = ready.flow_name AND runs.step_name = ready.step_name
    ORDER BY priority DESC, ready_seq LIMIT ?
) head ON true
ORDER BY head.priority DESC, head.ready_seq LIMIT ?"""

_ANY = f"""{_STEPS}
SELECT EXISTS (
    SELECT 1 FROM ready
    JOIN host_abilities able ON able.host = ? AND able.flow_name = ready.flow_name AND able.step_name = ready.step_name
)::int, (SELECT min(not_before_ms) FROM runs WHERE waits_for = 'time')"""

_CLAIMED = (
    f"SELECT {rows.RUN_COLUMNS}, e.traceparent, coalesce((SELECT body FROM causes WHERE seq = r.cause_seq), e.body)"
    " FROM runs r JOIN events e ON e.seq = r.event_seq WHERE r.seq IN ({seqs})"
    " ORDER BY r.priority DESC, r.ready_seq"
)


def next_runs(db: Connection, ask: Claim, found: list[rows.Row], limit: int) -> list[rows.Row]:
    """Of the runs that are next, those that this host can start.

    Args:
        found: The first that are ready, whoever can start them, as `queue.NEXT` has them.
        limit: How many these were to be at most, and how many are wanted.
    """
    able = [row for row in found if ask.definition_of(row[rows.FLOW_NAME], row[rows.STEP_NAME]) is not None]
    if len(able) == len(found) or len(found) < limit or ask.host is None:
        return able
    # Others stand before them, perhaps very many: look step by step.
    seqs = [row[0] for row in db.execute(_ABLE, (ask.host.name, limit, limit)).fetchall()]
    return db.execute(_CLAIMED.format(seqs=rows.marks(seqs)), seqs).fetchall() if seqs else []


def startable(db: Connection, host: HostSession) -> tuple[bool, int | None]:
    """See `flowd.ports.hosts.Leases.startable`."""
    is_any_ready, next_due_ms = db.execute(_ANY, (host.name,)).fetchone()
    return bool(is_any_ready), next_due_ms


def begin(db: Connection, run_seq: int, number: int, definition: Definition, host: HostSession) -> None:
    """Give an attempt that begins its lease."""
    db.execute(
        "UPDATE attempts SET host = ?, host_id = ?, session = ?, lost_after_ms = ?, lease_until_ms = server_ms() + ?"
        " WHERE run_seq = ? AND number = ?",
        (host.name, host.host_id, host.session, definition.lost_after_ms, definition.lost_after_ms, run_seq, number),
    )
