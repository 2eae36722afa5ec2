"""Makes the runs of an accept or a replay. Each function runs inside the writer's transaction."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import islice
from types import MappingProxyType
from typing import NamedTuple

from flowd.domain.queueing import NewRun
from flowd.domain.run import Run
from flowd.domain.waiting import TimeWait
from flowd.store.sql import (
    bursts,
    clocks,
    copied_needs,
    earlier_rounds,
    gates,
    inserting,
    keys,
    new_runs,
    reads,
    times,
)
from flowd.store.sql.connection import Connection
from flowd.store.sql.copied_needs import Copies

_MAX_AT_GATES = 200
"""Runs that are brought to gates in the transaction that makes them: some 30 ms."""


@dataclass(frozen=True, slots=True)
class Inserted:
    """Runs that were just inserted, with their numbers, in the order in which they were given.

    Attributes:
        has_links: Some of them need others, a key, or quiet. Then `settle` has to follow.
    """

    runs: tuple[Run, ...]
    seqs: list[int]
    has_links: bool = False


def next_numbers(db: Connection, event_seq: int, runs: Sequence[NewRun]) -> dict[str, int]:
    """The numbers of the rounds that these runs make for an event, by the names of their flows."""
    flows = list(dict.fromkeys(run.definition.flow_name for run in runs))
    newest = earlier_rounds.newest_numbers(db, ((event_seq, flow) for flow in flows))
    return {flow: newest.get((event_seq, flow), 0) + 1 for flow in flows}


def insert(
    db: Connection,
    event_seq: int,
    event_id: str,
    runs: Sequence[NewRun],
    at_ms: int,
    *,
    numbers: Mapping[str, int] = MappingProxyType({}),
    copies: Copies | None = None,
    before_keys: TimeWait | None = None,
) -> Inserted:
    """The runs as they were created, and their numbers. One whose id another run has gets a longer id.

    Args:
        numbers: Of their rounds, by the names of their flows; 1 unless given.
        copies: From `copied_needs.read`, where some have any.
        before_keys: See `wait_before_keys`.
    """
    (made,), has_rounds = insert_many(db, [Group(event_seq, event_id, runs, numbers)], at_ms, before_keys=before_keys)
    created = new_runs.created(event_id, runs, numbers, made, at_ms)
    seqs = [its.seq for its in made]
    if has_rounds:
        copied_needs.write(db, zip(runs, seqs, strict=True), copies or {})
    has_links = has_rounds or any(run.key is not None or waits_for_quiet(run) for run in runs)
    return Inserted(created, seqs, has_links=has_links)


def insert_all(db: Connection, groups: Sequence["Group"], at_ms: int) -> list[Inserted]:
    """The same for the runs of many events, none of which needs another or has a key."""
    made, _ = insert_many(db, groups, at_ms)
    return [
        Inserted(new_runs.created(group.event_id, group.runs, group.numbers, its, at_ms), [one.seq for one in its])
        for group, its in zip(groups, made, strict=True)
    ]


class Group(NamedTuple):
    """The runs to insert for an event; see `insert`.

    Attributes:
        cause_seq: The note of why the event has a further round, where a run has caused it.
    """

    event_seq: int
    event_id: str
    runs: Sequence[NewRun]
    numbers: Mapping[str, int] = MappingProxyType({})
    cause_seq: int | None = None


def insert_many(
    db: Connection, groups: Sequence[Group], at_ms: int, *, before_keys: TimeWait | None = None
) -> tuple[list[list[new_runs.Made]], bool]:
    """Insert the runs of many events, with their rounds and what they need of each other; and whether there are any
    rounds. What comes to the gate of pauses at once, and is paused, waits there; who comes to another gate is brought
    there by `settle`."""
    rounds = _open_rounds(db, groups)
    before_keys = clocks.of_store(db, before_keys)
    wanted = [
        new_runs.Wanted(
            group.event_seq,
            group.event_id,
            run,
            (group.numbers.get(flow, 1), theirs.get(flow)),
            _wait_of(db, run, before_keys, at_ms),
            group.cause_seq,
        )
        for group, theirs in zip(groups, rounds, strict=True)
        for run in group.runs
        for flow in (run.definition.flow_name,)
    ]
    left = iter(new_runs.insert(db, wanted, at_ms))
    made = [list(islice(left, len(group.runs))) for group in groups]
    needs = [
        row
        for group, theirs, its in zip(groups, rounds, made, strict=True)
        if theirs
        for row in _needs(group.runs, its)
    ]
    inserting.insert(db, "needs (need_seq, run_seq, place)", needs)
    return made, any(rounds)


def comes_to_gate(run: NewRun) -> bool:
    """Whether a new run has to be brought to a gate, and does not find out by itself whether it waits."""
    return bool(run.copied or (run.has_key and not run.is_timed)) and not run.needs and run.wait is None


def waits_for_quiet(run: NewRun) -> bool:
    """Whether a new run has to be brought to the events that came before it."""
    return run.timing is not None and run.timing.quiet is not None


def wait_before_keys(news: Iterable[Sequence[NewRun]], *, due_ms: int = 0) -> TimeWait | None:
    """What new runs of one event or many wait for before they come to a key: nothing, unless very many do.

    To bring one there takes ten times as long as all else about a run, so they come there in later transactions: they
    wait for a time that has come, and some of those are let go on at each claim.

    Args:
        due_ms: That time, by the steady clock.
    """
    comers = sum(comes_to_gate(run) for runs in news for run in runs)
    return TimeWait(due_ms, 0, "delay") if comers > _MAX_AT_GATES else None


def _wait_of(db: Connection, run: NewRun, before_keys: TimeWait | None, at_ms: int) -> TimeWait | None:
    """What it waits for once it is stored, by the clocks of the store; None where that is no time."""
    if run.timing is not None and run.timing.is_wait and not run.needs and not run.copied:
        return times.first(db, run.timing, at_ms)
    return before_keys if _is_kept_from_key(run, before_keys) else clocks.of_store(db, run.wait)


def _is_kept_from_key(run: NewRun, before_keys: TimeWait | None) -> bool:
    return before_keys is not None and not run.copied and comes_to_gate(run)


def settle(
    db: Connection,
    event_seq: int,
    runs: Sequence[NewRun],
    inserted: Inserted,
    at_ms: int,
    *,
    before_keys: TimeWait | None = None,
) -> Inserted:
    """Let those that wait for nothing else come to their gates, after the journal was told of them all; the runs as they
    are. ``before_keys`` as they were inserted."""
    bring_to_gates(db, event_seq, runs, inserted.seqs, at_ms, before_keys=before_keys)
    return replace(inserted, runs=tuple(reads.runs_by_seq(db, inserted.seqs)))


def bring_to_gates(
    db: Connection,
    event_seq: int,
    runs: Sequence[NewRun],
    seqs: Sequence[int],
    at_ms: int,
    *,
    before_keys: TimeWait | None = None,
) -> None:
    """`settle` of runs that nobody wants to see."""
    for run, seq in zip(runs, seqs, strict=True):
        if waits_for_quiet(run):
            _bring_to_burst(db, seq, run, at_ms)
        elif comes_to_gate(run) and not _is_kept_from_key(run, before_keys):
            gates.advance(db, seq, event_seq, at_ms=at_ms, is_told=True)


def _bring_to_burst(db: Connection, seq: int, run: NewRun, at_ms: int) -> None:
    step = run.definition
    assert run.timing is not None
    assert run.timing.quiet is not None
    (run_id,) = db.execute("SELECT id FROM runs WHERE seq = ?", (seq,)).fetchone()
    wait, ended = bursts.come(db, (seq, run_id), (step.flow_name, step.step_name), run.timing.quiet, at_ms)
    times.note(db, wait, at_ms)
    db.execute("UPDATE runs SET not_before_ms = ?, wait_ms = ? WHERE seq = ?", (wait.until_ms, wait.whole_ms, seq))
    gates.do(db, ended, at_ms=at_ms)


def _open_rounds(db: Connection, groups: Sequence[Group]) -> list[dict[str, int]]:
    """A row for each flow whose runs need each other; for each event its flows' rows, by their names."""
    opened: dict[tuple[int, str], tuple[int, list[NewRun]]] = {}
    for group in groups:
        if not any(map(_is_linked, group.runs)):  # most are not
            continue
        by_flow: dict[str, list[NewRun]] = {}
        for run in group.runs:
            by_flow.setdefault(run.definition.flow_name, []).append(run)
        for flow, runs in by_flow.items():
            if any(map(_is_linked, runs)):
                opened[group.event_seq, flow] = group.numbers.get(flow, 1), runs
    lines = [(event_seq, number, flow) for (event_seq, flow), (number, _) in opened.items()]
    found: dict[int, dict[str, int]] = {}
    wanted_keys: list[tuple[object, ...]] = []
    columns = "rounds (event_seq, number, flow_name)"
    for event_seq, flow, seq in inserting.insert_new(db, columns, lines, returning="event_seq, flow_name, seq"):
        found.setdefault(event_seq, {})[flow] = seq
        _, runs = opened[event_seq, flow]
        if runs[0].round_key is not None:
            wanted_keys.append((seq, keys.written(runs[0].round_key), max(run.priority for run in runs)))
    inserting.insert(db, "round_keys (round_seq, key, priority)", wanted_keys)
    return [found.get(group.event_seq, {}) for group in groups]


def _is_linked(run: NewRun) -> bool:
    return bool(run.needs or run.copied or run.round_key)


def _needs(runs: Sequence[NewRun], made: Sequence[new_runs.Made]) -> Iterator[tuple[object, ...]]:
    by_step = {
        (run.definition.flow_name, run.definition.step_name): its.seq for run, its in zip(runs, made, strict=True)
    }
    for run, its in zip(runs, made, strict=True):
        for place, need in enumerate(run.needs):
            yield by_step[run.definition.flow_name, need], its.seq, place
