"""Updates as an asyncio iterator: `flowd_client.updates` with ``await``."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from importlib import import_module
from types import TracebackType
from typing import TYPE_CHECKING, Any, Protocol, Self

from flowd_client import wire
from flowd_client.errors import FlowClientError
from flowd_client.patience import Patience
from flowd_client.subscription import Subscription

if TYPE_CHECKING:
    from flowd_client.views.update import UpdateView


class AsyncUpdateStream(Protocol):
    """As `flowd_client.updates.UpdateStream`."""

    answer: Any

    async def next(self) -> Mapping[str, Any]:
        """The next update as it came. Raises `ConnectionLostError` at the connection's end."""
        ...

    def close(self) -> None:
        """Let go of the connection."""
        ...


class AsyncUpdates:
    """What happens, without end, from the moment that ``async with`` was entered (or the first update asked for).

    Goes on after a restart of the daemon: nothing is missed and nothing comes twice. Cancelling a step of it loses no
    update.

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
        self._patience = Patience(reconnect_s, wire.SUBSCRIBE)
        self._is_closed = False
        self._stream: AsyncUpdateStream | None = None

    @property
    def cursor(self) -> str | None:
        """Of the last update: pass it as ``after`` to go on from here another time."""
        return self._subscription.cursor

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> UpdateView:
        while not self._is_closed:
            try:
                if self._stream is None:
                    self._stream = await self._open()
                update = await self._stream.next()
            except FlowClientError as error:
                self._let_go()
                await asyncio.sleep(self._patience.pause_s(error, asyncio.get_running_loop().time()))
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

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.close()

    async def _open(self) -> AsyncUpdateStream:
        stream = await self._connect(self._subscription.params)
        self._patience.answered()
        self._subscription.take_answer(stream.answer)
        return stream

    def _let_go(self) -> None:
        stream, self._stream = self._stream, None
        if stream is not None:
            stream.close()
