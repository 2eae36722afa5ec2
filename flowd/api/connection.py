"""One connection to the control socket: requests in, responses and updates out, each within its bounds."""

import asyncio
import select
import socket

from flowd.api.dispatcher import Dispatcher, oversize, refusal
from flowd.api.framing import Framer, FramingError, Oversize
from flowd.api.subscriptions import Caller, Subscriptions

MAX_REQUESTS_UNDER_WAY = 256
"""Of one connection; it is read no further until some are answered."""

READ_BYTES = 256 * 1024
_GONE_CHECK_S = 1.0


class Connection:
    """Reads requests, and answers each as soon as it can."""

    def __init__(
        self,
        reader: asyncio.StreamReader,
        writer: asyncio.StreamWriter,
        dispatcher: Dispatcher,
        subscriptions: Subscriptions | None,
        *,
        max_frame_bytes: int,
    ) -> None:
        self._reader = reader
        self._writer = writer
        self._dispatcher = dispatcher
        self._max_frame_bytes = max_frame_bytes
        self._framer = Framer(max_frame_bytes=max_frame_bytes)
        self._places = asyncio.Semaphore(MAX_REQUESTS_UNDER_WAY)
        self._replies: set[asyncio.Task[None]] = set()
        self._subscriber = None if subscriptions is None else subscriptions.subscriber(self._push)

    @property
    def replies(self) -> frozenset[asyncio.Task[None]]:
        """The requests that are not answered yet."""
        return frozenset(self._replies)

    async def converse(self) -> None:
        """Talk until the other end has closed, or has nothing more to ask and everything it asked for.

        Cancelling this call drops what is not answered yet.

        Raises:
            FramingError: Its bytes are no frames. It was told so.
            ConnectionError: It is gone.
        """
        try:
            while data := await self._reader.read(READ_BYTES):
                await self._take(self._framer.feed(data))
            await self._take(self._framer.finish())
            await self._see_out()
        except FramingError as error:
            self._write(refusal("parse_error", f"{error} The connection ends."))
            raise
        finally:
            for task in self.replies:
                task.cancel()
            if self._subscriber is not None:
                await self._subscriber.close()

    async def _take(self, messages: list[bytes | Oversize]) -> None:
        for message in messages:
            if isinstance(message, Oversize):
                self._write(oversize(message.bytes, self._max_frame_bytes))
                continue
            # Who does not read its answers is not asked for more questions: both bounds are of memory.
            await self._writer.drain()
            await self._places.acquire()
            caller = None if self._subscriber is None else self._subscriber.caller()
            task = asyncio.get_running_loop().create_task(self._reply(message, caller))
            self._replies.add(task)
            task.add_done_callback(self._replied)

    def _replied(self, task: asyncio.Task[None]) -> None:
        self._replies.discard(task)
        self._places.release()

    async def _see_out(self) -> None:
        """The other end may have shut down its writing side only, and still wait for its answers."""
        while under_way := self.replies | (self._subscriber.tasks if self._subscriber else set()):
            if _is_gone(self._writer.get_extra_info("socket")):
                break
            await asyncio.wait(under_way, timeout=_GONE_CHECK_S)

    async def _reply(self, message: bytes, caller: Caller | None) -> None:
        response = await self._dispatcher.respond(message, caller)
        if response is not None and not self._writer.is_closing():
            self._write(response)
        if caller is not None:
            caller.responded()
        try:
            await self._writer.drain()
        except ConnectionError:
            pass

    async def _push(self, message: bytes) -> None:
        self._write(message)
        await self._writer.drain()

    def _write(self, message: bytes) -> None:
        self._writer.write(self._framer.frame(message))


def _is_gone(connection: socket.socket) -> bool:
    """Whether the other end has closed both directions: then nobody reads an answer any more."""
    poll = select.poll()
    poll.register(connection.fileno(), 0)
    return any(events & (select.POLLHUP | select.POLLERR) for _, events in poll.poll(0))
