"""Trees as callers ask for them and see them."""

from typing import Annotated

import msgspec

from flowd.api.json import instant
from flowd.api.params import Identifier, Limit, Milliseconds, Params
from flowd.api.shapes import View
from flowd.api.shapes.events import CausedByView, EventStateView, TreeEventView, TreeView, run_views
from flowd.api.shapes.runs import run_view
from flowd.domain.stored import EventState, Page, TreeEvent

MaxRuns = Annotated[int, msgspec.Meta(ge=1, le=2000)] | None

MAX_OPEN = 100
"""Runs that `EventStateView` shows."""


class GetEvent(Params):
    """Which event; with ``tree`` a page of its tree, too. ``maxRuns`` is of the event and of a page of its tree: of an
    event that has more, the newest."""

    event_id: Identifier
    tree: bool = False
    limit: Limit = None
    cursor: str | None = None
    max_runs: MaxRuns = None


class CancelEvent(Params):
    """Which event; with ``tree`` all below it, too."""

    event_id: Identifier
    tree: bool = False


class WaitEvent(Params):
    """Which event, how long, and with ``tree`` for all below it, too. ``causedBy`` is the run whose step asks."""

    event_id: Identifier
    tree: bool = False
    timeout_ms: Milliseconds | None = None
    caused_by: Identifier | None = None


class WaitedEventView(View):
    """How an event's runs are, now that none goes on without a person, or, ``timedOut``, that the time is up."""

    event_id: str
    timed_out: bool
    state: EventStateView


def event_state_view(state: EventState) -> EventStateView:
    """How the runs of an event or its tree are."""
    return EventStateView(statuses=dict(state.statuses), open=[run_view(run) for run in state.open])


async def tree_view(page: Page[TreeEvent]) -> TreeView:
    """A page of a tree. Others have their turns meanwhile."""
    return TreeView(events=[await _event_view(event) for event in page.items], next_cursor=page.next_cursor)


async def _event_view(event: TreeEvent) -> TreeEventView:
    return TreeEventView(
        id=event.id,
        type=event.type,
        created_at=instant(event.created_at_ms),
        depth=event.depth,
        runs=await run_views(event.runs),
        run_count=event.run_count if event.run_count > len(event.runs) else None,
        caused_by=None if event.caused_by is None else CausedByView(event.caused_by.run_id, event.caused_by.event_id),
    )
