"""Bounds the memory of large responses: a connection makes few at once, and none while its caller does not read."""

import asyncio
from types import TracebackType

LARGE_AT_ONCE = 8
"""Of one connection. Each may hold a page of events, as it is read and as it is written."""


class LargeTurns:
    """Used as ``async with turns:`` around the making of a response, which is then written without another wait."""

    def __init__(self, has_room: asyncio.Event) -> None:
        """``has_room`` is set while what was written before has been taken."""
        self._has_room = has_room
        self._places = asyncio.Semaphore(LARGE_AT_ONCE)

    async def __aenter__(self) -> None:
        """Wait for a turn."""
        await self._places.acquire()
        try:
            await self._has_room.wait()
        except BaseException:
            self._places.release()
            raise

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Give the turn to the next one, which runs when this task waits the next time: after it has written."""
        self._places.release()
