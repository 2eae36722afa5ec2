"""What a host can start of what is ready, in a store that hosts share, and what it holds from then on. Each function runs
inside the writer's transaction.

A host can run a step that its own catalog has, with labels that it has itself: these are its abilities. Where the rounds
of a flow have folders, in which steps leave files for each other, all of a round runs where its first step did.
"""

from flowd.domain.definition import Definition
from flowd.domain.hosts import HostSession, HostState, Startable
from flowd.domain.queueing import Claim
from flowd.store.sql import expiring, rows
from flowd.store.sql.connection import Connection

_READY = "status = 'queued' AND waits_for IS NULL AND called_off IS NULL"
_STEPS = f"""
WITH RECURSIVE ready (flow_name, step_name, bound_to) AS (
    (SELECT flow_name, step_name, bound_to FROM runs WHERE {_READY} ORDER BY flow_name, step_name, bound_to LIMIT 1)
    UNION ALL
    SELECT other.flow_name, other.step_name, other.bound_to FROM ready, LATERAL (
        SELECT runs.flow_name, runs.step_name, runs.bound_to FROM runs
        WHERE {_READY}
        AND (runs.flow_name, runs.step_name, runs.bound_to) > (ready.flow_name, ready.step_name, ready.bound_to)
        ORDER BY runs.flow_name, runs.step_name, runs.bound_to LIMIT 1
    ) other
)"""
"""The steps of which any run is ready, and where these are bound to, by a look at one run of each."""

_BY_HOST = """
JOIN host_abilities able ON able.host = ? AND able.flow_name = ready.flow_name AND able.step_name = ready.step_name
AND ready.bound_to IN ('', able.host)"""

_ABLE = f"""{_STEPS}
SELECT head.seq FROM ready {_BY_HOST}
JOIN LATERAL (
    SELECT seq, priority, ready_seq FROM runs
    WHERE {_READY} AND runs.flow_name = ready.flow_name AND runs.step_name = ready.step_name
    AND runs.bound_to = ready.bound_to ORDER BY priority DESC, ready_seq LIMIT ?
) head ON true
ORDER BY head.priority DESC, head.ready_seq LIMIT ?"""

_ANY = f"""{_STEPS}
SELECT EXISTS (SELECT 1 FROM ready {_BY_HOST})::int, LEAST(
(SELECT min(not_before_ms) FROM runs WHERE waits_for = 'time'),
(SELECT min(not_before_ms) FROM runs WHERE waits_for = 'instant'), {expiring.NEXT}) - server_ms(),
(SELECT wanted FROM hosts WHERE name = ?)"""

_CLAIMED = (
    f"SELECT {rows.RUN_COLUMNS}, r.ready_seq, e.traceparent, coalesce((SELECT body FROM causes WHERE seq = r.cause_seq), e.body)"
    " FROM runs r JOIN events e ON e.seq = r.event_seq WHERE r.seq IN ({seqs})"
    " ORDER BY r.priority DESC, r.ready_seq"
)


def next_runs(db: Connection, ask: Claim, found: list[rows.Row], limit: int) -> list[rows.Row]:
    """Of the runs that are next, those that this host can start.

    Args:
        found: The first that are ready, whoever can start them, as `queue.NEXT` has them.
        limit: How many these were to be at most, and how many are wanted.
    """
    if ask.host is None:
        return found
    definitions = {row[0]: ask.definition_of(row[rows.FLOW_NAME], row[rows.STEP_NAME]) for row in found}
    with_folder = [seq for seq, made_with in definitions.items() if made_with and made_with.has_round_dir]
    elsewhere = _bound_elsewhere(db, with_folder, ask.host)
    able = [row for row in found if definitions[row[0]] is not None and row[0] not in elsewhere]
    if len(able) == len(found) or len(found) < limit:
        return able
    # Others stand before them, perhaps very many: look step by step.
    seqs = [row[0] for row in db.execute(_ABLE, (ask.host.name, limit, limit)).fetchall()]
    return db.execute(_CLAIMED.format(seqs=rows.marks(seqs)), seqs).fetchall() if seqs else []


def _bound_elsewhere(db: Connection, seqs: list[int], host: HostSession) -> set[int]:
    if not seqs:
        return set()
    bound = f"SELECT seq FROM runs WHERE seq IN ({rows.marks(seqs)}) AND bound_to NOT IN ('', ?)"
    return {row[0] for row in db.execute(bound, [*seqs, host.name])}


def startable(db: Connection, host: HostSession) -> Startable:
    """See `flowd.ports.hosts.Leases.startable`."""
    is_any_ready, due_in_ms, wanted = db.execute(_ANY, (host.name, host.name)).fetchone()
    return Startable(bool(is_any_ready), due_in_ms, wanted == HostState.DRAINING)


def begin(db: Connection, run_seq: int, number: int, definition: Definition, host: HostSession) -> None:
    """Give an attempt that begins its lease, and keep the rest of its round where it is, if that has a folder."""
    if definition.has_round_dir:
        db.execute(
            "UPDATE runs SET bound_to = ? WHERE round_seq = (SELECT round_seq FROM runs WHERE seq = ?)"
            " AND (status = 'queued' OR (seq = ? AND run_when IS NOT NULL)) AND bound_to <> ?",
            (host.name, run_seq, run_seq, host.name),
        )
    db.write(
        "UPDATE attempts SET host = ?, host_id = ?, session = ?, lost_after_ms = ?, lease_until_ms = server_ms() + ?"
        " WHERE run_seq = ? AND number = ?",
        (host.name, host.host_id, host.session, definition.lost_after_ms, definition.lost_after_ms, run_seq, number),
    )
