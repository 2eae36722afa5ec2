"""*Dispatch*: an event to be sent, like a stored one or like the last one of its type, and edited before."""

import asyncio
import secrets
from collections.abc import Mapping
from typing import Any

from flowd.api import json
from flowd.api.http.call import decoded
from flowd.api.http.responses import HttpError
from flowd.api.shapes.events import EventView, take_text
from flowd.domain.errors import FlowdError
from flowd.page.actions import Fields
from flowd.page.event_actions import event_path
from flowd.page.verdicts import nearest
from flowd.page.visit import Visit
from flowd.page.words import pretty, readable
from flowd.page.wrapping import Shown
from flowd_client import methods as names
from flowd_client import wire

_OF_THE_LAST_TIME = ("id", "receivedAt", "occurredAt")


async def show(visit: Visit) -> Shown:
    """The form."""
    query = visit.call.query
    like, kind = query.get("like"), query.get("type", "")
    source: EventView | None = None
    if like:
        source = (await visit.view(names.GET_EVENT, {"eventId": like, "maxRuns": 1})).event
    elif kind:
        source = next(iter((await visit.view(names.LIST_EVENTS, {"type": kind, "limit": 1})).events), None)
    text = pretty({"type": kind, "payload": {}})
    if source is not None:
        text = await asyncio.to_thread(_again, take_text(source))
    event_id = f"{_stem(source.id if source else kind or 'event')}-{secrets.token_hex(3)}"
    members = {"text": text, "id": event_id, "like": source.id if source else None, "kind": kind}
    return Shown("compose.html", members)


def _again(text: bytes) -> str:
    """An event as it is sent once more."""
    event = {name: value for name, value in json.decode(text).items() if name not in _OF_THE_LAST_TIME}
    sent = json.encode(event)
    return readable(sent, is_whole=True)[0]


async def dispatch(visit: Visit, fields: Fields) -> str | Shown:
    """Send the event, or with ``explain`` tell what it would start. Where that is refused, the form comes again with
    what was typed."""
    text, event_id = fields.get("event", ""), fields.get("id", "")
    again = {"text": text, "id": event_id}
    try:
        event = decoded(text.encode())
        if not isinstance(event, dict):
            raise HttpError("bad_request", "An event is a JSON object.")
        if event_id:
            event = {**event, "id": event_id}
        if fields.get("explain"):
            explained = nearest(await visit.ask(names.EXPLAIN, {"event": event}))
            return Shown("compose.html", {**again, "explained": explained})
        sent: Mapping[str, Any] = await visit.ask(names.DISPATCH, {"event": event})
    except (HttpError, FlowdError) as problem:
        status = problem.status if isinstance(problem, HttpError) else wire.FAILURES[problem.slug].http_status
        return Shown("compose.html", {**again, "problem": problem.message}, status)
    if sent["status"] == "duplicate" and sent.get("conflict"):
        return Shown("compose.html", {**again, "problem": sent["warning"]}, 409)
    return event_path(sent["eventId"])


def _stem(event_id: str) -> str:
    """An id without what an earlier form has put behind it.

    >>> _stem("release-42"), _stem("release-42-3fa9c1")
    ('release-42', 'release-42')
    """
    stem, dash, last = event_id.rpartition("-")
    is_ours = dash and len(last) == 6 and all(letter in "0123456789abcdef" for letter in last)
    return stem if is_ours else event_id
