"""Input and output for the asyncio client: streams, JSON-RPC calls on them, waiting. The only place with asyncio."""

import asyncio
import socket
import ssl
from collections.abc import Callable, Mapping
from concurrent.futures import Future
from pathlib import Path
from types import TracebackType
from typing import Any, Self, TypeVar

from flowd_client._core.connect import BACKLOG_PAUSE_S, connect_once, speaks
from flowd_client._core.deadline import Deadline
from flowd_client._core.jsonrpc import ClosedError, Conversation, LostError, read_result, refuses_connection
from flowd_client.errors import FlowClientError

T = TypeVar("T")

_READ_BYTES = 64 * 1024


class Limit(Deadline):
    """How long what is inside ``async with`` may take; then it is cancelled, and `TimedOutError` raised."""

    async def __aenter__(self) -> Self:
        self._timeout = asyncio.timeout(self.timeout_s)
        await self._timeout.__aenter__()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        try:
            await self._timeout.__aexit__(kind, error, trace)
        except TimeoutError as late:
            raise self.error() from late


async def sleep(seconds: float, _limit: Deadline | None = None) -> None:
    """Wait."""
    await asyncio.sleep(seconds)


class Stream:
    """A connection. Cancelling a `receive` loses nothing; no more is read ahead than a little.

    Attributes:
        limit: Of no use here: a `Limit` cancels what waits.
    """

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, ear: socket.socket | None) -> None:
        self.limit: Deadline | None = None
        self._reader = reader
        self._writer = writer
        # asyncio gives up the socket at the first failed write, with what the daemon said before it hung up still in
        # it. A descriptor of our own lets us read that, and see an end that the loop has not come to yet.
        self._ear = ear

    @classmethod
    async def to_socket(cls, path: Path, _limit: Deadline, server_uid: int | None = None) -> "Stream":
        """Connect to a Unix socket. Raises `DaemonNotRunningError` and `UntrustedDaemonError`."""
        while (sock := connect_once(path, server_uid)) is None:  # noqa: ASYNC110 - the kernel tells nobody of room in a backlog
            await asyncio.sleep(BACKLOG_PAUSE_S)
        ear = None
        try:
            ear = sock.dup()
            reader, writer = await asyncio.open_unix_connection(sock=sock, limit=_READ_BYTES)
        except BaseException:
            sock.close()
            if ear is not None:
                ear.close()
            raise
        return cls(reader, writer, ear)

    @classmethod
    async def to_server(cls, host: str, port: int, tls: ssl.SSLContext | None, _limit: Deadline) -> "Stream":
        """Connect by TCP, with TLS if there is a context for it. Raises `OSError`."""
        reader, writer = await asyncio.open_connection(host, port, ssl=tls, limit=_READ_BYTES)
        return cls(reader, writer, None)

    async def send(self, data: bytes) -> None:
        """Hand over all of it. Raises `OSError` when the connection has ended."""
        self._writer.write(data)
        await self._writer.drain()

    async def receive(self) -> bytes:
        """What came next, at least a byte; empty at the end. Raises `OSError` when the connection broke."""
        try:
            return await self._reader.read(_READ_BYTES)
        except OSError:
            if self._ear is None:
                raise
            return self._ear.recv(_READ_BYTES)

    def is_quiet(self) -> bool:
        """Whether the other side has neither said anything nor hung up."""
        if self._reader.at_eof() or self._writer.is_closing():
            return False
        return not speaks(self._writer.get_extra_info("socket").fileno())  # the loop may not have heard it yet

    def has_ended(self) -> bool:
        """Whether the other side has hung up, and said nothing before that is unread."""
        if self._writer.is_closing() or self._ear is None:
            return True
        try:
            return self._ear.recv(1, socket.MSG_PEEK) == b""
        except BlockingIOError:
            return False
        except OSError:
            return True

    def close(self) -> None:
        """End the connection. May be called twice."""
        self._writer.close()
        if self._ear is not None:
            self._ear.close()

    hang_up = close

    async def closed(self) -> None:
        """Return when `close` is done."""
        try:
            await self._writer.wait_closed()
        except OSError:
            pass


class Channel:
    """A daemon's connection with all the calls that wait for their responses on it, told apart by their ids."""

    def __init__(self, stream: Stream) -> None:
        self._stream = stream
        self._conversation = Conversation()
        self._waiting: dict[int, asyncio.Future[Any]] = {}
        self._end: Exception | None = None
        self._listener = asyncio.create_task(self._listen(), name="flowd-client-listener")

    def is_open(self) -> bool:
        return self._end is None and (bool(self._waiting) or not self._stream.has_ended())

    async def call(self, method: str, params: Mapping[str, Any]) -> Any:
        request_id, frame = self._conversation.request(method, params)
        if self._end is not None:
            raise self._end
        response = self._waiting[request_id] = asyncio.get_running_loop().create_future()
        try:
            try:
                await self._stream.send(frame)
            except OSError:
                pass  # the listener sees the end, too, after it has read what the daemon said before it
            return await response
        finally:
            # Cancelled or timed out: a late response finds nobody and is dropped.
            self._waiting.pop(request_id, None)
            if not response.cancel() and not response.cancelled():
                response.exception()  # seen, so that asyncio does not report it as lost

    async def _listen(self) -> None:
        end: Exception = LostError()
        try:
            while data := await self._stream.receive():
                self._conversation.feed(data)
                while (message := self._conversation.message()) is not None:
                    self._hand_over(message)
        except FlowClientError as error:
            end = error
        except OSError:
            pass
        finally:
            self._fail_all(end)
            self._stream.close()

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

    def _fail_all(self, end: Exception) -> None:
        self._end = self._end or end
        for response in self._waiting.values():
            if not response.done():
                response.set_exception(self._end)

    async def close(self) -> None:
        self._fail_all(ClosedError())
        self._listener.cancel()
        await asyncio.gather(self._listener, return_exceptions=True)
        self._stream.close()
        await self._stream.closed()


class Channels:
    """Carries all calls over one connection, which is made anew when it has ended."""

    def __init__(self, locate: Callable[[], Path], server_uid: int | None) -> None:
        """``locate`` is asked for the path at each connection."""
        self._locate = locate
        self._server_uid = server_uid
        self._channel: Channel | None = None
        self._connecting = asyncio.Lock()

    async def call(self, method: str, params: Mapping[str, Any], limit: Deadline) -> Any:
        """Send a request once. Raises `LostError` and the `FlowClientError` tree."""
        async with self._connecting:
            if self._channel is None or not self._channel.is_open():
                await self.close()
                self._channel = Channel(await Stream.to_socket(self._locate(), limit, self._server_uid))
            channel = self._channel
        return await channel.call(method, params)

    async def close(self) -> None:
        """Close the connection now; calls under way raise `ClosedError`."""
        channel, self._channel = self._channel, None
        if channel is not None:
            await channel.close()


async def result_of(future: Future[T], _limit: Deadline) -> T:
    """What a future of another thread comes to; one that is waited for no more is cancelled."""
    return await asyncio.wrap_future(future)


async def outcome_of(future: Future[T]) -> T | None:
    """The same, but being cancelled leaves the future alone; None when the future itself was cancelled."""
    try:
        return await asyncio.shield(asyncio.wrap_future(future))
    except asyncio.CancelledError:
        if future.cancelled():
            return None
        raise
