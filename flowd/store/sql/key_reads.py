"""Questions about keys. Reads only."""

from flowd.store.sql.connection import Connection

MAX_BEHIND = 1_000

_BEHIND = (
    "SELECT count(*) FROM (SELECT 1 FROM lane_members m JOIN lane_members w ON w.lane_id = m.lane_id AND w.has = 0"
    " WHERE m.kind = 'flow' AND m.owner = ? AND m.has = 1 LIMIT ?) AS behind"
)
_EVENTS_BEHIND = (
    "SELECT e.id FROM lane_members m JOIN lane_members w ON w.lane_id = m.lane_id AND w.has = 0"
    " JOIN rounds o ON o.seq = w.owner JOIN events e ON e.seq = o.event_seq"
    " WHERE m.kind = 'flow' AND m.owner = ? AND m.has = 1 ORDER BY w.priority DESC, w.owner LIMIT ?"
)


def rounds_behind(db: Connection, round_seq: int | None) -> int:
    """How many rounds wait for the key that this one holds, counted to `MAX_BEHIND`."""
    if round_seq is None:
        return 0
    (count,) = db.execute(_BEHIND, (round_seq, MAX_BEHIND)).fetchone()
    return int(count)


def events_behind(db: Connection, round_seq: int, *, limit: int) -> list[str]:
    """The events of the rounds that wait for the key that this one holds, in the order in which they get it."""
    return [event_id for (event_id,) in db.execute(_EVENTS_BEHIND, (round_seq, limit))]
