"""Shares what requests use up: `LargeTurns` the memory of large responses, `FairTurns` the time of the loop."""

import asyncio
from collections import OrderedDict, deque
from dataclasses import dataclass, field
from functools import partial
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


_SHARED = 64
_SHARE_AT_LEAST = 4
_WORK_S = 0.05
_RECENT_S = 1.0


@dataclass(eq=False, slots=True)
class _Owner:
    queue: deque[asyncio.Future[None]] = field(default_factory=deque)
    begun_s: dict[object, float] = field(default_factory=dict)
    seen_s: float = 0.0


class FairTurns:
    """Lets requests begin in turns, one of each connection after the other, so that none waits for all of another's.

    No more begin in one turn of the loop than take a few milliseconds, going by those before. While several connections
    ask, they share what is under way, so that no long queue stands before the database either; what takes longer than
    `_WORK_S` waits for something and counts no more.
    """

    def __init__(self) -> None:
        self._owners: OrderedDict[object, _Owner] = OrderedDict()
        self._queued = 0
        self._recent = 1
        self._quota = _MAX_QUOTA
        self._given = 0
        self._timer: asyncio.Handle | None = None
        self._turned_s = 0.0

    def turn(self, owner: object) -> "_Turn":
        """Around a request of ``owner``'s, as ``async with``. To enter takes no time while there is little to do."""
        return _Turn(self, owner)

    async def begin(self, owner: object, turn: object) -> dict[object, float]:
        """Wait until a request of ``owner``'s may begin; where ``turn`` counts from then on, to be taken out."""
        loop = asyncio.get_running_loop()
        state = self._owners.get(owner)
        if state is None:
            state = self._owners[owner] = _Owner()
            self._recent = len(self._owners)
        state.seen_s = loop.time()
        if self._timer is None:
            self._turned_s = state.seen_s
            self._timer = loop.call_soon(self._turn, loop)
        if self._queued or self._given >= self._quota or not self._may_begin(state, state.seen_s):
            await self._wait(state, loop)
        self._given += 1
        state.begun_s[turn] = loop.time()
        return state.begun_s

    async def _wait(self, state: _Owner, loop: asyncio.AbstractEventLoop) -> None:
        future: asyncio.Future[None] = loop.create_future()
        state.queue.append(future)
        self._queued += 1
        await future

    def _may_begin(self, state: _Owner, now_s: float) -> bool:
        if self._recent <= 1:
            return True
        while state.begun_s and next(iter(state.begun_s.values())) < now_s - _WORK_S:
            del state.begun_s[next(iter(state.begun_s))]
        return len(state.begun_s) < max(_SHARE_AT_LEAST, _SHARED // self._recent)

    def _turn(self, loop: asyncio.AbstractEventLoop) -> None:
        """Once in each turn of the loop while there is something to do."""
        now_s = loop.time()
        if now_s - self._turned_s > _LONG_TURN_S:
            self._quota = max(1, self._quota // 2)
        elif now_s - self._turned_s < _LONG_TURN_S / 4:
            self._quota = min(_MAX_QUOTA, self._quota * 2)
        was_given, self._given, self._turned_s = self._given, 0, now_s
        given = self._give(now_s) if self._queued else 0
        if self._queued and not given:
            self._timer = loop.call_later(_WORK_S / 10, self._turn, loop)
        elif was_given or given or self._queued:
            self._timer = loop.call_soon(self._turn, loop)
        else:
            self._timer = None
            self._forget(now_s)

    def _give(self, now_s: float) -> int:
        """Turns to as many as may begin: one of each owner, and again, beginning with who had none for longest."""
        self._forget(now_s)
        given = 0
        is_giving = True
        while is_giving and given < self._quota:
            is_giving = False
            for owner in [owner for owner, state in self._owners.items() if state.queue]:
                state = self._owners[owner]
                if given >= self._quota:
                    break
                if not self._may_begin(state, now_s):
                    continue
                is_giving = True
                self._owners.move_to_end(owner)
                future = state.queue.popleft()
                self._queued -= 1
                if not future.done():
                    # It counts from now on; its task begins in this turn of the loop.
                    state.begun_s[future] = now_s
                    future.add_done_callback(partial(_uncount, state))
                    future.set_result(None)
                    given += 1
        return given

    def _forget(self, now_s: float) -> None:
        """Owners who ask no more."""
        for owner, state in list(self._owners.items()):
            if not state.queue and state.seen_s < now_s - _RECENT_S and not state.begun_s:
                del self._owners[owner]
        self._recent = max(1, sum(state.seen_s >= now_s - _RECENT_S for state in self._owners.values()))


class _Turn:
    __slots__ = ("_counted", "_owner", "_turns")

    def __init__(self, turns: FairTurns, owner: object) -> None:
        self._turns = turns
        self._owner = owner

    async def __aenter__(self) -> None:
        self._counted = await self._turns.begin(self._owner, self)

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._counted.pop(self, None)


def _uncount(state: _Owner, future: asyncio.Future[None]) -> None:
    state.begun_s.pop(future, None)
