"""One connection to the control socket: requests in, responses and updates out, each within its bounds."""

import asyncio
import logging
import select
from collections import deque
from collections.abc import Callable
from typing import cast

from flowd.api.calls import Calls, cancelled_id
from flowd.api.dispatcher import Dispatcher, oversize, refusal
from flowd.api.framing import Framer, FramingError, Oversize
from flowd.api.subscriptions import Caller, Subscriptions
from flowd.api.turns import LargeTurns

log = logging.getLogger("flowd.api")

MAX_REQUESTS_UNDER_WAY = 256
"""Of one connection; the next ones wait until some have their responses."""

_MAX_BATCH_BYTES = 1 << 20
"""Of one connection's batches under way, or one that is larger: few of them are answered at once (`flowd.api.calls`),
and the others would only be held."""

_MAX_WAITING = 256
_MAX_WAITING_BYTES = 64 * 1024
"""Of one connection's requests that wait; it is read no further then. So far a cancellation is seen behind them."""

_WRITE_BYTES = 64 * 1024
"""What leaves in one turn of the loop leaves in one write, but not much more than this at once."""

_GONE_CHECK_S = 1.0


class Connection(asyncio.Protocol):
    """Reads requests, and responds to each as soon as it can.

    A caller who does not read is not asked for more requests: what is under way and what is written are both bounded.
    A caller who has shut down only its writing side still gets its responses, and its updates.
    """

    def __init__(
        self,
        dispatcher: Dispatcher,
        subscriptions: Subscriptions | None,
        *,
        max_frame_bytes: int,
        refuse: Callable[["Connection"], bytes | None],
        on_end: Callable[["Connection"], None],
    ) -> None:
        """Serve one caller.

        Args:
            refuse: Called once the caller is there. Gives the message to send it away with, None to let it in.
            on_end: Called when the connection is gone.
        """
        self._dispatcher = dispatcher
        self.peer_uid: int | None = None
        """Who is at the other end, once ``refuse`` has found out; None where the platform does not tell."""
        self._max_frame_bytes = max_frame_bytes
        self._refuse = refuse
        self._on_end = on_end
        self._framer = Framer(max_frame_bytes=max_frame_bytes)
        self._loop = asyncio.get_running_loop()
        self._subscriber = None if subscriptions is None else subscriptions.subscriber(self._push)
        self._waiting: deque[bytes | Oversize] = deque()
        self._calls = Calls()
        self._replies: dict[int, asyncio.Task[None]] = {}
        self._batch_bytes = 0
        self._started = 0
        self._unsent: list[bytes] = []
        self._unsent_bytes = 0
        self._has_room = asyncio.Event()
        self._has_room.set()
        self._large_turns = LargeTurns(self._has_room)
        self._is_reading = True
        self._is_at_end = False
        self._end_check: asyncio.TimerHandle | None = None

    @property
    def replies(self) -> frozenset[asyncio.Task[None]]:
        """The requests that have no response yet."""
        return frozenset(self._replies.values())

    @property
    def transport(self) -> asyncio.Transport:
        """The socket's."""
        return self._transport

    async def close(self) -> None:
        """End the connection. What has not begun is told so; what has, and has no response yet, gets none."""
        for message in self._waiting:
            declined = None if isinstance(message, Oversize) else self._dispatcher.decline(message)
            if declined is not None:
                self._write(declined)
        self._drop()
        await asyncio.gather(*self.replies, return_exceptions=True)
        if self._subscriber is not None:
            await self._subscriber.close()
        self._flush()
        self._transport.close()

    # --- what the transport tells ------------------------------------------------------------------------------------

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Let the caller in, or send it away."""
        self._transport = cast("asyncio.Transport", transport)
        message = self._refuse(self)
        if message is not None:
            self._end_with(message)

    def data_received(self, data: bytes) -> None:
        """Start what is whole."""
        if self._transport.is_closing():
            return
        try:
            self._take(self._framer.feed(data))
        except FramingError as error:
            log.debug("connection ended", extra={"error": str(error)})
            self._end_with(refusal("parse_error", f"{error} The connection ends."))
            return
        self._start()

    def eof_received(self) -> bool:
        """The caller sends no more; it may still wait for responses."""
        self._take(self._framer.finish())
        self._is_at_end = True
        self._start()
        self._see_out()
        return True

    def pause_writing(self) -> None:
        """The caller does not read."""
        self._has_room.clear()

    def resume_writing(self) -> None:
        """It reads again."""
        self._has_room.set()
        self._start()

    def connection_lost(self, exc: Exception | None) -> None:
        """Drop what has no response yet: nobody is there to read it."""
        if exc is not None:
            log.debug("connection ended", extra={"error": str(exc)})
        if self._end_check is not None:
            self._end_check.cancel()
        self._drop()
        self._has_room.set()
        self._on_end(self)

    # --- requests ----------------------------------------------------------------------------------------------------

    def _take(self, messages: list[bytes | Oversize]) -> None:
        """Note requests, and act on cancellations, which do not wait."""
        for message in messages:
            unwanted = None if isinstance(message, Oversize) else cancelled_id(message)
            if unwanted is None:
                self._waiting.append(message)
            else:
                self._calls.cancel(unwanted, is_waiting=bool(self._waiting or self._replies))

    def _start(self) -> None:
        """Start as many of the requests as may be under way, and read on only if none is left."""
        while self._waiting and len(self._replies) < MAX_REQUESTS_UNDER_WAY and self._has_room.is_set():
            batch_bytes = _batch_bytes(self._waiting[0])
            if self._batch_bytes and self._batch_bytes + batch_bytes > _MAX_BATCH_BYTES:
                break
            message = self._waiting.popleft()
            if isinstance(message, Oversize):
                self._write(oversize(message.bytes, self._max_frame_bytes))
                continue
            caller = None if self._subscriber is None else self._subscriber.caller(self.peer_uid)
            self._started += 1
            self._batch_bytes += batch_bytes
            self._replies[self._started] = self._loop.create_task(self._reply(self._started, message, caller))
        if not self._waiting and not self._replies:
            self._calls.forget_unwanted()
        self._read_on(is_wanted=not self._waiting or (self._has_room.is_set() and self._may_wait()))

    def _may_wait(self) -> bool:
        sizes = (0 if isinstance(message, Oversize) else len(message) for message in self._waiting)
        return len(self._waiting) < _MAX_WAITING and sum(sizes) < _MAX_WAITING_BYTES

    def _read_on(self, *, is_wanted: bool) -> None:
        if is_wanted == self._is_reading or self._is_at_end or self._transport.is_closing():
            return
        self._is_reading = is_wanted
        if is_wanted:
            self._transport.resume_reading()
        else:
            self._transport.pause_reading()

    async def _reply(self, number: int, message: bytes, caller: Caller | None) -> None:
        try:
            response = await self._dispatcher.respond(message, caller, self._large_turns, self._calls)
            if response is not None:
                self._write(response)
            if caller is not None:
                caller.responded()
        finally:
            del self._replies[number]
            self._batch_bytes -= _batch_bytes(message)
            if self._waiting or not self._replies:
                self._start()
            if self._is_at_end:
                self._see_out()

    # --- responses and updates ---------------------------------------------------------------------------------------

    async def _push(self, message: bytes) -> None:
        self._write(message)
        await self._has_room.wait()
        if self._transport.is_closing():
            raise ConnectionResetError

    def _write(self, message: bytes) -> None:
        if self._transport.is_closing():
            return
        if not self._unsent:
            self._loop.call_soon(self._flush)
        self._unsent.append(self._framer.frame(message))
        self._unsent_bytes += len(message)
        if self._unsent_bytes >= _WRITE_BYTES:
            self._flush()

    def _flush(self) -> None:
        if self._unsent:
            data = self._unsent[0] if len(self._unsent) == 1 else b"".join(self._unsent)
            self._unsent.clear()
            self._unsent_bytes = 0
            self._transport.write(data)

    # --- ends --------------------------------------------------------------------------------------------------------

    def _end_with(self, message: bytes) -> None:
        self._write(message)
        self._flush()
        self._transport.close()

    def _see_out(self) -> None:
        """Close once the caller, who sends no more, has all it asked for, or is gone."""
        if self._end_check is not None:
            self._end_check.cancel()
            self._end_check = None
        if self._transport.is_closing():
            return
        is_owed = self._waiting or self._replies or (self._subscriber is not None and self._subscriber.tasks)
        if is_owed and not self._is_gone():
            self._end_check = self._loop.call_later(_GONE_CHECK_S, self._see_out)
            return
        self._flush()
        self._transport.close()

    def _is_gone(self) -> bool:
        """Whether the other end has closed both directions: then nobody reads a response any more."""
        poll = select.poll()
        poll.register(self._transport.get_extra_info("socket").fileno(), 0)
        return any(events & (select.POLLHUP | select.POLLERR) for _, events in poll.poll(0))

    def _drop(self) -> None:
        self._waiting.clear()
        for task in self.replies:
            task.cancel()
        if self._subscriber is not None:
            self._subscriber.cancel()


def _batch_bytes(message: bytes | Oversize) -> int:
    """The size of a batch; 0 for every other message."""
    return len(message) if isinstance(message, bytes) and message[:64].lstrip()[:1] == b"[" else 0
