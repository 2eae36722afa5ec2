"""Events, and what dispatching one came to, as callers see them."""

import asyncio
from collections.abc import Sequence
from typing import Annotated, Any, Literal

import msgspec

from flowd.api.json import instant
from flowd.api.params import Identifier, Labels, Limit, Milliseconds, Params, SearchText
from flowd.api.shapes import View
from flowd.api.shapes.runs import JsonObject, RunView, run_view
from flowd.api.shapes.waiting import UnservedView
from flowd.domain.matching import LeftOut
from flowd.domain.run import Run
from flowd.domain.stored import Accepted, StoredEvent

_AT_ONCE = 500
"""Runs whose views are made before others have their turn on the event loop."""


class Dispatch(Params, forbid_unknown_fields=False):
    """An event, and whether to wait for its runs, with ``tree`` for all that they cause, too. Unknown members are
    ignored, as the reference system does.

    ``causedBy`` is the run whose step sends it, the ``FLOWD_RUN_ID`` of that step. ``traceparent`` is that of the trace
    that it belongs to (W3C Trace Context); without one it is in that of the event that caused it. With
    ``requireMatch``, an event that starts nothing is refused (``no_match``) and not stored; one that is stored already
    is a duplicate all the same.
    """

    event: Any
    wait: bool = False
    timeout_ms: Milliseconds | None = None
    caused_by: Identifier | None = None
    tree: bool = False
    traceparent: str | None = None
    require_match: bool = False


class Replay(Params):
    """Which event, whether to wait for the new runs, with ``tree`` for all of its tree, and which steps only;
    ``from``: these steps and all that need them; ``missing``: those without a run of it.

    Steps that are named start whatever those ended as that they need, also where a person rejected one. ``causedBy``
    is the run whose step asks, and waits now or is going to: where it could not, nothing is done.
    """

    event_id: Identifier
    wait: bool = False
    timeout_ms: Milliseconds | None = None
    steps: list[str] | None = None
    missing: bool = False
    from_steps: list[str] | None = msgspec.field(default=None, name="from")
    tree: bool = False
    caused_by: Identifier | None = None


class Find(Params):
    """What ids begin with, and whether they are of runs or of events."""

    prefix: Annotated[str, msgspec.Meta(min_length=1, max_length=1024)]
    of: Literal["run", "event"] = "run"
    limit: Annotated[int, msgspec.Meta(ge=1, le=50)] = 10


class FoundView(View):
    """The first ids that begin so, in the order of their characters."""

    ids: list[str]


class ListEvents(Params):
    """Which events: those that are all of this.

    ``flow``, ``step``, ``status``, ``reason`` and ``label`` (a list of ``name=value``) are of one of its runs, as in
    ``flow.listRuns``. ``since`` (or later) and ``until`` (before) are instants of when it was accepted, or so long ago,
    as in ``2h``. ``text`` is in its id, its type or its source; the letters A to Z count in either case. With ``text``
    or what is asked of runs a page may be short, or empty, and its ``nextCursor`` goes on.
    """

    type: str | None = None
    limit: Limit = None
    cursor: str | None = None
    flow: str | None = None
    step: str | None = None
    status: str | None = None
    reason: str | None = None
    since: str | None = None
    until: str | None = None
    label: Labels = None
    text: SearchText = None


class LeftOutView(View):
    """A share of an event that was not run: of a broken package, or of a ``step`` whose check took too long."""

    flow: str
    why: str
    step: str | None = None


class CausedByView(View):
    """The run that caused an event, and the event that it is a run of."""

    run_id: str
    event_id: str


class EventView(View):
    """An event; ``raw`` is the whole normalised event with its unknown members. Lists have no ``runs``.

    ``rootEventId`` names its tree, and ``depth`` is its distance from that root: 0 where no run caused it.
    """

    id: str
    type: str
    received_at: str
    payload: Any
    raw: JsonObject
    run_ids: tuple[str, ...]
    created_at: str
    root_event_id: str
    depth: int
    caused_by: CausedByView | None = None
    source: str | None = None
    occurred_at: str | None = None
    runs: list[RunView] | None = None
    left_out: list[LeftOutView] | None = None
    traceparent: str | None = None


class EventPageView(View):
    """Events, newest first. Without ``nextCursor`` there are no more."""

    events: list[EventView]
    next_cursor: str | None = None


class TreeEventView(View):
    """An event in a tree, with its runs. ``runCount``: how many it has, where ``runs`` are the newest of them."""

    id: str
    type: str
    created_at: str
    depth: int
    runs: list[RunView]
    caused_by: CausedByView | None = None
    run_count: int | None = None


class TreeView(View):
    """An event and all below it: what its runs caused, theirs, and so on, oldest first, so that every event comes after
    the one whose run caused it. Without ``nextCursor`` there are no more."""

    events: list[TreeEventView]
    next_cursor: str | None = None


class EventStateView(View):
    """How an event or its tree is: how many steps have which effective status, that of their newest run, and the first
    hundred of the runs that have not ended or ask a person."""

    statuses: dict[str, int]
    open: list[RunView]


class EventWithRunsView(View):
    """An event and its runs; its tree where that was asked for."""

    event: EventView
    runs: list[RunView]
    tree: TreeView | None = None


class DispatchView(View):
    """What a dispatch or replay came to.

    ``leftOut``: what it might have started, too, if a package were not broken or a check had ended in time.
    ``outside``: steps that need one of these and were not started with it, because their own trigger does not match, or
    they need another step, too.
    ``matched`` is 0 for a duplicate, whose ``runs`` are the original ones. ``conflict``: the id is stored already, with
    other content. ``timedOut`` is there only where runs were waited for: whether the time was up while something still
    went on without a person; ``state``, where that was a tree, is how all of its runs are. ``unserved``: its runs that
    no host starts just now, and why, as ``flow.explain`` says it of steps.
    """

    status: Literal["accepted", "duplicate"]
    event_id: str
    run_ids: list[str]
    matched: int
    event: EventView
    runs: list[RunView]
    idempotent: bool = False
    conflict: bool = False
    warning: str | None = None
    timed_out: bool | None = None
    state: EventStateView | None = None
    left_out: list[LeftOutView] | None = None
    outside: list[LeftOutView] | None = None
    unserved: list[UnservedView] | None = None


class _Body(msgspec.Struct):
    payload: msgspec.Raw


_body_decoder = msgspec.json.Decoder(_Body)


def event_view(event: StoredEvent, runs: list[RunView] | None = None) -> EventView:
    """A stored event. ``payload`` and ``raw`` are embedded as they are stored, not parsed again."""
    return EventView(
        id=event.id,
        type=event.type,
        received_at=event.received_at,
        payload=_body_decoder.decode(event.body).payload,
        raw=msgspec.Raw(event.body),
        run_ids=event.run_ids,
        created_at=instant(event.created_at_ms),
        root_event_id=event.root_event_id or event.id,
        depth=event.depth,
        caused_by=None if event.caused_by is None else CausedByView(event.caused_by.run_id, event.caused_by.event_id),
        source=event.source,
        occurred_at=event.occurred_at,
        runs=runs,
        left_out=_left_out(event.left_out),
        traceparent=event.traceparent,
    )


def take_text(view: EventView) -> bytes:
    """Take an event's text out of its view, which shows nothing of it then: nobody reads megabytes to show a page."""
    text = bytes(view.raw)
    view.raw, view.payload = msgspec.Raw(b"{}"), None
    return text


def _left_out(shares: Sequence[LeftOut]) -> list[LeftOutView] | None:
    return [LeftOutView(flow=share.flow, why=share.why, step=share.step) for share in shares] or None


async def dispatch_view(accepted: Accepted, runs: Sequence[Run]) -> DispatchView:
    """What dispatching an event came to; ``runs`` are those of ``accepted``, as they are by now."""
    view = await _dispatched(accepted, runs)
    if accepted.is_duplicate:
        view.status = "duplicate"
        view.matched = 0
        view.idempotent = True
    if accepted.is_conflict:
        view.conflict = True
        view.warning = (
            f"Event {accepted.event.id} is stored already with other content; this one was not taken. "
            f"An event's id names its content: send changed content under a new id."
        )
    return view


async def replay_view(replayed: Accepted, runs: Sequence[Run]) -> DispatchView:
    """What replaying an event came to; ``runs`` are the new ones as they are by now."""
    return await _dispatched(replayed, runs)


async def _dispatched(accepted: Accepted, runs: Sequence[Run]) -> DispatchView:
    event = accepted.event
    return DispatchView(
        status="accepted",
        event_id=event.id,
        run_ids=[run.id for run in runs],
        matched=len(runs),
        event=event_view(event),
        runs=await run_views(runs),
        left_out=_left_out(event.left_out),
        outside=_left_out(accepted.outside),
    )


async def run_views(runs: Sequence[Run]) -> list[RunView]:
    """Runs of an event. Others have their turns meanwhile: an event may have thousands of runs."""
    views = []
    for index, run in enumerate(runs, 1):
        views.append(run_view(run))
        if index % _AT_ONCE == 0:
            await asyncio.sleep(0)
    return views
