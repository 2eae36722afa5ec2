"""Questions about keys. Reads only."""

from collections.abc import Collection

from flowd.store.sql.connection import Connection
from flowd.store.sql.tree_reads import scope

MAX_BEHIND = 1_000

_BEHIND = (
    "SELECT count(*) FROM (SELECT 1 FROM lane_members m JOIN lane_members w ON w.lane_id = m.lane_id AND w.has = 0"
    " WHERE m.kind = 'flow' AND m.owner = ? AND m.has = 1 LIMIT ?)"
)
_EVENTS_BEHIND = (
    "SELECT e.id FROM lane_members m JOIN lane_members w ON w.lane_id = m.lane_id AND w.has = 0"
    " JOIN rounds o ON o.seq = w.owner JOIN events e ON e.seq = o.event_seq"
    " WHERE m.kind = 'flow' AND m.owner = ? AND m.has = 1 ORDER BY w.priority DESC, w.owner LIMIT ?"
)
_HELD = (
    "SELECT l.kind, l.grp, l.key FROM runs c JOIN lane_members m ON m.has = 1 AND"
    " m.kind = 'step' AND m.owner = c.seq OR m.has = 1 AND m.kind = 'flow' AND m.owner = c.round_seq"
    " JOIN lanes l ON l.id = m.lane_id WHERE c.id IN ({}) GROUP BY l.id HAVING count(DISTINCT m.owner) >= l.lim"
)
_WANTS = {
    "step": "r.step_key",
    "flow": "(SELECT k.key FROM round_keys k WHERE k.round_seq = r.round_seq AND NOT EXISTS"
    " (SELECT 1 FROM lane_members m WHERE m.kind = 'flow' AND m.owner = k.round_seq AND m.has = 1))",
}


def rounds_behind(db: Connection, round_seq: int | None) -> int:
    """How many rounds wait for the key that this one holds, counted to `MAX_BEHIND`."""
    if round_seq is None:
        return 0
    (count,) = db.execute(_BEHIND, (round_seq, MAX_BEHIND)).fetchone()
    return int(count)


def events_behind(db: Connection, round_seq: int, *, limit: int) -> list[str]:
    """The events of the rounds that wait for the key that this one holds, in the order in which they get it."""
    return [event_id for (event_id,) in db.execute(_EVENTS_BEHIND, (round_seq, limit))]


def keep_from_starting(db: Connection, run_ids: Collection[str], event_id: str, *, is_tree: bool) -> bool:
    """Whether anything of an event, or of its tree, cannot start before one of these runs ends, or its round: they hold
    all of a key that it takes."""
    for kind, group, key in db.execute(_HELD.format(",".join("?" * len(run_ids))), tuple(run_ids)).fetchall():
        wanted = _WANTS[kind]
        found = db.execute(
            f"{scope(is_tree=is_tree)} SELECT 1 FROM scope s JOIN runs r ON r.event_seq = s.seq WHERE r.status = 'queued'"
            f" AND json_extract({wanted}, '$[0]') = ? AND json_extract({wanted}, '$[1]') = ? LIMIT 1",
            (event_id, group, key),
        ).fetchone()
        if found is not None:
            return True
    return False
