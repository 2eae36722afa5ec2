"""Updates of the feed to wire shapes (`flowd_client.wire.UpdateShape`). The same for every transport."""

import base64

from flowd.api import codec
from flowd.api.codec import View
from flowd.domain.flow import Snapshot
from flowd.domain.journal import EventHead, JournalEntry
from flowd.engine.feed import cursor_text
from flowd.engine.tails import OutputChunk
from flowd.engine.updates import Update


def update_view(update: Update, subscription: str, snapshot: Snapshot, *, encoding: str = "utf-8") -> View:
    """One update. ``snapshot`` is the catalog now; ``encoding`` is of output: ``utf-8`` or ``base64``."""
    view: View = {
        "subscription": subscription,
        "cursor": cursor_text(update.cursor),
        "kind": "lagging",
        "at": codec.instant(update.at_ms),
    }
    if update.entry is not None:
        view["kind"] = update.entry.kind
        view.update(_entry_view(update.entry, snapshot))
    elif update.chunk is not None:
        view["kind"] = "output"
        view.update(_chunk_view(update.chunk, encoding))
    else:
        view["behind"] = update.behind
    return view


def _entry_view(entry: JournalEntry, snapshot: Snapshot) -> View:
    if entry.event is not None:
        return {"event": _head_view(entry.event)}
    view: View = {"status": entry.status}
    if entry.run is not None:
        view["run"] = codec.run_view(entry.run)
        if entry.attempt is not None:
            view["attempt"] = entry.attempt
        return view
    view["flowName"] = entry.flow_name
    flow = snapshot.by_name.get(entry.flow_name or "")
    if flow is not None:
        view["flow"] = codec.flow_view(flow)
    broken = [codec.broken_view(package) for package in snapshot.broken if package.name == entry.flow_name]
    if broken:
        view["broken"] = broken
    return view


def _head_view(head: EventHead) -> View:
    view: View = {
        "id": head.id,
        "type": head.type,
        "receivedAt": head.received_at,
        "runIds": list(head.run_ids),
        "createdAt": codec.instant(head.created_at_ms),
    }
    if head.source is not None:
        view["source"] = head.source
    if head.occurred_at is not None:
        view["occurredAt"] = head.occurred_at
    return view


def _chunk_view(chunk: OutputChunk, encoding: str) -> View:
    is_text = encoding == "utf-8"
    return {
        "runId": chunk.run_id,
        "attempt": chunk.attempt,
        "stream": chunk.stream,
        "text": chunk.data.decode("utf-8", "replace") if is_text else base64.b64encode(chunk.data).decode(),
        "offset": chunk.offset,
        "nextOffset": chunk.next_offset,
        "eof": chunk.is_end,
    }
