"""The gate of keys, and what the ends of runs give back. Each function runs inside the writer's transaction.

A run takes its round's key first, if its round has one, and then its own. Its own it holds while it is ready or runs,
never between two attempts; so nobody who holds one waits for another. A round holds its key while something in it is
unfinished. What waits for an answer to one of its questions is that, too, but then the round gives way to a younger one
that does not want to wait.
"""

import json
from typing import NamedTuple

from flowd.domain.concurrency import WantedKey
from flowd.domain.run import ProcessStatus
from flowd.store.sql import journal, lanes, superseding
from flowd.store.sql.connection import Connection
from flowd.store.sql.passing import Change, Ended, Freed, Passed, Passing

_ALL = 1 << 62


class _Comer(NamedTuple):
    """A run or a round that wants a key; ``run_id`` is of the run, or of the one by which the round comes."""

    seq: int
    priority: int
    key: WantedKey
    run_id: str


_encode = json.JSONEncoder(ensure_ascii=False).encode


def written(key: WantedKey | None) -> str | None:
    """A key as it is stored."""
    return None if key is None else _encode([key.group, key.key, key.limit, key.on_busy])


def look(db: Connection, run_seq: int, event_seq: int, at_ms: int) -> Passed:
    """Whether a run has its keys, or can take them now; else it waits, or ends unstarted. A `gates.Gate`."""
    step_key, priority, run_id, round_seq, round_key, round_priority = db.execute(
        "SELECT r.step_key, r.priority, r.id, k.round_seq, k.key, k.priority FROM runs r"
        " LEFT JOIN round_keys k ON k.round_seq = r.round_seq WHERE r.seq = ?",
        (run_seq,),
    ).fetchone()
    others: tuple[Change, ...] = ()
    if round_key is not None:
        comer = _Comer(round_seq, round_priority, _read(round_key), run_id)
        passing, others = _look_at_round(db, comer, at_ms)
        if passing is Passing.KEPT:
            _wait(db, run_seq, event_seq, "flow", at_ms)
        if passing is not Passing.FREE:
            return Passed(passing, tuple(other for other in others if other != Ended(run_seq)))
    if step_key is None:
        return Passed(Passing.FREE, others)
    passing, more = _look_at_step(db, _Comer(run_seq, priority, _read(step_key), run_id), at_ms)
    if passing is Passing.KEPT:
        _wait(db, run_seq, event_seq, "step", at_ms)
    return Passed(passing, (*others, *more))


def give_back(db: Connection, run_seq: int, at_ms: int) -> list[Freed]:  # noqa: ARG001 - a `gates.Consequence`
    """A run starts no attempt now: it holds no key of its own any more, and waits for none, nor its round by it."""
    step_key, round_seq = db.execute(
        "SELECT r.step_key, k.round_seq FROM runs r LEFT JOIN round_keys k ON k.round_seq = r.round_seq WHERE r.seq = ?",
        (run_seq,),
    ).fetchone()
    if round_seq is not None and not _waiting_for(db, round_seq, at_most=1):
        lanes.leave_line(db, "flow", round_seq)
    return [] if step_key is None else _freed_runs(db, lanes.leave(db, "step", run_seq))


def has_own(db: Connection, run_seq: int) -> bool:
    """Whether a run holds a key of its own."""
    place = lanes.place_of(db, "step", run_seq)
    return place is not None and place.has_key


def round_ended(db: Connection, run_seq: int, at_ms: int) -> list[Change]:
    """A run has ended: its round's key goes to the next one where it was the last. Where others only wait for a person,
    and a younger round waits for them, they end. A `gates.Consequence`."""
    found = db.execute(
        "SELECT k.round_seq, o.open FROM runs r JOIN round_keys k ON k.round_seq = r.round_seq"
        " JOIN rounds o ON o.seq = k.round_seq WHERE r.seq = ?",
        (run_seq,),
    ).fetchone()
    if found is None:
        return []
    round_seq, unfinished = found
    if unfinished == 0:
        return [*_freed_rounds(db, lanes.leave(db, "flow", round_seq))]
    younger = lanes.youngest_behind(db, "flow", round_seq) if _only_asks(db, round_seq) else None
    return [] if younger is None else _end_round(db, round_seq, _first_of(db, younger), at_ms)


def _read(text: str) -> WantedKey:
    group, key, limit, on_busy = json.loads(text)
    return WantedKey(group, key, limit, on_busy)


# --- the key of a run ------------------------------------------------------------------------------------------------


def _look_at_step(db: Connection, run: _Comer, at_ms: int) -> tuple[Passing, tuple[Change, ...]]:
    place = lanes.place_of(db, "step", run.seq)
    if place is not None:
        return (Passing.FREE if place.has_key else Passing.KEPT), ()
    coming = lanes.come(db, "step", run.seq, run.priority, run.key)
    if coming.is_refused:
        superseding.for_want_of_key(db, "run", run.seq, at_ms)
        return Passing.ENDED, ()
    if coming.gives_way_to is not None:
        superseding.for_younger(db, "run", run.seq, _id_of(db, coming.gives_way_to), at_ms)
        return Passing.ENDED, ()
    ended = [one for older in coming.to_end for one in superseding.for_younger(db, "run", older, run.run_id, at_ms)]
    others = _freed_runs(db, [one for one in coming.holders if one != run.seq])
    return (Passing.FREE if run.seq in coming.holders else Passing.KEPT), (*ended, *others)


def _freed_runs(db: Connection, run_seqs: list[int]) -> list[Freed]:
    return [Freed(seq, _event_of(db, seq), "key") for seq in run_seqs]


# --- the key of a round ----------------------------------------------------------------------------------------------


def _look_at_round(db: Connection, round_: _Comer, at_ms: int) -> tuple[Passing, tuple[Change, ...]]:
    place = lanes.place_of(db, "flow", round_.seq)
    if place is not None:
        return (Passing.FREE if place.has_key else Passing.KEPT), ()
    coming = lanes.come(db, "flow", round_.seq, round_.priority, round_.key)
    if coming.is_refused:
        return Passing.ENDED, tuple(superseding.for_want_of_key(db, "round", round_.seq, at_ms))
    if coming.gives_way_to is not None:
        younger_id = _first_of(db, coming.gives_way_to)
        return Passing.ENDED, tuple(superseding.for_younger(db, "round", round_.seq, younger_id, at_ms))
    asking = [other for other in lanes.older_holders(db, "flow", round_.seq) if _only_asks(db, other)]
    older = dict.fromkeys([*coming.to_end, *asking])
    ended = [one for other in older for one in _end_round(db, other, round_.run_id, at_ms)]
    others = _freed_rounds(db, [one for one in coming.holders if one != round_.seq])
    return (Passing.FREE if round_.seq in coming.holders else Passing.KEPT), (*ended, *others)


def _end_round(db: Connection, round_seq: int, younger_id: str, at_ms: int) -> list[Change]:
    """End a round for a younger one; where it has begun, nobody is asked what it asked any more."""
    place = lanes.place_of(db, "flow", round_seq)
    if place is None or not place.has_key:
        return [*superseding.for_younger(db, "round", round_seq, younger_id, at_ms)]
    ended = superseding.for_younger(db, "rest", round_seq, younger_id, at_ms)
    return [*ended, *superseding.close_questions(db, round_seq, younger_id, at_ms)]


def _freed_rounds(db: Connection, round_seqs: list[int]) -> list[Freed]:
    return [Freed(seq, event_seq, "pause") for one in round_seqs for seq, event_seq in _waiting_for(db, one)]


def _waiting_for(db: Connection, round_seq: int, *, at_most: int = _ALL) -> list[tuple[int, int]]:
    """The runs of a round that wait for its key; all of them unless told otherwise."""
    return db.execute(
        "SELECT seq, event_seq FROM runs WHERE round_seq = ? AND waits_for = 'key' AND wait_why = 'flow'"
        " ORDER BY seq LIMIT ?",
        (round_seq, at_most),
    ).fetchall()


def _only_asks(db: Connection, round_seq: int) -> bool:
    """Whether all that is unfinished in a round waits for a word on one of its questions, or for what does."""
    asking, others = db.execute(
        "SELECT count(*) FILTER (WHERE waits_for = 'question'),"
        " count(*) FILTER (WHERE coalesce(waits_for, '') NOT IN ('question', 'needs'))"
        " FROM runs WHERE round_seq = ? AND status IN ('queued', 'running')",
        (round_seq,),
    ).fetchone()
    return bool(asking > 0 and others == 0)


# --- rows ------------------------------------------------------------------------------------------------------------


def _wait(db: Connection, run_seq: int, event_seq: int, why: str, at_ms: int) -> None:
    before = db.execute("SELECT waits_for, wait_why FROM runs WHERE seq = ?", (run_seq,)).fetchone()
    if before == ("key", why):
        return
    db.execute(
        "UPDATE runs SET waits_for = 'key', wait_why = ?, updated_at_ms = ? WHERE seq = ?", (why, at_ms, run_seq)
    )
    if before != ("key", None):  # else it is new, and the journal has been told
        journal.add_run(db, at_ms, event_seq, run_seq, ProcessStatus.QUEUED)


def _event_of(db: Connection, run_seq: int) -> int:
    return int(db.execute("SELECT event_seq FROM runs WHERE seq = ?", (run_seq,)).fetchone()[0])


def _id_of(db: Connection, run_seq: int) -> str:
    return str(db.execute("SELECT id FROM runs WHERE seq = ?", (run_seq,)).fetchone()[0])


def _first_of(db: Connection, round_seq: int) -> str:
    return str(db.execute("SELECT id FROM runs WHERE round_seq = ? ORDER BY seq LIMIT 1", (round_seq,)).fetchone()[0])
