"""Inserts events with their queued runs, and tells the journal. Each function runs inside the writer's transaction."""

from collections.abc import Sequence

from flowd.domain.queueing import NewRun
from flowd.domain.run import Run
from flowd.domain.stored import Accepted, NewEvent, NewEventRuns, StoredEvent
from flowd.domain.trees import CausedBy
from flowd.domain.waiting import TimeWait
from flowd.store.sql import inserting, journal, rounds, rows
from flowd.store.sql.connection import Connection

_EVENT = (
    "events (id, type, source, occurred_at, received_at, created_at_ms, fingerprint, body, left_out, cause_run_id,"
    " cause_event_id, root_id, root_seq, depth, parent_seq, traceparent)"
)

Place = tuple[str | None, str | None, str | None, int | None, int, int | None]
"""Of an event in its tree: the run that caused it and that run's event, the root by id and number, the depth, and the
number of that run's event."""

ROOT: Place = (None, None, None, None, 0, None)


def insert(
    db: Connection,
    event: NewEvent,
    runs: Sequence[NewRun],
    *,
    at_ms: int,
    place: Place = ROOT,
    before_keys: TimeWait | None = None,
) -> tuple[int, Accepted]:
    """Store an event that is not known yet, with its queued runs. Its number, and what accepting it came to.

    For ``before_keys`` see `rounds.wait_before_keys`.
    """
    trace = event.traceparent or _trace_above(db, place)
    ((_, seq),) = inserting.insert_new(db, _EVENT, [_row(event, place, trace, at_ms)], returning="id, seq")
    inserted = rounds.insert(db, seq, event.id, runs, at_ms, before_keys=before_keys)
    journal.add_accepted(db, at_ms, [(seq, inserted.seqs)])
    if inserted.has_links:
        inserted = rounds.settle(db, seq, runs, inserted, at_ms, before_keys=before_keys)
    return seq, _accepted(event, inserted.runs, place, trace, at_ms)


def insert_many(db: Connection, events: Sequence[NewEvent], *, at_ms: int, place: Place) -> dict[str, int]:
    """Store events that are not known yet, without their runs, in a tenth of the time. Their numbers, by their ids."""
    trace = _trace_above(db, place)
    lines = [_row(event, place, event.traceparent or trace, at_ms) for event in events]
    return dict(inserting.insert_new(db, _EVENT, lines, returning="id, seq"))


def insert_all(db: Connection, news: Sequence[NewEventRuns], *, at_ms: int) -> list[Accepted]:
    """Store events that are not known yet, nobody's consequences, with their queued runs, if these come to no gate but
    that of pauses. What accepting each came to."""
    seqs = insert_many(db, [new.event for new in news], at_ms=at_ms, place=ROOT)
    groups = [rounds.Group(seqs[new.event.id], new.event.id, new.runs) for new in news]
    made = rounds.insert_all(db, groups, at_ms)
    journal.add_accepted(
        db, at_ms, ((group.event_seq, inserted.seqs) for group, inserted in zip(groups, made, strict=True))
    )
    return [
        _accepted(new.event, inserted.runs, ROOT, new.event.traceparent, at_ms)
        for new, inserted in zip(news, made, strict=True)
    ]


def _accepted(event: NewEvent, runs: tuple[Run, ...], place: Place, trace: str | None, at_ms: int) -> Accepted:
    stored = StoredEvent(
        event.id,
        event.type,
        event.source,
        event.occurred_at,
        event.received_at,
        event.body,
        at_ms,
        tuple(run.id for run in runs),
        event.left_out,
        None if place[0] is None or place[1] is None else CausedBy(place[0], place[1]),
        place[2],
        place[4],
        trace,
    )
    return Accepted(event=stored, runs=runs)


def _trace_above(db: Connection, place: Place) -> str | None:
    """The trace that an event is part of which says none: that of the event above it."""
    if place[5] is None:
        return None
    (trace,) = db.execute("SELECT traceparent FROM events WHERE seq = ?", (place[5],)).fetchone()
    return None if trace is None else str(trace)


def _row(event: NewEvent, place: Place, trace: str | None, at_ms: int) -> rows.Row:
    return (
        event.id,
        event.type,
        event.source,
        event.occurred_at,
        event.received_at,
        at_ms,
        event.fingerprint,
        event.body.decode(),
        rows.left_out(event.left_out),
        *place,
        trace,
    )
