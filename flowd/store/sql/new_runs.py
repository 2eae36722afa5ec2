"""Inserts the rows of new runs. Each function runs inside the writer's transaction."""

from collections.abc import Mapping, Sequence
from typing import NamedTuple

from flowd.domain.ids import longer_run_id
from flowd.domain.queueing import NewRun
from flowd.domain.run import ProcessStatus, Run
from flowd.domain.waiting import PauseWait, TimeWait
from flowd.store.sql import (
    expiring,
    inserting,
    keys,
    pauses,
    rows,
    times,
    timings,
)
from flowd.store.sql.connection import Connection

_COLUMNS = (
    "runs (id, event_seq, flow_name, flow_version, step_name, runner, package_hash, replay_of, status, created_at_ms,"
    " updated_at_ms, ready_seq, waits_for, waits_on, wait_why, not_before_ms, wait_ms, round, round_seq, run_when, needs_left,"
    " step_key, priority, labels, cause_seq, timing)"
)


class Made(NamedTuple):
    """A run that was inserted.

    Attributes:
        kept_by: The pause that it waits for.
        wait: The time.
    """

    seq: int
    id: str
    kept_by: str | None
    wait: TimeWait | None


class Wanted(NamedTuple):
    """A run to insert.

    Attributes:
        place: The number of its round, and the ``seq`` of its round's row if it has one.
    """

    event_seq: int
    event_id: str
    run: NewRun
    place: tuple[int, int | None]
    wait: TimeWait | None
    cause_seq: int | None


def insert(db: Connection, wanted: Sequence[Wanted], at_ms: int) -> list[Made]:
    """Insert runs, with their labels and what they ask for of times. One whose id another run has gets a longer id."""
    if not wanted:
        return []
    (ready,) = db.execute("SELECT last + 1 FROM ready_numbers").fetchone()  # triggers go on counting
    keep = pauses.keeping(db)
    kept = [None if keep is None or _comes_later(one) else keep(one.run.definition) for one in wanted]
    lines = [_row(one, by, ready + index, at_ms) for index, (one, by) in enumerate(zip(wanted, kept, strict=True))]
    seqs: dict[str, int] = dict(inserting.insert_new(db, _COLUMNS, lines, returning="id, seq"))
    made: list[Made] = []
    for one, by, line in zip(wanted, kept, lines, strict=True):
        run_id = one.run.id
        seq = seqs.pop(run_id, None)
        if seq is None:  # another run has its id
            step = one.run.definition
            run_id = longer_run_id(run_id, one.event_id, step.flow_name, step.step_name)
            ((_, seq),) = inserting.insert_new(db, _COLUMNS, [(run_id, *line[1:])], returning="id, seq")
        made.append(Made(seq, run_id, by, one.wait))
        if one.run.timing is not None:
            _begin_times(db, one, made[-1], at_ms)
    labels = [(*label, its.seq) for one, its in zip(wanted, made, strict=True) for label in one.run.labels]
    inserting.insert(db, "labels (name, value, run_seq)", labels)
    return made


def _begin_times(db: Connection, wanted: Wanted, made: Made, at_ms: int) -> None:
    timing = wanted.run.timing
    if made.wait is not None:
        times.note(db, made.wait, at_ms)
    elif timing is not None and timing.queue_timeout_ms is not None and not _comes_later(wanted) and not made.kept_by:
        expiring.begin(db, made.seq, timing.queue_timeout_ms, at_ms)


def _comes_later(wanted: Wanted) -> bool:
    """Whether it waits for something before the gate of pauses."""
    return bool(wanted.run.needs or wanted.run.copied) or wanted.wait is not None


def _row(wanted: Wanted, kept_by: str | None, ready_seq: int, at_ms: int) -> rows.Row:
    new = wanted.run
    definition = new.definition
    needs_others = bool(new.needs or new.copied)
    waits_for, *time = times.columns(wanted.wait)
    if needs_others:
        waits_for = "needs"
    elif kept_by is not None:
        waits_for = "pause"
    elif waits_for is None and new.has_key:
        waits_for = "key"  # until it has come to it; for what, it says then
    return (
        new.id,
        wanted.event_seq,
        definition.flow_name,
        definition.flow_version,
        definition.step_name,
        definition.runner,
        definition.package_hash,
        new.replay_of,
        ProcessStatus.QUEUED,
        at_ms,
        at_ms,
        ready_seq,
        waits_for,
        kept_by,
        *time,
        *wanted.place,
        new.when if needs_others else None,
        len(new.needs),
        keys.written(new.key),
        new.priority,
        rows.labels(new.labels),
        wanted.cause_seq,
        timings.written(new.timing),
    )


def created(
    event_id: str, runs: Sequence[NewRun], numbers: Mapping[str, int], made: Sequence[Made], at_ms: int
) -> tuple[Run, ...]:
    """The runs of an event as they were made; ``numbers`` are those of their rounds, by the names of their flows."""
    return tuple(
        _created(event_id, run, numbers.get(run.definition.flow_name, 1), its, at_ms)
        for run, its in zip(runs, made, strict=True)
    )


def _created(event_id: str, new: NewRun, number: int, made: Made, at_ms: int) -> Run:
    definition = new.definition
    return Run(
        id=made.id,
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
        waiting_for=made.wait if made.kept_by is None else PauseWait(made.kept_by),
        round=number,
        labels=new.labels,
    )
