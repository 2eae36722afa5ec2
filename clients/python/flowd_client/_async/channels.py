"""JSON-RPC calls of the asyncio client: all of them over one connection."""

import asyncio
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from flowd_client._async.net import place
from flowd_client._async.stream import Stream
from flowd_client._core.deadline import Deadline
from flowd_client._core.jsonrpc import ClosedError, Conversation, LostError, read_result, refuses_connection
from flowd_client.errors import FlowClientError, UnavailableModeError


class Channel:
    """A daemon's connection with all the calls that wait for their responses on it, told apart by their ids."""

    def __init__(self, stream: Stream) -> None:
        self._stream = stream
        self._conversation = Conversation()
        self._waiting: dict[int, asyncio.Future[Any]] = {}
        self._end: Exception | None = None
        self._unsent = bytearray()
        self._sender: asyncio.Task[None] | None = None
        # Read as it comes: a task that waits for it would cost as much again as all the rest of a call.
        self._loop = asyncio.get_running_loop()
        self._loop.add_reader(stream, self._read)

    def is_open(self) -> bool:
        return self._end is None and (bool(self._waiting) or not self._stream.has_ended())

    async def call(self, method: str, params: Mapping[str, Any]) -> Any:
        request_id, frame = self._conversation.request(method, params)
        if self._end is not None:
            raise self._end
        response = self._waiting[request_id] = asyncio.get_running_loop().create_future()
        try:
            self._send(frame)
            return await response
        finally:
            # Cancelled or timed out: a late response finds nobody and is dropped.
            self._waiting.pop(request_id, None)
            if not response.cancel() and not response.cancelled():
                response.exception()  # seen, so that asyncio does not report it as lost

    def _send(self, frame: bytes) -> None:
        # Whoever asked may be cancelled, but what was begun must be sent whole: other calls follow on the connection.
        try:
            self._unsent += frame if self._unsent else frame[self._stream.send_now(frame) :]
        except OSError:
            return  # `_read` sees the end, too, after what the daemon said before it
        if self._unsent and self._sender is None:
            self._sender = asyncio.create_task(self._send_rest(), name="flowd-client-sender")

    async def _send_rest(self) -> None:
        try:
            while self._unsent:
                part = bytes(self._unsent)
                await self._stream.send(part)
                del self._unsent[: len(part)]
        except OSError:
            pass
        finally:
            self._sender = None

    def _read(self) -> None:
        try:
            data = self._stream.receive_now()
            if data == b"":
                return self.close(LostError())
            self._conversation.feed(data or b"")
            while (message := self._conversation.message()) is not None:
                self._hand_over(message)
        except FlowClientError as error:
            self.close(error)
        except OSError:
            self.close(LostError())

    def _hand_over(self, message: Mapping[str, Any]) -> None:
        if "method" in message:
            return
        if refuses_connection(message):
            read_result(message)
        response = self._waiting.get(message["id"]) if isinstance(message.get("id"), int) else None
        if response is None or response.done():
            return
        try:
            response.set_result(read_result(message))
        except FlowClientError as error:
            response.set_exception(error)

    def close(self, end: Exception) -> None:
        """End the connection, and the calls on it. The sender ends with it."""
        self._end = self._end or end
        self.abandon()
        for response in self._waiting.values():
            if not response.done():
                response.set_exception(self._end)

    def abandon(self) -> None:
        """End the connection alone: nobody waits any more in another process, or in an event loop that is over."""
        if not (self._stream.is_closed or self._loop.is_closed()):
            self._loop.remove_reader(self._stream)
        self._stream.close()


class Channels:
    """Carries all calls over one connection, which is made anew when it has ended, and for each event loop."""

    def __init__(self, locate: Callable[[], Path], server_uid: int | None) -> None:
        """``locate`` is asked for the path at each connection."""
        self._locate = locate
        self._server_uid = server_uid
        self._channel: Channel | None = None
        self._place: tuple[int, asyncio.AbstractEventLoop | None] | None = None
        self._connecting = asyncio.Lock()

    async def call(self, method: str, params: Mapping[str, Any], limit: Deadline) -> Any:
        """Send a request once. Raises `LostError` and the `FlowClientError` tree."""
        if self._place != (here := place()):
            self._move(here)
        async with self._connecting:
            if self._channel is None or not self._channel.is_open():
                await self.close()
                self._channel = Channel(await Stream.to_socket(self._locate(), limit, self._server_uid))
            channel = self._channel
        return await channel.call(method, params)

    def _move(self, here: tuple[int, asyncio.AbstractEventLoop | None]) -> None:
        """Begin anew in another process or event loop, once the one before has ended."""
        if self._place is not None and self._place[0] == here[0] and self._place[1] and self._place[1].is_running():
            raise UnavailableModeError("This client is in use in another event loop. Make one for each loop.")
        if self._channel is not None:
            self._channel.abandon()
        self._channel, self._connecting, self._place = None, asyncio.Lock(), here

    async def close(self) -> None:
        """Close the connection now; calls under way raise `ClosedError`."""
        if self._place != (here := place()):
            self._move(here)
        channel, self._channel = self._channel, None
        if channel is not None:
            channel.close(ClosedError())
