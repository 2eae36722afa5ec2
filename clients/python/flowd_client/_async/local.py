"""The transport to an engine in this process, which has a thread of its own."""

from collections.abc import Mapping
from concurrent.futures import Future
from typing import Any

from flowd_client._async.net import Limit, in_thread, outcome_of, result_of
from flowd_client._core.local_engine import LocalEngine, LocalUpdates, closed, limit_s


class AsyncLocalTransport:
    """Calls to an engine in this process. Implements `flowd_client.transport.AsyncTransport`."""

    def __init__(self, engine: LocalEngine, *, is_patient: bool = False) -> None:
        """``is_patient`` is that of `flowd_client._core.local_engine.limit_s`."""
        self._engine = engine
        self._is_patient = is_patient

    async def call(self, method: str, params: Mapping[str, Any], *, timeout_s: float | None) -> Any:
        """As `flowd_client.transport.AsyncTransport.call`."""
        async with Limit(method, limit_s(method, timeout_s, is_patient=self._is_patient)) as limit:
            return await result_of(self._engine.submit(method, params), limit)

    async def stream(self, method: str, params: Mapping[str, Any], *, timeout_s: float | None) -> "AsyncLocalStream":
        """What happens, from now on or behind a cursor. Raises the `FlowClientError` tree."""
        async with Limit(method, timeout_s) as limit:
            return AsyncLocalStream(await result_of(self._engine.open_stream(params), limit))

    async def close(self) -> None:
        """End the engine: see ``state`` of `flowd_client.create_flow_client` for what becomes of runs under way."""
        await in_thread(self._engine.close)  # async only
        # sync only: self._engine.close()


class AsyncLocalStream:
    """Implements `flowd_client._async.transport.AsyncUpdateStream`."""

    def __init__(self, updates: LocalUpdates) -> None:
        self.answer = updates.answer
        self._updates = updates
        self._pending: Future[Mapping[str, Any]] | None = None

    async def next(self) -> Mapping[str, Any]:
        """See `flowd_client._async.transport.AsyncUpdateStream.next`."""
        if self._pending is None:
            self._pending = self._updates.next()
        update = await outcome_of(self._pending)
        self._pending = None
        if update is None:
            raise closed()
        return update

    def close(self) -> None:
        """See `flowd_client._async.transport.AsyncUpdateStream.close`."""
        self._updates.close()
        if self._pending is not None:
            self._pending.cancel()
