"""Local mode for asyncio. The engine has a loop of its own, so a busy caller never delays a step's supervision."""

import asyncio
from collections.abc import Mapping
from typing import Any

from flowd_client.errors import TimedOutError
from flowd_client.local import LocalEngine, limit_s


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

    async def close(self) -> None:
        """End the engine, as `flowd_client.local.LocalTransport.close`."""
        await asyncio.to_thread(self._engine.close)
