"""Whether something can end before some runs have ended. Reads only."""

from collections.abc import Collection

from flowd.domain.awaited import Awaited, HeldUp, Waiting, judge
from flowd.store.sql import rows
from flowd.store.sql.connection import Connection, UndoneError
from flowd.store.sql.tree_reads import RUNS, scope

_OPEN = "status IN ('queued', 'running')"

_PARTS_OF_EVENT = f", parts (seq) AS (SELECT r.seq FROM {RUNS} WHERE r.{_OPEN})"
_PARTS_OF_RUN = f"WITH RECURSIVE parts (seq) AS (SELECT r.seq FROM runs r WHERE r.id = ? AND r.{_OPEN})"

_BEFORE = (
    "SELECT n.need_seq FROM needs n WHERE n.run_seq = m.seq"
    " UNION ALL SELECT b.seq FROM runs r JOIN lane_members w ON w.kind = 'flow' AND w.owner = r.round_seq AND w.has = 0"
    " JOIN lanes l ON l.id = w.lane_id AND l.lim = 1 JOIN lane_members h ON h.lane_id = l.id AND h.has = 1"
    " JOIN runs b ON b.round_seq = h.owner WHERE r.seq = m.seq"
)
_MEANT = (
    ", meant (seq) AS (SELECT seq FROM parts"
    f" UNION SELECT q.seq FROM meant m JOIN runs q ON q.seq IN ({_BEFORE}) AND q.{_OPEN})"
)
"""All that has to end first, too: what is needed, and the round that holds the only key for which another one waits. Of a
key for several any of those who hold it may be the first to give it back."""

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


def held_up(db: Connection, run_ids: Collection[str], awaited: Awaited) -> HeldUp | None:
    """Why what is awaited cannot end before one of these runs does, or its round; None where it can."""
    if awaited.run_id is None:
        parts, meant_id = scope(is_tree=awaited.is_tree) + _PARTS_OF_EVENT, awaited.event_id
    else:
        parts, meant_id = _PARTS_OF_RUN, awaited.run_id
    marks = rows.marks(run_ids)

    def one_of_them(found_in: str) -> str | None:
        found = db.execute(
            f"{parts}{_MEANT} SELECT r.id FROM {found_in} m JOIN runs r ON r.seq = m.seq WHERE r.id IN ({marks}) LIMIT 1",
            (meant_id, *run_ids),
        ).fetchone()
        return None if found is None else str(found[0])

    def takes(kind: str, group: str, key: str) -> bool:
        wanted = _WANTS[kind]
        found = db.execute(
            f"{parts}{_MEANT} SELECT 1 FROM meant m JOIN runs r ON r.seq = m.seq WHERE r.status = 'queued'"
            f" AND json_extract({wanted}, '$[0]') = ? AND json_extract({wanted}, '$[1]') = ?"
            # Who does not want to wait for a key ends at once where it is busy.
            f" AND json_extract({wanted}, '$[3]') <> 'skip' LIMIT 1",
            (meant_id, group, key),
        ).fetchone()
        return found is not None

    if (part := one_of_them("parts")) is not None:
        return HeldUp(part, is_part=True)
    if any(takes(*held) for held in db.execute(_HELD.format(marks), tuple(run_ids)).fetchall()):
        return HeldUp()
    needed = one_of_them("meant")
    return None if needed is None else HeldUp(needed)


def refuse(db: Connection, waiting: Waiting | None, run_ids: Collection[str]) -> None:
    """Undo what was done in this operation where a step could not wait for it, as it is about to.

    Args:
        waiting: Who is about to wait; None where nobody is.
        run_ids: The runs that were made, or queued again.

    Raises:
        UndoneError: It is so.
    """
    if waiting is None:
        return
    for awaited in [waiting.awaited] if waiting.awaited else [Awaited(run_id=run_id) for run_id in run_ids]:
        judging = judge(waiting, awaited, is_stored=False)
        try:
            question = next(judging)
            while True:
                question = judging.send(held_up(db, *question))
        except StopIteration as end:
            if end.value is not None:
                raise UndoneError(end.value) from None
