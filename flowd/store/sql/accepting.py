"""Accepts many events with the statements of one, where nothing about them has to be looked at in between. Runs inside the
writer's transaction.
"""

from collections.abc import Sequence
from dataclasses import dataclass

from flowd.domain.errors import FlowdError
from flowd.domain.queueing import NewRun, QueueBounds
from flowd.domain.stored import Accepted, NewEvent, NewEventRuns
from flowd.store.sql import bounds, new_events, pauses, rows, writes
from flowd.store.sql.connection import Connection

_MAX_BODY_BYTES = 64 * 1024
"""Of an event that is accepted with others, so that their statements stay small."""


@dataclass(frozen=True, slots=True)
class Ask:
    """An event to accept, of which no claim is asked. Called, it is accepted by itself."""

    event: NewEvent
    runs: Sequence[NewRun]
    at_ms: int
    within: QueueBounds

    def __call__(self, db: Connection) -> Accepted:
        """See `writes.accept`."""
        return writes.accept(db, self.event, self.runs, at_ms=self.at_ms, within=self.within, claim=None)

    @property
    def is_simple(self) -> bool:
        """Whether it may be accepted with others: its runs come to no gate but that of pauses, and need no other."""
        return len(self.event.body) <= _MAX_BODY_BYTES and not any(
            run.needs or run.copied or run.has_key or run.round_key or (run.timing and run.timing.quiet)
            for run in self.runs
        )


def accept_all(db: Connection, asks: Sequence[Ask]) -> list[Accepted | FlowdError]:
    """What accepting each of these simple events came to, in their order, as if one came after the other."""
    if len(asks) == 1 or pauses.is_any(db):  # what is paused counts as waiting, and is known only once it is inserted
        return [_alone(db, ask) for ask in asks]
    known = _known(db, asks)
    now = bounds.load(db)
    refused: dict[int, FlowdError] = {}
    new: dict[int, Ask] = {}
    for index, ask in enumerate(asks):
        if ask.event.id in known:
            continue
        more = bounds.of(ask.runs)
        try:
            bounds.refuse_overflow(db, now, more, ask.within)
        except FlowdError as error:
            refused[index] = error
        else:
            known.add(ask.event.id)
            new[index] = ask
            now = bounds.Load(now.ready + more.ready, now.waiting + more.waiting)
    inserted = _insert(db, list(new.values()))
    accepted = dict(zip(new, inserted, strict=True))
    return [
        refused.get(index) or accepted.get(index) or writes.duplicate(db, ask.event) for index, ask in enumerate(asks)
    ]


def _alone(db: Connection, ask: Ask) -> Accepted | FlowdError:
    try:
        return ask(db)
    except FlowdError as error:
        return error


def _insert(db: Connection, new: Sequence[Ask]) -> list[Accepted]:
    if not new:
        return []
    at_ms = max(ask.at_ms for ask in new)
    return new_events.insert_all(db, [NewEventRuns(ask.event, tuple(ask.runs)) for ask in new], at_ms=at_ms)


def _known(db: Connection, asks: Sequence[Ask]) -> set[str]:
    """The ids of those that are stored already."""
    ids = [ask.event.id for ask in asks]
    ids += ids[-1:] * ((1 << (len(ids) - 1).bit_length()) - len(ids))  # few different statements, for plans are kept
    return {event_id for (event_id,) in db.execute(f"SELECT id FROM events WHERE id IN ({rows.marks(ids)})", ids)}
