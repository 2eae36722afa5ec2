"""``GET /stream``: the feed as server-sent events (https://html.spec.whatwg.org/multipage/server-sent-events.html).

Each update is one message: its ``id`` is the feed's durable cursor, its ``event`` the kind, its ``data`` the view that
subscribers on the control socket get. A reader that was cut off comes back with ``Last-Event-ID`` and misses nothing.
"""

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator, Callable
from contextlib import aclosing
from typing import Any
from weakref import WeakKeyDictionary

from flowd.api import json, params
from flowd.api.failures import error_from
from flowd.api.http.call import Call, decoded
from flowd.api.http.responses import Stream
from flowd.api.shapes.updates import Subscribe, update_view
from flowd.domain.errors import FlowdError
from flowd.domain.flow import Snapshot
from flowd.domain.journal import JOURNALED, Interest
from flowd.engine.feed import Feed, cursor_text
from flowd.engine.tails import OutputPlace
from flowd.engine.updates import Batch
from flowd_client.methods import SUBSCRIBE

HEARTBEAT_S = 15.0
"""A comment after so much silence: it keeps proxies from hanging up, and finds readers that are gone."""

_RETRY_MS = 2000
_WRITE_BYTES = 64 * 1024


async def respond(call: Call, feed: Feed, snapshot: Callable[[], Snapshot]) -> Stream:
    """The stream that a request asks for, by the parameters of ``flow.subscribe``.

    In the query ``topics`` are comma-separated and ``places`` is JSON. ``Last-Event-ID`` wins over ``after``, because
    readers repeat the URL when they reconnect.

    Raises:
        FlowdError: A parameter is wrong, the cursor is none, or what came after it is kept no more.
    """
    given = _parameters(call)
    interest = Interest(JOURNALED if given.topics is None else frozenset(given.topics), given.run_id, given.event_id)
    after = await feed.locate(given.after)
    batches = feed.batches(
        interest,
        after,
        is_resumed=given.after is not None,
        places=[OutputPlace(place.run_id, place.attempt, place.stdout, place.stderr) for place in given.places],
        is_text=given.encoding == "utf-8",
    )
    messages = _messages(batches, after, snapshot, given.encoding)
    return Stream(messages, "text/event-stream; charset=utf-8", is_live=True, is_endless=True)


def _parameters(call: Call) -> Subscribe:
    query = call.query
    members: dict[str, Any] = {name: query[name] for name in ("runId", "eventId", "encoding") if query.get(name)}
    members["after"] = call.header(b"last-event-id") or query.get("after") or None
    if query.get("topics"):
        members["topics"] = query["topics"].split(",")
    if query.get("places"):
        members["places"] = decoded(query["places"].encode())
    return params.read(Subscribe, (), members)


async def _messages(
    batches: AsyncIterator[Batch], after: int, snapshot: Callable[[], Snapshot], encoding: str
) -> AsyncIterator[bytes]:
    # The first message tells the reader that it is connected, and from where a reconnection goes on. Some readers drop
    # an id that comes without data.
    cursor = cursor_text(after)
    yield b"retry: %d\n%b" % (_RETRY_MS, _message(cursor, "connected", {"kind": "connected", "cursor": cursor}))
    try:
        async with aclosing(_with_heartbeat(batches)) as beats:
            async for batch in beats:
                if batch is None:
                    yield b": \n\n"
                    continue
                for part in _parts(batch, snapshot(), encoding):
                    yield part
                after = batch.updates[-1].cursor
    except FlowdError as error:
        failure = error_from(error, method=SUBSCRIBE)
        yield _message(cursor_text(after), "ended", {"kind": "ended", "error": failure["message"], **failure["data"]})


_made: WeakKeyDictionary[Batch, tuple[Snapshot, str, list[bytes]]] = WeakKeyDictionary()
"""What was made of batches that are still about: of one that 500 readers get, it is made once."""


def _parts(batch: Batch, snapshot: Snapshot, encoding: str) -> list[bytes]:
    """The messages of a batch, as few writes of not much more than `_WRITE_BYTES`."""
    made = _made.get(batch)
    if made is None or made[0] is not snapshot or made[1] != encoding:
        parts = [bytearray()]
        for update in batch.updates:
            view = update_view(update, None, snapshot, encoding=encoding)
            if len(parts[-1]) >= _WRITE_BYTES:
                parts.append(bytearray())
            parts[-1] += _message(cursor_text(update.cursor), view.kind, view)
        made = _made[batch] = snapshot, encoding, [bytes(part) for part in parts]
    return made[2]


def _message(cursor: str, kind: str, view: object) -> bytes:
    return b"id: %b\nevent: %b\ndata: %b\n\n" % (cursor.encode(), kind.encode(), json.encode(view))


async def _with_heartbeat(batches: AsyncIterator[Batch]) -> AsyncGenerator[Batch | None, None]:
    """The batches, and None whenever there was none for a while."""
    pending: asyncio.Future[Batch] | None = None
    try:
        while True:
            if pending is None:
                pending = asyncio.ensure_future(_next(batches))
            done, _ = await asyncio.wait((pending,), timeout=HEARTBEAT_S)
            if not done:
                yield None
                continue
            batch, pending = pending.result(), None
            yield batch
    finally:
        if pending is not None:
            pending.cancel()
            await asyncio.gather(pending, return_exceptions=True)
        close = getattr(batches, "aclose", None)
        if close is not None:
            await close()


async def _next(batches: AsyncIterator[Batch]) -> Batch:
    return await anext(batches)
