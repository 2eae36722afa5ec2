"""Local mode for asyncio. The engine has a loop of its own, so a busy caller never delays a step's supervision."""

import asyncio
from collections.abc import Mapping
from concurrent.futures import Future
from typing import Any

from flowd_client.errors import TimedOutError
from flowd_client.local import LocalEngine, LocalUpdates, closed, limit_s


class AsyncLocalTransport:
    """Calls to an engine in this process. Implements `flowd_client.transport.AsyncTransport`."""

    def __init__(self, engine: LocalEngine, *, is_patient: bool = False) -> None:
        """``is_patient`` is that of `flowd_client.local.limit_s`."""
        self._engine = engine
        self._is_patient = is_patient

    async def call(self, method: str, params: Mapping[str, Any], *, timeout_s: float | None) -> Any:
        """As `flowd_client.transport.AsyncTransport.call`."""
        timeout_s = limit_s(method, timeout_s, is_patient=self._is_patient)
        try:
            async with asyncio.timeout(timeout_s):
                return await asyncio.wrap_future(self._engine.submit(method, params))
        except TimeoutError as error:
            raise TimedOutError(method, timeout_s or 0) from error

    async def stream(self, method: str, params: Mapping[str, Any], *, timeout_s: float | None) -> "AsyncLocalStream":
        """What happens, from now on or behind a cursor. Raises the `FlowClientError` tree."""
        try:
            async with asyncio.timeout(timeout_s):
                return AsyncLocalStream(await asyncio.wrap_future(self._engine.open_stream(params)))
        except TimeoutError as error:
            raise TimedOutError(method, timeout_s or 0) from error

    async def close(self) -> None:
        """End the engine, as `flowd_client.local.LocalTransport.close`."""
        await asyncio.to_thread(self._engine.close)


class AsyncLocalStream:
    """Implements `flowd_client.aio_updates.AsyncUpdateStream`."""

    def __init__(self, updates: LocalUpdates) -> None:
        self.answer = updates.answer
        self._updates = updates
        self._pending: Future[Mapping[str, Any]] | None = None

    async def next(self) -> Mapping[str, Any]:
        """See `flowd_client.aio_updates.AsyncUpdateStream.next`. Cancelling it loses nothing: the wait goes on."""
        if self._pending is None:
            self._pending = self._updates.next()
        pending = self._pending
        try:
            update = await asyncio.shield(asyncio.wrap_future(pending))
        except asyncio.CancelledError:
            if pending.cancelled():
                raise closed() from None
            raise
        self._pending = None
        return update

    def close(self) -> None:
        """See `flowd_client.aio_updates.AsyncUpdateStream.close`."""
        self._updates.close()
        if self._pending is not None:
            self._pending.cancel()
