"""Makes the runs of an accept or a replay. Each function runs inside the writer's transaction."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from types import MappingProxyType

from flowd.domain.ids import longer_run_id
from flowd.domain.queueing import NewRun
from flowd.domain.run import ProcessStatus, Run
from flowd.store.sql import copied_needs, gates, keys, pauses, queue, reads, rows
from flowd.store.sql.connection import Connection
from flowd.store.sql.copied_needs import Copies


@dataclass(frozen=True, slots=True)
class Inserted:
    """Runs that were just inserted, with their numbers, in the order in which they were given.

    Attributes:
        has_links: Some of them need others, or a key. Then `settle` has to follow.
        is_kept: People have paused something, and so may keep them: `settle` has to follow, too.
    """

    runs: tuple[Run, ...]
    seqs: list[int]
    has_links: bool = False
    is_kept: bool = False


def next_numbers(db: Connection, event_seq: int, runs: Sequence[NewRun]) -> dict[str, int]:
    """The numbers of the rounds that these runs make for an event, by the names of their flows."""
    newest = "SELECT round FROM runs WHERE event_seq = ? AND flow_name = ? ORDER BY seq DESC LIMIT 1"
    numbers = {}
    for flow in dict.fromkeys(run.definition.flow_name for run in runs):
        found = db.execute(newest, (event_seq, flow)).fetchone()
        numbers[flow] = 1 if found is None else found[0] + 1
    return numbers


def insert(
    db: Connection,
    event_seq: int,
    event_id: str,
    runs: Sequence[NewRun],
    at_ms: int,
    *,
    numbers: Mapping[str, int] = MappingProxyType({}),
    copies: Copies | None = None,
) -> Inserted:
    """The runs as they were created, and their numbers. One whose id another run has gets a longer id.

    Args:
        numbers: Of their rounds, by the names of their flows; 1 unless given.
        copies: From `copied_needs.read`, where some have any.
    """
    rounds = _open_rounds(db, event_seq, runs, numbers)
    created, seqs, has_keys = [], [], False
    for run in runs:
        has_keys = has_keys or run.key is not None
        number = numbers.get(run.definition.flow_name, 1)
        place = number, rounds.get(run.definition.flow_name)
        seq = _insert_run(db, event_seq, run, at_ms, place)
        if seq is None:
            step = run.definition
            run = replace(run, id=longer_run_id(run.id, event_id, step.flow_name, step.step_name))  # noqa: PLW2901
            seq = _insert_run(db, event_seq, run, at_ms, place)
            assert seq is not None  # that id is nobody else's
        seqs.append(seq)
        created.append(_created(event_id, run, at_ms, number))
    is_kept = pauses.is_any(db)
    if not rounds:
        return Inserted(tuple(created), seqs, has_links=has_keys, is_kept=is_kept)
    _link(db, runs, seqs)
    copied_needs.write(db, zip(runs, seqs, strict=True), copies or {})
    return Inserted(tuple(reads.runs_by_seq(db, seqs)), seqs, has_links=True, is_kept=is_kept)


def settle(db: Connection, event_seq: int, runs: Sequence[NewRun], inserted: Inserted, at_ms: int) -> Inserted:
    """Let those that wait for nothing else come to their gates, after the journal was told of them all; the runs as they
    are."""
    for run, seq in zip(runs, inserted.seqs, strict=True):
        comes_to_gates = run.copied or run.has_key or inserted.is_kept
        if comes_to_gates and not run.needs and run.wait is None:
            gates.advance(db, seq, event_seq, at_ms=at_ms, is_told=True)
    return replace(inserted, runs=tuple(reads.runs_by_seq(db, inserted.seqs)))


def _open_rounds(
    db: Connection, event_seq: int, runs: Sequence[NewRun], numbers: Mapping[str, int]
) -> Mapping[str, int]:
    """A row for each flow whose runs need each other, by the flow's name."""
    found: dict[str, int] = {}
    for flow in dict.fromkeys(run.definition.flow_name for run in runs if run.needs or run.copied or run.round_key):
        (seq,) = db.execute(
            "INSERT INTO rounds (event_seq, number, flow_name) VALUES (?, ?, ?) RETURNING seq",
            (event_seq, numbers.get(flow, 1), flow),
        ).fetchone()
        found[flow] = seq
        theirs = [run for run in runs if run.definition.flow_name == flow]
        if theirs[0].round_key is not None:
            keys.add_round(db, seq, theirs[0].round_key, max(run.priority for run in theirs))
    return found


def _link(db: Connection, runs: Sequence[NewRun], seqs: Sequence[int]) -> None:
    by_step = {(run.definition.flow_name, run.definition.step_name): seq for run, seq in zip(runs, seqs, strict=True)}
    db.executemany(
        "INSERT INTO needs (need_seq, run_seq, place) VALUES (?, ?, ?)",
        [
            (by_step[run.definition.flow_name, need], seq, place)
            for run, seq in zip(runs, seqs, strict=True)
            for place, need in enumerate(run.needs)
        ],
    )


def _insert_run(db: Connection, event_seq: int, new: NewRun, at_ms: int, place: tuple[int, int | None]) -> int | None:
    """The number of the run; None where another one has its id. ``place`` is the round's number, and the ``seq`` of its row
    if it has one."""
    definition = new.definition
    needs_others = bool(new.needs or new.copied)
    waits_for, *time = queue.wait_columns(new.wait)
    if waits_for is None and new.has_key:
        waits_for = "key"  # until it has come to it; for what, it says then
    made = db.execute(
        "INSERT INTO runs (id, event_seq, flow_name, flow_version, step_name, runner, package_hash, replay_of, status,"
        " created_at_ms, updated_at_ms, ready_seq, waits_for, wait_why, not_before_ms, wait_ms, round, round_seq, run_when,"
        " needs_left, step_key, priority, labels) VALUES (?, ?, ?, ?, ?, ?, ?, ?, 'queued', ?, ?,"
        " (SELECT last + 1 FROM ready_numbers), ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?) ON CONFLICT DO NOTHING RETURNING seq",
        (
            new.id,
            event_seq,
            definition.flow_name,
            definition.flow_version,
            definition.step_name,
            definition.runner,
            definition.package_hash,
            new.replay_of,
            at_ms,
            at_ms,
            "needs" if needs_others else waits_for,
            *time,
            *place,
            new.when if needs_others else None,
            len(new.needs),
            keys.written(new.key),
            new.priority,
            rows.labels(new.labels),
        ),
    ).fetchone()
    if made is None:
        return None
    seq = int(made[0])
    if new.labels:
        db.executemany(
            "INSERT INTO labels (name, value, run_seq) VALUES (?, ?, ?)", [(*label, seq) for label in new.labels]
        )
    return seq


def _created(event_id: str, new: NewRun, at_ms: int, number: int) -> Run:
    definition = new.definition
    return Run(
        id=new.id,
        event_id=event_id,
        flow_name=definition.flow_name,
        flow_version=definition.flow_version,
        step_name=definition.step_name,
        runner=definition.runner,
        package_hash=definition.package_hash,
        status=ProcessStatus.QUEUED,
        created_at_ms=at_ms,
        updated_at_ms=at_ms,
        replay_of=new.replay_of,
        waiting_for=new.wait,
        round=number,
        labels=new.labels,
    )
