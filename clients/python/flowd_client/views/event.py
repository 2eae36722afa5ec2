"""An event, and what dispatching one came to, as a client sees it."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from flowd_client.views import reading
from flowd_client.views.run import RunView, read_run


@dataclass(frozen=True)
class EventView:
    """A stored event.

    Attributes:
        occurred_at: As the sender wrote it; so is ``received_at`` where the sender gave one.
        runs: Filled by ``get_event``; empty in lists.
        raw: The record as it came.
    """

    id: str
    type: str | None
    source: str | None
    occurred_at: str | None
    received_at: str | None
    payload: Any
    run_ids: tuple[str, ...]
    runs: tuple[RunView, ...]
    created_at: datetime | None
    raw: Mapping[str, Any] = field(repr=False, compare=False)


@dataclass(frozen=True)
class DispatchView:
    """What a dispatch or replay came to.

    Attributes:
        status: ``accepted`` or ``duplicate``.
        run_ids: The created runs, or a duplicate's original ones.
        matched: How many steps matched; 0 for a duplicate.
        is_duplicate: The id was known; nothing was started.
        conflict: It was known with other content.
        timed_out: Waiting ended before the runs did.
        runs: As they are now; final if waited for.
    """

    status: str
    event_id: str
    run_ids: tuple[str, ...]
    matched: int
    conflict: bool
    warning: str | None
    timed_out: bool
    event: EventView | None
    runs: tuple[RunView, ...]
    raw: Mapping[str, Any] = field(repr=False, compare=False)

    @property
    def is_duplicate(self) -> bool:
        """The id was known; nothing was started."""
        return self.status == "duplicate"


def read_event(value: object) -> EventView:
    """An event from its record, or from an answer ``{event, runs}``."""
    answer = reading.members(value)
    source = reading.inner(value, "event")
    runs = tuple(read_run(item) for item in reading.items(source, "runs") or reading.items(answer, "runs"))
    named = reading.texts(source, "runIds")
    return EventView(
        id=reading.text(source, "id", "eventId") or "",
        type=reading.text(source, "type"),
        source=reading.text(source, "source"),
        occurred_at=reading.text(source, "occurredAt"),
        received_at=reading.text(source, "receivedAt"),
        payload=source.get("payload"),
        run_ids=named + tuple(run.id for run in runs if run.id not in named),
        runs=runs,
        created_at=reading.instant(source, "createdAt"),
        raw=source,
    )


def read_events(answer: object) -> reading.Page[EventView]:
    """A list answer."""
    return reading.page(answer, "events", read_event)


def read_dispatch(answer: object) -> DispatchView:
    """What a dispatch or replay came to, from its answer."""
    source = reading.members(answer)
    runs = tuple(read_run(item) for item in reading.items(source, "runs"))
    event = source.get("event")
    return DispatchView(
        status=reading.text(source, "status") or "unknown",
        event_id=reading.text(source, "eventId") or "",
        run_ids=reading.texts(source, "runIds") or tuple(run.id for run in runs),
        matched=reading.number(source, "matched") or 0,
        conflict=reading.flag(source, "conflict"),
        warning=reading.text(source, "warning"),
        timed_out=reading.flag(source, "timedOut"),
        event=read_event(event) if isinstance(event, dict) else None,
        runs=runs,
        raw=source,
    )
