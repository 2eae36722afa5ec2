"""Updates of the feed as subscribers see them. The same over every transport."""

import base64
from typing import Annotated, Any, Literal

import msgspec

from flowd.api.json import instant
from flowd.api.params import Encoding, Identifier, Offset, Params
from flowd.api.shapes import View
from flowd.api.shapes.catalog import BrokenView, FlowView, broken_view, flow_view
from flowd.api.shapes.events import CausedByView
from flowd.api.shapes.runs import RunView, run_view
from flowd.domain.flow import Snapshot
from flowd.domain.journal import EventHead, JournalEntry
from flowd.engine.feed import cursor_text
from flowd.engine.tails import OutputChunk
from flowd.engine.updates import Update
from flowd_client.wire import Stream


class OutputPlace(Params):
    """How far an attempt's output was read, in bytes."""

    run_id: Identifier
    attempt: Annotated[int, msgspec.Meta(ge=1)]
    stdout: Offset = 0
    stderr: Offset = 0


class Subscribe(Params):
    """What to hear of, and from where on.

    ``topics`` are all but output by default; with ``runId`` or ``eventId`` only what is about that run, or that event
    and its runs. ``after`` is the cursor of the last update that was heard, or ``oldest`` for all that is kept;
    without it from now on. ``places`` tell how far the output of attempts under way was read. ``encoding`` is of
    output.
    """

    topics: Annotated[list[Literal["event", "run", "flow", "output"]], msgspec.Meta(min_length=1)] | None = None
    run_id: Identifier | None = None
    event_id: Identifier | None = None
    after: str | None = None
    places: Annotated[list[OutputPlace], msgspec.Meta(max_length=10_000)] = msgspec.field(default_factory=list)
    encoding: Encoding = "utf-8"


class Unsubscribe(Params):
    """Which subscription of this connection."""

    subscription: Identifier


class SubscribedView(View):
    """A new subscription. ``cursor`` is where the journal was then, or ``after``; all updates come after it."""

    subscription: str
    cursor: str


class UnsubscribedView(View):
    """A subscription that has ended."""

    subscription: str


class EventHeadView(View):
    """An event without its payload; its place in a tree as in ``EventView``."""

    id: str
    type: str
    received_at: str
    run_ids: tuple[str, ...]
    created_at: str
    root_event_id: str
    depth: int
    caused_by: CausedByView | None = None
    source: str | None = None
    occurred_at: str | None = None


class UpdateView(View):
    """The params of a ``flow.update`` notification. Pass the last ``cursor`` as ``after`` to miss nothing.

    By ``kind``:
      event: ``event`` (without payload and raw). It was accepted.
      run: ``status`` and, where an attempt began or ended, ``attempt``, as they were then; ``run`` as it is now. Where
        it is ``running`` without an ``attempt``, its progress has changed.
      flow: ``flowName`` and its ``status`` then (ok, stale, broken, removed); ``flow`` and ``broken`` as they are now.
        Where hosts share the store, it is ``host`` that has the package; the other two are of the host that is asked.
      output: ``runId attempt stream text offset nextOffset eof``, in bytes, as ``flow.readOutput`` gives them. All of
        an attempt's output comes before the run's update that tells its end.
      lagging: ``behind``, how many entries of the journal this subscriber has yet to read. Nothing is dropped.
      ended: ``error`` (code, message, data). The subscription is over.
    """

    cursor: str
    kind: Literal["event", "run", "flow", "output", "lagging", "ended"]
    at: str
    subscription: str | None = None
    event: EventHeadView | None = None
    status: str | None = None
    run: RunView | None = None
    flow_name: str | None = None
    host: str | None = None
    flow: FlowView | None = None
    broken: list[BrokenView] | None = None
    run_id: str | None = None
    attempt: int | None = None
    stream: Stream | None = None
    text: str | None = None
    offset: int | None = None
    next_offset: int | None = None
    eof: bool | None = None
    behind: int | None = None
    error: dict[str, Any] | None = None


def update_view(update: Update, subscription: str | None, snapshot: Snapshot, *, encoding: str = "utf-8") -> UpdateView:
    """One update. ``snapshot`` is the catalog now; ``encoding`` is of output: ``utf-8`` or ``base64``."""
    view = UpdateView(
        subscription=subscription, cursor=cursor_text(update.cursor), kind="lagging", at=instant(update.at_ms)
    )
    if update.entry is not None:
        view.kind = update.entry.kind
        _put_entry(view, update.entry, snapshot)
    elif update.chunk is not None:
        view.kind = "output"
        _put_chunk(view, update.chunk, encoding)
    else:
        view.behind = update.behind
    return view


def _put_entry(view: UpdateView, entry: JournalEntry, snapshot: Snapshot) -> None:
    if entry.event is not None:
        view.event = _head_view(entry.event)
        return
    view.status = entry.status
    if entry.run is not None:
        view.run = run_view(entry.run)
        view.attempt = entry.attempt
        return
    view.flow_name, view.host = entry.flow_name, entry.host
    flow = snapshot.by_name.get(entry.flow_name or "")
    view.flow = None if flow is None else flow_view(flow)
    view.broken = [broken_view(package) for package in snapshot.broken if package.name == entry.flow_name] or None


def _head_view(head: EventHead) -> EventHeadView:
    return EventHeadView(
        id=head.id,
        type=head.type,
        received_at=head.received_at,
        run_ids=head.run_ids,
        created_at=instant(head.created_at_ms),
        root_event_id=head.root_event_id or head.id,
        depth=head.depth,
        caused_by=None if head.caused_by is None else CausedByView(head.caused_by.run_id, head.caused_by.event_id),
        source=head.source,
        occurred_at=head.occurred_at,
    )


def _put_chunk(view: UpdateView, chunk: OutputChunk, encoding: str) -> None:
    is_text = encoding == "utf-8"
    view.run_id = chunk.run_id
    view.attempt = chunk.attempt
    view.stream = chunk.stream
    view.text = chunk.data.decode("utf-8", "replace") if is_text else base64.b64encode(chunk.data).decode()
    view.offset = chunk.offset
    view.next_offset = chunk.next_offset
    view.eof = chunk.is_end
