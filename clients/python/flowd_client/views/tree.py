"""Trees as a client sees them: an event, the events that its runs caused, theirs, and so on."""

from collections.abc import Mapping
from dataclasses import field
from datetime import datetime
from typing import Any

from flowd_client.views.event import CausedByView, EventStateView, read_event_state
from flowd_client.views.frozen import frozen
from flowd_client.views.reading import Page, called, inner, members, page, read, records
from flowd_client.views.run import RunView, read_run


@frozen
class TreeEventView:
    """An event in a tree.

    Attributes:
        caused_by: None where no run caused it.
        depth: Its distance from the root.
        runs: In the order of their acceptance; all of them, or the newest where only so many were asked for.
        run_count: How many it has, where these are not all.
        raw: The record as it came.
    """

    id: str
    type: str | None
    caused_by: CausedByView | None
    depth: int = field(metadata=called("depth", default=0))
    runs: tuple[RunView, ...]
    run_count: int | None
    created_at: datetime | None
    raw: Mapping[str, Any] = field(repr=False, compare=False)


@frozen
class WaitedEventView:
    """How the runs of an event, or of its tree, are after they were waited for.

    Attributes:
        timed_out: The time was up while something still went on without a person.
        raw: The response as it came.
    """

    event_id: str
    timed_out: bool
    state: EventStateView
    raw: Mapping[str, Any] = field(repr=False, compare=False)


def read_tree(response: object) -> Page[TreeEventView]:
    """A page of a tree, from the response of an event with its tree."""
    return page(inner(response, "tree"), "events", _read_event)


def _read_event(value: object) -> TreeEventView:
    source = members(value)
    cause = source.get("causedBy")
    caused_by = read(CausedByView, cause) if isinstance(cause, dict) else None
    return read(TreeEventView, source, caused_by=caused_by, runs=tuple(map(read_run, records(source.get("runs")))))


def read_waited_event(response: object) -> WaitedEventView:
    """How an event's runs are, from the response of a wait for them."""
    source = members(response)
    return read(WaitedEventView, source, state=read_event_state(source.get("state")))
