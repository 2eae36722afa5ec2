"""Looks at the daemon again and again: soon after something happened there, and at most once a second."""

import asyncio
import time
from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import Any

from flowd.screen.board import Answers
from flowd.screen.wanted import Wanted
from flowd_client.aio import AsyncFlowClient
from flowd_client.errors import CallError, FlowClientError, InvalidCallError
from flowd_client.views.host import HostView

PACE_S = 1.0
"""Between two looks. What happens meanwhile is not listened to, so that a busy daemon has no more work than an idle."""

_IDLE_S = 5.0
"""Where nothing happens, the next look comes after this long: not all that a look shows is told to subscribers."""

_TOPICS_BEFORE: tuple[str, ...] = ("event", "run", "flow")
_TOPICS: tuple[str, ...] = (*_TOPICS_BEFORE, "progress")
"""A daemon of an earlier version does not know the last one."""

_LISTED = 100
"""Of each kind of run."""

_ENDED = ("completed", "failed", "canceled")


async def look(client: AsyncFlowClient, wanted: Wanted) -> Answers:
    """What the daemon does now, and what has ended of what is wanted: older runs than come without a filter.

    Of the words, the daemon is asked for the first one alone, and for runs without it, too: it looks for words in fewer
    places than the screen shows.

    Raises:
        FlowClientError: Any of its tree.
    """
    names = wanted.names
    texts = (None, wanted.words[0]) if wanted.words else (None,)
    ended = [
        client.list_runs(status=status, event_id=wanted.event_id, text=text, limit=_LISTED, **names)
        for status in ([wanted.status] if wanted.status else _ENDED)
        for text in texts
    ]
    status, questions, running, queue, *pages = await asyncio.gather(
        client.status(),
        client.attention(limit=_LISTED, **names),
        client.list_runs(status="running", limit=_LISTED, **names),
        client.queue(limit=_LISTED, **names),
        *ended,
    )
    hosts = await _hosts(client, status)
    return Answers(status, questions, running, queue, [run for page in pages for run in page], hosts)


async def _hosts(client: AsyncFlowClient, status: Mapping[str, Any]) -> Sequence[HostView]:
    """The hosts that share the store; none where they share none, or the daemon does not tell us."""
    if (status.get("store") or {}).get("kind") in (None, "sqlite"):
        return ()
    try:
        return await client.hosts()
    except CallError:  # it is older than that, or we may not know
        return ()


async def watch(
    client: AsyncFlowClient,
    look: Callable[[], Awaitable[None]],
    lost: Callable[[FlowClientError], None],
    ring: asyncio.Event,
    *,
    run_id: str | None = None,
    pace_s: float = PACE_S,
) -> None:
    """Look now, and then whenever something has happened, until it is cancelled.

    Comes back by itself however long the daemon was away.

    Args:
        look: What to do at each look.
        lost: Is told why a look failed, or that the daemon has gone.
        ring: Set it for a look at once: something was done, say.
        run_id: Only what happens to this run counts.
        pace_s: No look begins sooner after another one, but at a ring.
    """
    topics = _TOPICS
    while True:
        begun_s = time.monotonic()
        ring.clear()
        try:
            # Subscribed before the look: what happens while it goes on is told, and so are more looks to come.
            async with client.subscribe(topics, run_id=run_id, reconnect_s=0) as updates:
                await look()
                await _first(anext(updates), ring, _IDLE_S)
        except InvalidCallError as error:
            if topics == _TOPICS_BEFORE:
                lost(error)
            topics = _TOPICS_BEFORE
        except FlowClientError as error:
            lost(error)
        await _first(None, ring, pace_s - (time.monotonic() - begun_s))


async def _first(update: Awaitable[Any] | None, ring: asyncio.Event, limit_s: float) -> None:
    """Return at an update, at the ring, or when the time is up. Raises what has ended the updates."""
    heard = None if update is None else asyncio.ensure_future(update)
    waits = [asyncio.ensure_future(ring.wait()), *([] if heard is None else [heard])]
    try:
        done, _ = await asyncio.wait(waits, timeout=max(0.0, limit_s), return_when=asyncio.FIRST_COMPLETED)
    finally:
        for wait in waits:
            wait.cancel()
    if heard is not None and heard in done:
        heard.result()
