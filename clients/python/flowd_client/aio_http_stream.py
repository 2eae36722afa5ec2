"""Subscriptions over HTTP for asyncio."""

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from typing import Any

from flowd_client.errors import ConnectionLostError
from flowd_client.http_stream import SILENCE_S, Message, SseParser, update_of
from flowd_client.wire import SUBSCRIBE


class AsyncHttpStream:
    """Implements `flowd_client.aio_updates.AsyncUpdateStream` on a response that goes on."""

    def __init__(self, read: Callable[[], Awaitable[bytes]], close: Callable[[], None]) -> None:
        """``read`` gives what comes next, empty at the end; cancelling it must lose nothing."""
        self.answer: Any = None
        self.close = close
        self._read = read
        self._parser = SseParser()
        self._waiting: list[Message] = []

    async def begin(self) -> None:
        """Read the first message, which says from where the updates go on."""
        self.answer = {"cursor": (await self._message()).id}

    async def next(self) -> Mapping[str, Any]:
        """See `flowd_client.aio_updates.AsyncUpdateStream.next`. Cancelling it loses nothing."""
        while (update := update_of(await self._message())) is None:
            pass
        return update

    async def _message(self) -> Message:
        while not self._waiting:
            self._waiting = self._parser.feed(await self._chunk())
        return self._waiting.pop(0)

    async def _chunk(self) -> bytes:
        try:
            async with asyncio.timeout(SILENCE_S):
                chunk = await self._read()
        except (OSError, EOFError, asyncio.LimitOverrunError) as error:
            raise ConnectionLostError(SUBSCRIBE) from error
        if not chunk:
            raise ConnectionLostError(SUBSCRIBE)
        return chunk
