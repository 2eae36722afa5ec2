"""What happened, as a subscriber sees it."""

from dataclasses import field
from datetime import datetime

from flowd_client.views.event import EventView, read_event
from flowd_client.views.frozen import frozen
from flowd_client.views.reading import Members, called, read, text
from flowd_client.views.run import RunView, read_run


@frozen
class UpdateView:
    """One update.

    Attributes:
        kind: ``event``, ``run``, ``flow``, ``output`` or ``lagging``; later versions may have more.
        cursor: Pass it as ``after`` to go on behind this update.
        at: When it happened.
        status: Of the run or flow as it became with this update; None for other kinds.
        event: Of kind ``event``, without payload.
        run: Of kind ``run``: the run as it was when this was sent, which may be later than ``status``.
        run_id: Of kinds ``run`` and ``output``.
        attempt: That began or ended, or that wrote the output. A run that is ``running`` without one says how far it is
            (``run.progress``).
        flow_name: Of kind ``flow``.
        host: Of kind ``flow``: whose package it is, where hosts share a store.
        stream: Of kind ``output``: ``stdout`` or ``stderr``.
        text: Of kind ``output``, with U+FFFD where its bytes are no UTF-8; follow_output_bytes has the exact ones.
        offset: Where in the stream it begins, in bytes.
        is_end: Of kind ``output``: the attempt has ended and this is the stream's end.
        behind: Of kind ``lagging``: entries of the journal that are yet to be read.
        raw: The record as it came.
    """

    kind: str = field(metadata=called("kind", default="unknown"))
    cursor: str
    at: datetime | None
    status: str | None
    event: EventView | None
    run: RunView | None
    run_id: str | None
    attempt: int | None
    flow_name: str | None
    host: str | None
    stream: str | None
    text: str
    offset: int
    is_end: bool = field(metadata=called("eof"))
    behind: int | None
    raw: Members = field(repr=False, compare=False)


def read_update(source: Members) -> UpdateView:
    """An update from the params of a flow.update."""
    run = read_run(source["run"]) if isinstance(source.get("run"), dict) else None
    event = read_event(source["event"]) if isinstance(source.get("event"), dict) else None
    run_id = text(source.get("runId")) or (run.id if run else None)
    return read(UpdateView, source, run=run, event=event, run_id=run_id)
