"""Shares what requests use up: `LargeTurns` the memory of large responses, `FairTurns` the time of the loop."""

import asyncio
from collections import OrderedDict, deque
from types import TracebackType

LARGE_AT_ONCE = 8
"""Of one connection. Each may hold a page of events, as it is read and as it is written."""


_MAX_QUOTA = 64
_LONG_TURN_S = 0.004


class LargeTurns:
    """A connection makes few large responses at once, and none while its caller does not read.

    Used as ``async with turns:`` around the making of a response, which is then written without another wait."""

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


class FairTurns:
    """Lets requests begin in turns, one of each connection after the other, so that none waits for all of another's.

    No more begin in one turn of the loop than take a few milliseconds, going by those before.
    """

    def __init__(self) -> None:
        self._queues: OrderedDict[object, deque[asyncio.Future[None]]] = OrderedDict()
        self._quota = _MAX_QUOTA
        self._given = 0
        self._is_turning = False
        self._turned_s = 0.0

    async def take(self, owner: object) -> None:
        """Wait for a turn of ``owner``'s. Takes no time while there is little to do."""
        loop = asyncio.get_running_loop()
        if not self._is_turning:
            self._is_turning = True
            self._turned_s = loop.time()
            loop.call_soon(self._turn, loop)
        if self._given < self._quota and not self._queues:
            self._given += 1
            return
        turn: asyncio.Future[None] = loop.create_future()
        self._queues.setdefault(owner, deque()).append(turn)
        await turn

    def _turn(self, loop: asyncio.AbstractEventLoop) -> None:
        """Once in each turn of the loop while there is something to do."""
        now_s = loop.time()
        if now_s - self._turned_s > _LONG_TURN_S:
            self._quota = max(1, self._quota // 2)
        elif now_s - self._turned_s < _LONG_TURN_S / 4:
            self._quota = min(_MAX_QUOTA, self._quota * 2)
        was_given, self._given, self._turned_s = self._given, 0, now_s
        while self._queues and self._given < self._quota:
            owner, queue = self._queues.popitem(last=False)
            turn = queue.popleft()
            if queue:
                self._queues[owner] = queue
            if not turn.done():
                turn.set_result(None)
                self._given += 1
        self._is_turning = bool(was_given or self._given or self._queues)
        if self._is_turning:
            loop.call_soon(self._turn, loop)
