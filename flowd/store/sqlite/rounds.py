"""Makes the runs of an accept or a replay. Each function runs inside the writer's transaction."""

import sqlite3
from collections.abc import Sequence
from dataclasses import replace

from flowd.domain.ids import longer_run_id
from flowd.domain.queueing import NewRun
from flowd.domain.run import ProcessStatus, Run
from flowd.store.sqlite import queue


def insert(
    db: sqlite3.Connection, event_seq: int, event_id: str, runs: Sequence[NewRun], at_ms: int
) -> tuple[tuple[Run, ...], list[int]]:
    """The runs as they were created, and their numbers. One whose id another run has gets a longer id."""
    created, seqs = [], []
    for run in runs:
        try:
            seqs.append(_insert_run(db, event_seq, run, at_ms))
        except sqlite3.IntegrityError:  # of this statement alone, which changed nothing
            step = run.definition
            run = replace(run, id=longer_run_id(run.id, event_id, step.flow_name, step.step_name))  # noqa: PLW2901
            seqs.append(_insert_run(db, event_seq, run, at_ms))
        created.append(_created(event_id, run, at_ms))
    return tuple(created), seqs


def _insert_run(db: sqlite3.Connection, event_seq: int, new: NewRun, at_ms: int) -> int:
    definition = new.definition
    seq = db.execute(
        "INSERT INTO runs (id, event_seq, flow_name, flow_version, step_name, runner, package_hash, replay_of, status,"
        " created_at_ms, updated_at_ms, ready_seq, waits_for, wait_why, not_before_ms, wait_ms)"
        " VALUES (?, ?, ?, ?, ?, ?, ?, ?, 'queued', ?, ?, (SELECT last + 1 FROM ready_numbers), ?, ?, ?, ?)",
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
            *queue.wait_columns(new.wait),
        ),
    ).lastrowid
    assert seq is not None
    return seq


def _created(event_id: str, new: NewRun, at_ms: int) -> Run:
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
    )
