"""An event, and what dispatching one came to, as a client sees it."""

from collections.abc import Mapping
from dataclasses import field
from datetime import datetime
from typing import Any

from flowd_client.views.frozen import frozen
from flowd_client.views.reading import Page, called, inner, members, page, read, records, texts
from flowd_client.views.run import RunView, read_run


@frozen
class LeftOutView:
    """A share of an event that was not run, though it was or may have been meant.

    Attributes:
        step: None where it is the whole package.
        why: What was in the way.
    """

    flow: str
    step: str | None
    why: str
    raw: Mapping[str, Any] = field(repr=False, compare=False)

    @property
    def label(self) -> str:
        """``flow`` or ``flow/step``."""
        return self.flow if self.step is None else f"{self.flow}/{self.step}"


@frozen
class CausedByView:
    """The run that caused an event, and the event that it is a run of."""

    run_id: str
    event_id: str
    raw: Mapping[str, Any] = field(repr=False, compare=False)


@frozen
class EventView:
    """A stored event.

    Attributes:
        occurred_at: As the sender wrote it; so is ``received_at`` where the sender gave one.
        runs: Filled by ``get_event``; empty in lists.
        left_out: Whose share of the event was not run.
        caused_by: None where no run caused it.
        traceparent: Of the trace that it belongs to (W3C Trace Context); None where its sender said none.
        root_event_id: Names the tree that it is in: the event itself where no run caused it.
        depth: Its distance from that root.
        raw: The record as it came.
    """

    id: str = field(metadata=called("id", "eventId"))
    type: str | None
    source: str | None
    occurred_at: str | None
    received_at: str | None
    payload: Any = field(hash=False)
    run_ids: tuple[str, ...]
    runs: tuple[RunView, ...]
    left_out: tuple[LeftOutView, ...]
    caused_by: CausedByView | None
    traceparent: str | None
    root_event_id: str = field(metadata=called("rootEventId", "id", "eventId"))
    depth: int = field(metadata=called("depth", default=0))
    created_at: datetime | None
    raw: Mapping[str, Any] = field(repr=False, compare=False)


@frozen
class EventStateView:
    """How an event, or its tree, is.

    Attributes:
        statuses: How many steps have which effective status, that of their newest run.
        open: The first hundred of the runs that have not ended or ask a person.
        raw: The record as it came.
    """

    statuses: Mapping[str, int] = field(hash=False)
    open: tuple[RunView, ...]
    raw: Mapping[str, Any] = field(repr=False, compare=False)


@frozen
class UnservedView:
    """A queued run that no host starts just now.

    Attributes:
        unserved: Why: those that could are ``draining``, none has the ``labels``, none has the ``package``, or the one
            that has the ``folder`` of its round is not there.
        problem: The same as a sentence without a subject.
        hosts: How many can run it.
        runs_on: Labels that a host must have to run it.
        name: The only host that may, as it has the folder of its round; None where any may.
    """

    run_id: str
    flow: str
    step: str
    unserved: str
    problem: str
    hosts: int
    runs_on: tuple[str, ...]
    name: str | None


@frozen
class DispatchView:
    """What a dispatch or replay came to.

    Attributes:
        status: ``accepted`` or ``duplicate``.
        run_ids: The created runs, or a duplicate's original ones.
        matched: How many steps matched; 0 for a duplicate.
        is_duplicate: The id was known; nothing was started.
        conflict: It was known with other content.
        timed_out: The time was up while something still went on without a person.
        state: How all runs of the tree are, where that was waited for; else None.
        runs: As they are now; final if waited for.
        left_out: Whose share of the event was not run.
        outside: Steps that need one of those that were started, and were not started with it.
        unserved: Runs that no host starts just now.
    """

    status: str = field(metadata=called("status", default="unknown"))
    event_id: str
    run_ids: tuple[str, ...]
    matched: int
    conflict: bool
    warning: str | None
    timed_out: bool
    state: EventStateView | None
    event: EventView | None
    runs: tuple[RunView, ...]
    left_out: tuple[LeftOutView, ...]
    outside: tuple[LeftOutView, ...]
    raw: Mapping[str, Any] = field(repr=False, compare=False)
    unserved: tuple[UnservedView, ...] = ()

    @property
    def is_duplicate(self) -> bool:
        """The id was known; nothing was started."""
        return self.status == "duplicate"


def read_event(value: object) -> EventView:
    """An event from its record, or from a response ``{event, runs}``."""
    source = inner(value, "event")
    runs = tuple(map(read_run, records(source.get("runs")) or records(members(value).get("runs"))))
    named = texts(source.get("runIds"))
    run_ids = named + tuple(run.id for run in runs if run.id not in named)
    cause = source.get("causedBy")
    caused_by = read(CausedByView, cause) if isinstance(cause, dict) else None
    return read(EventView, source, runs=runs, run_ids=run_ids, caused_by=caused_by)


def read_events(response: object) -> Page[EventView]:
    """A list's response."""
    return page(response, "events", read_event)


def read_dispatch(response: object) -> DispatchView:
    """What a dispatch or replay came to, from its response."""
    source = members(response)
    runs = tuple(map(read_run, records(source.get("runs"))))
    event = read_event(source["event"]) if isinstance(source.get("event"), dict) else None
    run_ids = texts(source.get("runIds")) or tuple(run.id for run in runs)
    state = read_event_state(source["state"]) if isinstance(source.get("state"), dict) else None
    return read(DispatchView, source, event=event, runs=runs, run_ids=run_ids, state=state)


def read_event_state(value: object) -> EventStateView:
    """How the runs of an event or its tree are, from its record."""
    source = members(value)
    counts = {status: count for status, count in members(source.get("statuses")).items() if isinstance(count, int)}
    return read(EventStateView, source, statuses=counts, open=tuple(map(read_run, records(source.get("open")))))
