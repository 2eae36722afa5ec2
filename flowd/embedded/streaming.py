"""Subscriptions of local clients: updates of an engine in this process, as a stream."""

import asyncio
from collections.abc import Mapping
from typing import Any

from flowd.api import json, params
from flowd.api.shapes.updates import Subscribe
from flowd.api.subscriptions import Subscriptions
from flowd.embedded import methods
from flowd_client import wire

_MAX_WAITING = 64
"""Updates that a slow reader has yet to take; then the feed waits for it."""


class EngineStream:
    """Implements `flowd_client.aio_updates.AsyncUpdateStream` on an engine in this loop."""

    def __init__(self, subscriptions: Subscriptions) -> None:
        self.answer: Any = None
        self._updates: asyncio.Queue[bytes] = asyncio.Queue(_MAX_WAITING)
        self._subscriber = subscriptions.subscriber(self._updates.put)
        self._closing: asyncio.Task[None] | None = None

    async def begin(self, given: Mapping[str, Any]) -> None:
        """Subscribe. Raises the `FlowClientError` tree."""
        caller = self._subscriber.caller()
        with methods.as_clients_see_them(wire.SUBSCRIBE):
            plain = methods.plain(wire.SUBSCRIBE, given)
            view = await caller.subscribe(params.read(Subscribe, (), plain))
            self.answer = json.decode(json.encode(view))
        caller.responded()

    async def next(self) -> Mapping[str, Any]:
        """See `flowd_client.aio_updates.AsyncUpdateStream.next`."""
        update: Mapping[str, Any] = json.decode(await self._updates.get())["params"]
        return update

    def close(self) -> None:
        """See `flowd_client.aio_updates.AsyncUpdateStream.close`."""
        self._closing = asyncio.create_task(self._subscriber.close())
