"""Finds queued runs that nothing can let go of, or that wait for what is not there. Reads only.

None of the first kind should ever be: each end of a wait is in the transaction of what it waited for. Somebody may have
changed the database, or flowd has a fault.
"""

from dataclasses import dataclass

from flowd.store.sql import pauses, rows
from flowd.store.sql.connection import Connection

_SHOWN = 3

_QUEUED = "r.status = 'queued' AND r.status IN ('queued', 'running')"
_OPEN_NEED = (
    "EXISTS (SELECT 1 FROM needs n JOIN runs q ON q.seq = n.need_seq WHERE n.run_seq = r.seq"
    " AND q.status IN ('queued', 'running'))"
)
_QUESTION = (
    f"EXISTS (SELECT 1 FROM needs n JOIN runs q ON q.seq = n.need_seq WHERE n.run_seq = r.seq AND {rows.IS_QUESTION})"
)
_COUNT_OPEN = (
    "SELECT count(*) FROM needs n JOIN runs q ON q.seq = n.need_seq WHERE n.run_seq = r.seq"
    " AND q.status IN ('queued', 'running')"
)
_KINDS = "'needs', 'question', 'person', 'time', 'instant', 'pause', 'key', 'package'"

_IN_LINE = (
    "SELECT 1 FROM lane_members m JOIN lanes l ON l.id = m.lane_id WHERE m.kind = r.wait_why AND m.has = 0"
    " AND m.owner = CASE r.wait_why WHEN 'step' THEN r.seq ELSE r.round_seq END"
)
_HELD_BY_NOBODY = (
    "NOT EXISTS (SELECT 1 FROM lane_members h WHERE h.lane_id = m.lane_id AND h.has = 1 AND ("
    "h.kind = 'step' AND EXISTS (SELECT 1 FROM runs q WHERE q.seq = h.owner AND q.status IN ('queued', 'running'))"
    " OR h.kind = 'flow' AND EXISTS (SELECT 1 FROM runs q WHERE q.round_seq = h.owner"
    " AND q.status IN ('queued', 'running'))))"
)

_PAUSES = f"SELECT {pauses.NAME} FROM pauses p"

CONDITIONS: tuple[tuple[str, int, str], ...] = (
    ("waits for steps, all of which have ended", 6, f"r.waits_for = 'needs' AND NOT {_OPEN_NEED}"),
    (
        "counts other needs than have not ended",
        6,
        f"r.waits_for = 'needs' AND r.needs_left <> ({_COUNT_OPEN}) AND {_OPEN_NEED}",
    ),
    ("waits for a person's answer, and none of what it needs asks", 6, f"r.waits_for = 'question' AND NOT {_QUESTION}"),
    (
        "waits for the end of a pause that there is not",
        8,
        f"r.waits_for = 'pause' AND r.waits_on NOT IN ({_PAUSES})",
    ),
    ("waits for a key, and stands in no line for it", 9, f"r.waits_for = 'key' AND NOT EXISTS ({_IN_LINE})"),
    ("waits for a key that is free", 9, f"r.waits_for = 'key' AND EXISTS ({_IN_LINE} AND l.used < l.lim)"),
    (
        "waits for a key that nobody holds who has not ended",
        9,
        f"r.waits_for = 'key' AND EXISTS ({_IN_LINE} AND {_HELD_BY_NOBODY})",
    ),
    ("waits for something that this flowd does not know", 6, f"r.waits_for NOT IN ({_KINDS})"),
)
"""What is wrong with a run, from which version of the schema on that can be asked, and the question about a run ``r``."""


@dataclass(frozen=True, slots=True)
class Stuck:
    """Runs with one thing wrong.

    Attributes:
        why: The predicate of a sentence about one of them.
        run_ids: Some of them.
    """

    why: str
    count: int
    run_ids: tuple[str, ...]


def find(db: Connection, version: int) -> list[Stuck]:
    """What no end of anything can let go of, in a database of this version of the schema."""
    found = []
    for why, since, condition in CONDITIONS:
        if version >= since:
            seqs = db.execute(f"SELECT r.id FROM runs r WHERE {_QUEUED} AND {condition} ORDER BY r.seq").fetchall()
            if seqs:
                found.append(Stuck(why, len(seqs), tuple(run_id for (run_id,) in seqs[:_SHOWN])))
    return found


def without_package(db: Connection, version: int) -> list[tuple[str, int]]:
    """The flows whose runs wait for their package, and how many each."""
    if version < 2:
        return []
    return db.execute(
        "SELECT flow_name, count(*) FROM runs WHERE waits_for = 'package' GROUP BY flow_name ORDER BY flow_name"
    ).fetchall()
