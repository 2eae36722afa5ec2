"""Lanes: who holds a key, who waits for it, and in which order they get it. Knows neither runs nor rounds. Each function
runs inside the writer's transaction.

Members are runs in the lanes of steps, and rounds in those of flows, by their ``seq``: it is the order of acceptance. A
lane is there while somebody holds its key. Whoever waits comes after those of a higher priority, and after those of its
own that were accepted before.
"""

from dataclasses import dataclass
from typing import NamedTuple

from flowd.domain import concurrency
from flowd.domain.concurrency import Kind, WantedKey
from flowd.store.sql.connection import Connection, WriteNotes

MAX_AHEAD = 100
"""Who comes before somebody who waits is counted no further."""

WAIT = f"""(
    SELECT json_array(l.grp, l.key,
        (SELECT CASE l.kind WHEN 'step' THEN (SELECT q.id FROM runs q WHERE q.seq = h.owner) ELSE
            (SELECT q.id FROM runs q WHERE q.round_seq = h.owner AND q.status IN ('queued', 'running')
                ORDER BY q.seq LIMIT 1) END
            FROM lane_members h WHERE h.lane_id = m.lane_id AND h.has = 1 ORDER BY h.priority DESC, h.owner LIMIT 1),
        (SELECT count(*) FROM (SELECT 1 FROM lane_members w WHERE w.lane_id = m.lane_id AND w.has = 0
            AND w.priority > m.priority LIMIT {MAX_AHEAD + 1}) AS before)
        + (SELECT count(*) FROM (SELECT 1 FROM lane_members w WHERE w.lane_id = m.lane_id AND w.has = 0
            AND w.priority = m.priority AND w.owner < m.owner LIMIT {MAX_AHEAD + 1}) AS before),
        (SELECT q.id FROM lane_members h JOIN runs w ON w.round_seq = h.owner AND w.waits_for = 'question'
            JOIN needs n ON n.run_seq = w.seq JOIN runs q ON q.seq = n.need_seq AND q.wants_person = 1
            WHERE l.kind = 'flow' AND h.lane_id = m.lane_id AND h.has = 1
            ORDER BY h.priority DESC, h.owner, w.seq, n.place LIMIT 1))
    FROM lane_members m JOIN lanes l ON l.id = m.lane_id
    WHERE m.kind = r.wait_why AND m.owner = CASE r.wait_why WHEN 'step' THEN r.seq ELSE r.round_seq END)"""
"""Of a run ``r`` that waits for a key: its group, its value, a run that holds it, how many come before, and which run
of a round that holds it asks a person."""


@dataclass(frozen=True, slots=True)
class Coming:
    """What became of somebody who came to a key.

    Attributes:
        holders: Who holds the key from now on, itself perhaps.
        is_refused: The key is busy, and it does not want to wait: it is to be ended, and is no member.
        gives_way_to: A younger one, for which it is to be ended; it is no member then.
        to_end: Older ones that are to be ended for it, while it waits for the key.
    """

    holders: tuple[int, ...] = ()
    is_refused: bool = False
    gives_way_to: int | None = None
    to_end: tuple[int, ...] = ()


class Place(NamedTuple):
    """Where a member stands."""

    lane_id: int
    has_key: bool


def place_of(db: Connection, kind: Kind, owner: int) -> Place | None:
    """Where somebody stands; None who neither holds a key nor waits for one."""
    found = db.execute("SELECT lane_id, has FROM lane_members WHERE kind = ? AND owner = ?", (kind, owner)).fetchone()
    return None if found is None else Place(found[0], bool(found[1]))


def come(db: Connection, kind: Kind, owner: int, priority: int, wanted: WantedKey) -> Coming:
    """Take a key, or wait for it, or not, as its ``on_busy`` says."""
    limit = _limit(db, kind, wanted.group, wanted.limit)
    lane_id, used = _lane(db, kind, wanted, limit)
    if used < limit and not _owners(db, f"{_WAITING} LIMIT 1", lane_id):
        _add(db, lane_id, _HAS, priority, owner, kind, wanted.on_busy)
        db.execute("UPDATE lanes SET used = used + 1 WHERE id = ?", (lane_id,))
        return Coming(holders=(owner,))
    way = wanted.on_busy
    if way == "skip":
        return Coming(is_refused=True)
    holding = [] if way == "queue" else _owners(db, _HOLDING, lane_id)
    waiting = [] if way == "queue" else _owners(db, _WAITING, lane_id)
    younger = concurrency.gives_way_to(way, owner, holding=holding, waiting=waiting)
    if younger is not None:
        return Coming(gives_way_to=younger)
    _add(db, lane_id, _WAITS, priority, owner, kind, wanted.on_busy)
    to_end = tuple(concurrency.ends(way, owner, holding=holding, waiting=waiting))
    # There is room although somebody waits where the limit was raised.
    return Coming(holders=tuple(_hand_over(db, lane_id, limit, used)), to_end=to_end)


def leave(db: Connection, kind: Kind, owner: int) -> list[int]:
    """Give back a key, or a place among those that wait. Who holds the key from now on."""
    left = db.execute(
        "DELETE FROM lane_members WHERE kind = ? AND owner = ? RETURNING lane_id, has", (kind, owner)
    ).fetchone()
    if left is None or not left[1]:
        return []
    lane_id = left[0]
    used, limit, group = db.execute(
        "UPDATE lanes SET used = used - 1 WHERE id = ? RETURNING used, lim, grp", (lane_id,)
    ).fetchone()
    next_ones = _hand_over(db, lane_id, _limit(db, kind, group, limit), used)
    if used == 0 and not next_ones:
        db.execute("DELETE FROM lanes WHERE id = ?", (lane_id,))
    return next_ones


def leave_line(db: Connection, kind: Kind, owner: int) -> None:
    """Give back a place among those that wait; a key is kept."""
    db.execute("DELETE FROM lane_members WHERE kind = ? AND owner = ? AND has = 0", (kind, owner))


def older_holders(db: Connection, kind: Kind, owner: int) -> list[int]:
    """Who holds the key for which somebody waits, is one that gives way to younger ones, and came before it."""
    place = place_of(db, kind, owner)
    if place is None:
        return []
    return [one for one in _owners(db, f"{_HOLDING} AND {_GIVES_WAY}", place.lane_id) if one < owner]


def youngest_behind(db: Connection, kind: Kind, owner: int) -> int | None:
    """Who waits for the key that somebody holds who gives way to younger ones, and came after it: the last of them."""
    holds = db.execute(
        f"SELECT lane_id FROM lane_members WHERE kind = ? AND owner = ? AND has = 1 AND {_GIVES_WAY}", (kind, owner)
    ).fetchone()
    if holds is None:
        return None
    (youngest,) = db.execute("SELECT max(owner) FROM lane_members WHERE lane_id = ? AND has = 0", holds).fetchone()
    return youngest if youngest is not None and youngest > owner else None


def clear(db: Connection) -> None:
    """Nobody holds a key or waits for one any more."""
    db.execute("DELETE FROM lane_members")
    db.execute("DELETE FROM lanes")


_WAITS, _HAS = 0, 1
_WAITING = "SELECT owner FROM lane_members WHERE lane_id = ? AND has = 0"
_HOLDING = "SELECT owner FROM lane_members WHERE lane_id = ? AND has = 1"
_GIVES_WAY = "on_busy IN ('replace', 'latest')"


def _limit(db: Connection, kind: Kind, group: str, known: int) -> int:
    """What is declared for a group now; ``known`` where nobody declares it any more."""
    return db.key_limits.get((kind, group), known) if isinstance(db, WriteNotes) else known


def _lane(db: Connection, kind: Kind, wanted: WantedKey, limit: int) -> tuple[int, int]:
    """The lane of a key, with its new limit, and how many hold the key."""
    values = limit, kind, wanted.group, wanted.key
    known = "UPDATE lanes SET lim = ? WHERE kind = ? AND grp = ? AND key = ? RETURNING id, used"
    found = db.execute(known, values).fetchone()
    if found is None:
        made = "INSERT INTO lanes (lim, kind, grp, key) VALUES (?, ?, ?, ?) RETURNING id, used"
        found = db.execute(made, values).fetchone()
    return found[0], found[1]


def _hand_over(db: Connection, lane_id: int, limit: int, used: int) -> list[int]:
    """Give the key to those that come next, as far as there is room. Who they are."""
    if used >= limit:
        return []
    first = db.execute(
        "SELECT priority, owner FROM lane_members WHERE lane_id = ? AND has = 0 ORDER BY priority DESC, owner LIMIT ?",
        (lane_id, limit - used),
    ).fetchall()
    if first:
        db.executemany(
            "UPDATE lane_members SET has = 1 WHERE lane_id = ? AND has = 0 AND priority = ? AND owner = ?",
            [(lane_id, *one) for one in first],
        )
        db.execute("UPDATE lanes SET used = ? WHERE id = ?", (used + len(first), lane_id))
    return [owner for _, owner in first]


def _owners(db: Connection, question: str, *values: int) -> list[int]:
    return [owner for (owner,) in db.execute(question, values)]


def _add(db: Connection, *values: int | str) -> None:
    db.execute(
        "INSERT INTO lane_members (lane_id, has, priority, owner, kind, on_busy) VALUES (?, ?, ?, ?, ?, ?)", values
    )
