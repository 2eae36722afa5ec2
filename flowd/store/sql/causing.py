"""Stores the events that a run causes, and new rounds of those that are known. Each function runs inside the writer's
transaction."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from types import MappingProxyType
from typing import Literal, NamedTuple

from flowd.domain import ids, trees
from flowd.domain.queueing import Caused, NewRun
from flowd.domain.stored import Accepted, NewEventRuns
from flowd.domain.waiting import TimeWait
from flowd.store.sql import earlier_rounds, inserting, journal, new_events, reads, rounds, rows, writes
from flowd.store.sql.connection import Connection, WriteNotes


@dataclass(frozen=True, slots=True)
class Cause:
    """A run and its place in a tree."""

    run_seq: int
    run_id: str
    flow_name: str
    step_name: str
    round: int
    is_canceled: int
    event_seq: int
    event_id: str
    root_seq: int
    root_id: str
    depth: int

    @property
    def place_below(self) -> new_events.Place:
        """Of what it causes."""
        return self.run_id, self.event_id, self.root_id, self.root_seq, self.depth + 1, self.event_seq


_ASKED_AT_ONCE = 500
"""Ids in a statement."""


class _Effect(NamedTuple):
    """What an event that is caused comes to.

    Attributes:
        event_seq: Of the known event; None where it is to be stored.
        body: What it was caused with this time, where that is not what it is stored with.
        runs: Of its round.
        numbers: Of the rounds of a known event, by the names of their flows.
    """

    new: NewEventRuns
    how: Literal["accepted", "duplicate", "conflict"]
    event_seq: int | None = None
    body: str | None = None
    runs: Sequence[NewRun] = ()
    numbers: Mapping[str, int] = MappingProxyType({})

    @property
    def caused(self) -> Caused:
        """What is counted of it."""
        return Caused(self.how, tuple(run.definition.flow_name for run in self.runs))


Known = Mapping[str, tuple[int, bytes]]
"""Of those of some events that are stored already, by their ids, the numbers and fingerprints."""


def known(db: Connection, follows: Iterable[NewEventRuns]) -> Known:
    """Which of these events are stored."""
    names = list(dict.fromkeys(new.event.id for new in follows))
    found: dict[str, tuple[int, bytes]] = {}
    for first in range(0, len(names), _ASKED_AT_ONCE):
        some = names[first : first + _ASKED_AT_ONCE]
        sql = f"SELECT id, seq, fingerprint FROM events WHERE id IN ({rows.marks(some)})"
        found |= {name: (seq, fingerprint) for name, seq, fingerprint in db.execute(sql, some).fetchall()}
    return found


def cause_all(
    db: Connection, cause: Cause, follows: Sequence[NewEventRuns], known: Known, *, at_ms: int, due_ms: int = 0
) -> str | None:
    """Store what a run that has ended causes: new events, and new rounds of known ones.

    A known event has a new round where another round of the same flow for the same event has caused it, and this one has
    not yet. Else it is a duplicate: its first cause stays. Where its id stands for another event, that is noted with the
    run: its error from then on, else None.

    Args:
        known: Of these events.
        due_ms: See `rounds.wait_before_keys`.
    """
    effects = _effects(db, cause, follows, known)
    wait = rounds.wait_before_keys((effect.runs for effect in effects), due_ms=due_ms)
    for part in _parts(effects, are_kept_from_gates=wait is not None):
        _make(db, cause, part, at_ms, wait)
    if isinstance(db, WriteNotes):
        db.caused += [effect.caused for effect in effects]
    taken = [effect.new.event.id for effect in effects if effect.how == "conflict"]
    if not taken:
        return None
    (error,) = db.execute(
        "UPDATE runs SET error = ? || coalesce(? || error, '') WHERE seq = ? RETURNING error",
        (f"Step {cause.flow_name}/{cause.step_name} {trees.conflict(taken)}", "\n", cause.run_seq),
    ).fetchone()
    return str(error)


def cause_one(
    db: Connection, cause: Cause, new: NewEventRuns, known: Known, *, at_ms: int, due_ms: int = 0
) -> Accepted:
    """The same of one event; what that came to."""
    (effect,) = _effects(db, cause, (new,), known)
    wait = rounds.wait_before_keys([effect.runs], due_ms=due_ms)
    if effect.event_seq is None:
        event_seq, accepted = new_events.insert(
            db, new.event, new.runs, at_ms=at_ms, place=cause.place_below, before_keys=wait
        )
        _note(db, cause, [(event_seq, None)])
        _grow(db, cause, 1)
        return accepted
    before = writes.duplicate(db, new.event)
    if effect.how != "accepted":
        return before
    made = _make(db, cause, [effect], at_ms, wait)
    return replace(before, runs=tuple(reads.runs_by_seq(db, made)), is_duplicate=False, is_conflict=False)


def _effects(db: Connection, cause: Cause, follows: Sequence[NewEventRuns], known: Known) -> list[_Effect]:
    """What these events come to, in their order."""
    seqs = {name: seq for name, (seq, _) in known.items()}
    fingerprints = {name: fingerprint for name, (_, fingerprint) in known.items()}
    again = _to_repeat(db, cause, list(seqs.values()))
    effects = []
    for new in follows:
        name = new.event.id
        event_seq, is_new = seqs.get(name), name not in fingerprints
        is_other = fingerprints.setdefault(name, new.event.fingerprint) != new.event.fingerprint
        if is_new:
            effects.append(_Effect(new, "accepted", runs=new.runs))
        elif event_seq in again:
            again.remove(event_seq)  # once
            effects.append(_Effect(new, "accepted", event_seq, new.event.body.decode() if is_other else None, new.runs))
        else:
            effects.append(_Effect(new, "conflict" if is_other else "duplicate", event_seq))
    return _as_replays(db, cause, effects)


def _to_repeat(db: Connection, cause: Cause, event_seqs: Sequence[int]) -> set[int]:
    """Those of these events that another round of the run's flow for its event has caused, and this one has not."""
    before: set[int] = set()
    for first in range(0, len(event_seqs), _ASKED_AT_ONCE):
        some = event_seqs[first : first + _ASKED_AT_ONCE]
        sql = (
            f"SELECT event_seq FROM causes WHERE event_seq IN ({rows.marks(some)}) AND cause_event_seq = ?"
            " AND cause_flow = ? GROUP BY event_seq HAVING max(CASE WHEN cause_round = ? THEN 1 ELSE 0 END) = 0"
        )
        found = db.execute(sql, (*some, cause.event_seq, cause.flow_name, cause.round))
        before |= {event_seq for (event_seq,) in found.fetchall()}
    return before


def _as_replays(db: Connection, cause: Cause, effects: Sequence[_Effect]) -> list[_Effect]:
    """The same; the runs of known events are replays of the first runs of their steps, where these have any, in rounds
    with numbers."""
    steps = [
        (effect.event_seq, run.definition.flow_name, run.definition.step_name)
        for effect in effects
        if effect.event_seq is not None
        for run in effect.runs
    ]
    firsts = earlier_rounds.first_runs(db, steps)
    newest = earlier_rounds.newest_numbers(db, ((event_seq, flow) for event_seq, flow, _ in steps))

    def replay(event_seq: int, event_id: str, run: NewRun) -> NewRun:
        names = run.definition.flow_name, run.definition.step_name
        first = firsts.get((event_seq, *names))
        if first is None:
            return run
        return replace(run, id=ids.replay_run_id(event_id, *names, cause.run_id), replay_of=first)

    def numbered(effect: _Effect) -> _Effect:
        seq = effect.event_seq
        if seq is None or not effect.runs:
            return effect
        flows = {run.definition.flow_name for run in effect.runs}
        return effect._replace(
            runs=[replay(seq, effect.new.event.id, run) for run in effect.runs],
            numbers={flow: newest.get((seq, flow), 0) + 1 for flow in flows},
        )

    return [numbered(effect) for effect in effects]


def _parts(effects: Sequence[_Effect], *, are_kept_from_gates: bool) -> Iterator[Sequence[_Effect]]:
    """What is to be stored, in its order: nothing follows what comes to a gate before that has come there."""
    part: list[_Effect] = []
    for effect in effects:
        if effect.how == "accepted":
            part.append(effect)
            if any(map(rounds.waits_for_quiet, effect.runs)) or (
                not are_kept_from_gates and any(map(rounds.comes_to_gate, effect.runs))
            ):
                yield part
                part = []
    if part:
        yield part


def _make(
    db: Connection, cause: Cause, effects: Sequence[_Effect], at_ms: int, before_keys: TimeWait | None
) -> list[int]:
    """Store the events that are new, and a round of each: with few statements for very many, since all others wait that
    write. The numbers of the runs."""
    news = [effect.new.event for effect in effects if effect.event_seq is None]
    numbers = new_events.insert_many(db, news, at_ms=at_ms, place=cause.place_below)
    seqs = [numbers[effect.new.event.id] if effect.event_seq is None else effect.event_seq for effect in effects]
    noted = _note(db, cause, [(seq, effect.body) for seq, effect in zip(seqs, effects, strict=True)])
    if news:
        _grow(db, cause, len(news))
    groups = [
        rounds.Group(
            seq, effect.new.event.id, effect.runs, effect.numbers, None if effect.event_seq is None else noted[seq]
        )
        for seq, effect in zip(seqs, effects, strict=True)
    ]
    made, _ = rounds.insert_many(db, groups, at_ms, before_keys=before_keys)
    of_events = [(seq, [its.seq for its in runs]) for seq, runs in zip(seqs, made, strict=True)]
    journal.add_accepted(db, at_ms, of_events, known=set(seqs) - set(numbers.values()))
    for effect, (seq, run_seqs) in zip(effects, of_events, strict=True):
        rounds.bring_to_gates(db, seq, effect.runs, run_seqs, at_ms, before_keys=before_keys)
    return [run_seq for _, run_seqs in of_events for run_seq in run_seqs]


def _note(db: Connection, cause: Cause, events: Sequence[tuple[int, str | None]]) -> dict[int, int]:
    """That this round has caused these events, with their bodies of this time; the numbers of these notes."""
    into = "causes (event_seq, cause_event_seq, cause_flow, cause_round, cause_run_seq, body)"
    by = cause.event_seq, cause.flow_name, cause.round, cause.run_seq
    lines = [(event_seq, *by, body) for event_seq, body in events]
    return dict(inserting.insert_new(db, into, lines, returning="event_seq, seq"))


def _grow(db: Connection, cause: Cause, more: int) -> None:
    """The tree has so many more events."""
    db.execute(
        "INSERT INTO trees (root_seq, events) VALUES (?, ?) ON CONFLICT (root_seq) DO UPDATE SET events = trees.events + ?",
        (cause.root_seq, 1 + more, more),
    )
