"""Updates as an iterator, over restarts of the daemon."""

from __future__ import annotations

import time
from collections.abc import Awaitable, Callable, Mapping
from importlib import import_module
from typing import TYPE_CHECKING, Any, Self

from flowd_client import wire
from flowd_client._async.net import sleep
from flowd_client._core.reconnect import ReconnectPolicy
from flowd_client.errors import ConnectionLostError, FlowClientError
from flowd_client.subscription import Subscription

if TYPE_CHECKING:
    from flowd_client._async.transport import AsyncUpdateStream
    from flowd_client.views.update import UpdateView


class AsyncUpdates:
    """What happens, without end. An iterator and a context manager; leaving it, or `close`, ends it.

    Begins behind the cursor ``after``, else when ``async with`` is entered or the first update asked for. Goes on after
    a restart of the daemon: nothing is missed and nothing comes twice, also when waiting for an update is cancelled.

    Raises:
        ConnectionLostError: The daemon did not come back in time.
        CursorExpiredError: What comes next is kept no more.
    """

    def __init__(
        self,
        connect: Callable[[Mapping[str, Any]], Awaitable[AsyncUpdateStream]],
        subscription: Subscription,
        *,
        reconnect_s: float,
    ) -> None:
        self._connect = connect
        self._subscription = subscription
        self._policy = ReconnectPolicy(reconnect_s, wire.SUBSCRIBE)
        self._is_closed = False
        self._stream: AsyncUpdateStream | None = None
        # sync only: self._stream = self._open()

    @property
    def cursor(self) -> str | None:
        """Of the last update: pass it as ``after`` to go on from here another time."""
        return self._subscription.cursor

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> UpdateView:
        while not self._is_over():
            begun_s = time.monotonic()
            try:
                if self._stream is None:
                    self._stream = await self._open()
                update = await self._stream.next()
            except FlowClientError as error:
                self._let_go()
                if self._is_over() and isinstance(error, ConnectionLostError):
                    break
                await sleep(self._policy.pause_s(error, begun_s, time.monotonic()))
                continue
            if self._subscription.take(update):
                view: UpdateView = import_module("flowd_client.views.update").read_update(update)
                return view
        raise StopAsyncIteration

    async def close(self) -> None:
        """End it. May be called twice."""
        self._is_closed = True
        self._let_go()

    async def __aenter__(self) -> Self:
        if self._stream is None:
            self._stream = await self._open()
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.close()

    def _is_over(self) -> bool:
        """Asked anew after every wait, because somebody else may have closed it meanwhile."""
        return self._is_closed

    async def _open(self) -> AsyncUpdateStream:
        stream = await self._connect(self._subscription.params)
        self._policy.succeeded()
        self._subscription.take_answer(stream.answer)
        return stream

    def _let_go(self) -> None:
        stream, self._stream = self._stream, None
        if stream is not None:
            stream.close()
