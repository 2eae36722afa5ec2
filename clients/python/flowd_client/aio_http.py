"""The asyncio transport over HTTP: a small HTTP/1.1 client on asyncio's streams."""

import asyncio
from collections.abc import Awaitable, Mapping
from typing import Any

from flowd_client.aio_http_stream import AsyncHttpStream
from flowd_client.errors import (
    BadAnswerError,
    ConnectionLostError,
    DaemonNotRunningError,
    TimedOutError,
    UnavailableModeError,
)
from flowd_client.http_answers import Reply, read_json
from flowd_client.http_requests import RETRY_STATUSES, Deadline, Exchange, Pause, Server, backoff_s, plan
from flowd_client.http_stream import request_of
from flowd_client.http_transport import speaks, unreachable
from flowd_client.transport import MAX_FRAME_BYTES
from flowd_client.wire import SUBSCRIBE

_HEAD_BYTES = 64 * 1024


class AsyncHttpTransport:
    """Calls over HTTP. Implements `flowd_client.transport.AsyncTransport`. As `HttpTransport`, for one event loop."""

    def __init__(self, server: Server) -> None:
        """Connect to nothing yet; the first call does."""
        self._server = server
        self._idle: list[_Connection] = []
        self._closings = 0

    async def call(self, method: str, params: Mapping[str, Any], *, timeout_s: float | None) -> Any:
        """As `flowd_client.transport.AsyncTransport.call`."""
        deadline = Deadline(method, timeout_s)
        steps = plan(method, params)
        was_sent = False
        try:
            async with asyncio.timeout(timeout_s):
                step = next(steps)
                while True:
                    if isinstance(step, Pause):
                        await asyncio.sleep(step.seconds)
                        step = next(steps)
                    else:
                        reply = await self._patiently(step, method, deadline, was_sent=was_sent)
                        was_sent = True
                        step = steps.send(reply)
        except StopIteration as end:
            return end.value
        except TimeoutError as error:
            raise deadline.error() from error

    async def stream(self, method: str, params: Mapping[str, Any], *, timeout_s: float | None) -> AsyncHttpStream:
        """A connection of its own on which updates come. Raises the `FlowClientError` tree."""
        if method != SUBSCRIBE:
            raise UnavailableModeError(f"{method} is no stream.")
        request = request_of(params)
        try:
            async with asyncio.timeout(timeout_s):
                headers = await self._headers(request)
                connection = await self._connect()
                try:
                    return await connection.open_stream(self._server, request, headers)
                except BaseException:
                    connection.close()
                    raise
        except TimeoutError as error:
            raise TimedOutError(method, timeout_s or 0) from error
        except (OSError, EOFError, asyncio.LimitOverrunError) as error:
            raise ConnectionLostError(method) from error

    async def _headers(self, request: Exchange) -> dict[str, str]:
        added = self._server.added_headers()
        return self._server.headers(request, await added if isinstance(added, Awaitable) else added)

    async def _patiently(self, request: Exchange, method: str, deadline: Deadline, *, was_sent: bool) -> Reply:
        """Send a request, again where that is safe. ``was_sent``: something of the same call was before."""
        attempt = 0
        while True:
            reply: Reply | None = None
            try:
                reply = await self._exchange(request, method)
                if reply.status not in RETRY_STATUSES or not request.is_safe:
                    return reply
                was_sent = True
            except DaemonNotRunningError as error:
                if attempt >= self._server.retries:
                    if was_sent:
                        raise ConnectionLostError(method, error) from error
                    raise
            except ConnectionLostError:
                if attempt >= self._server.retries or not request.is_safe:
                    raise
                was_sent = True
            pause_s = backoff_s(attempt, reply)
            if reply is not None and (attempt >= self._server.retries or not deadline.has(pause_s)):
                return reply
            await asyncio.sleep(pause_s)
            attempt += 1

    async def _exchange(self, request: Exchange, method: str) -> Reply:
        headers = await self._headers(request)
        closings = self._closings
        connection = (self._take_idle() if request.is_safe else None) or await self._connect()
        keeps = False
        try:
            reply, keeps = await connection.talk(self._server, request, headers)
        except (OSError, EOFError, asyncio.LimitOverrunError) as error:
            raise ConnectionLostError(method) from error
        finally:
            if keeps and closings == self._closings:
                self._idle.append(connection)
            else:
                connection.close()
        return reply

    async def _connect(self) -> "_Connection":
        server = self._server
        try:
            if server.unix_path is not None:
                streams = await asyncio.open_unix_connection(server.unix_path, limit=_HEAD_BYTES)
            else:
                tls = (server.ssl_context or True) if server.is_tls else None
                streams = await asyncio.open_connection(server.host, server.port, ssl=tls, limit=_HEAD_BYTES)
        except OSError as error:
            raise unreachable(server, error) from error
        return _Connection(*streams)

    def _take_idle(self) -> "_Connection | None":
        while self._idle:
            connection = self._idle.pop()
            if connection.is_open:
                return connection
            connection.close()
        return None

    async def close(self) -> None:
        """Close every idle connection now, and those in use when their calls have been answered."""
        self._closings += 1
        closed = [self._idle.pop() for _ in range(len(self._idle))]
        for connection in closed:
            connection.close()
        await asyncio.gather(*(connection.closed() for connection in closed))


class ChunkedBody:
    """A body in chunks, as it comes. Cancelling a read loses nothing."""

    def __init__(self, reader: asyncio.StreamReader) -> None:
        self._reader = reader
        self._left = 0
        self._is_between = False

    async def some(self) -> bytes:
        """What is there next, at least a byte; empty at the end, the trailers unread."""
        while self._left == 0:
            line = (await self._reader.readuntil(b"\r\n")).partition(b";")[0].strip()
            if self._is_between:
                self._is_between = False  # that was the end of the chunk before
                continue
            try:
                self._left = int(line, 16)
            except ValueError as error:
                raise BadAnswerError(f"The server's answer has a chunk of {line[:20]!r} bytes.") from error
            if self._left <= 0:
                return b""
        data = await self._reader.read(min(self._left, _HEAD_BYTES))
        if not data:
            raise EOFError
        self._left -= len(data)
        self._is_between = self._left == 0
        return data


class _Connection:
    """One connection, used by one call at a time."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._reader = reader
        self._writer = writer

    @property
    def is_open(self) -> bool:
        if self._reader.at_eof() or self._writer.is_closing():
            return False
        # The loop may not have come to its end yet.
        return not speaks(self._writer.get_extra_info("socket").fileno())

    async def talk(self, server: Server, request: Exchange, headers: Mapping[str, str]) -> tuple[Reply, bool]:
        """Send a request and read its answer. Returns whether the connection can be used again, too."""
        status, version, found = await self.ask(server, request, headers)
        body, is_delimited = await self._body(status, found)
        keeps = is_delimited and version == "HTTP/1.1" and found.get("connection", "").lower() != "close"
        return Reply(status, found, body), keeps

    async def ask(
        self, server: Server, request: Exchange, headers: Mapping[str, str]
    ) -> tuple[int, str, dict[str, str]]:
        """Send a request and read its answer up to the body."""
        lines = [f"{request.verb} {server.prefix}{request.target} HTTP/1.1", f"host: {server.host_header}"]
        lines += [f"{name}: {value}" for name, value in headers.items()]
        if request.body is not None:
            lines.append(f"content-length: {len(request.body)}")
        self._writer.write("\r\n".join([*lines, "", ""]).encode() + (request.body or b""))
        await self._writer.drain()
        head = await self._head()
        while head[0] < 200:
            head = await self._head()
        return head

    async def open_stream(self, server: Server, request: Exchange, headers: Mapping[str, str]) -> AsyncHttpStream:
        """Send a request whose answer goes on, and read its first message."""
        status, _, found = await self.ask(server, request, headers)
        if status != 200:
            body, _ = await self._body(status, found)
            read_json(Reply(status, found, body), request.verb, request.target)
            raise BadAnswerError(f"{request.target} answers with {status}, and not with a stream.")
        is_chunked = "chunked" in found.get("transfer-encoding", "").lower()
        read = ChunkedBody(self._reader).some if is_chunked else lambda: self._reader.read(_HEAD_BYTES)
        stream = AsyncHttpStream(read, self.close)
        await stream.begin()
        return stream

    async def _head(self) -> tuple[int, str, dict[str, str]]:
        head = (await self._reader.readuntil(b"\r\n\r\n")).decode("latin-1")
        first, *lines = head.split("\r\n")
        version, _, rest = first.partition(" ")
        status = rest[:3]
        if not version.startswith("HTTP/1.") or not status.isdigit():
            raise BadAnswerError(f"The server's answer is not HTTP: {first[:80]!r}.")
        pairs = (line.partition(":") for line in lines if line)
        return int(status), version, {name.strip().lower(): value.strip() for name, _, value in pairs}

    async def _body(self, status: int, headers: Mapping[str, str]) -> tuple[bytes, bool]:
        """The body, and whether its end was told by something else than the connection's."""
        if status in (204, 304):
            return b"", True
        if "chunked" in headers.get("transfer-encoding", "").lower():
            return await self._chunks(), True
        length = headers.get("content-length")
        if length is None:
            return await self._rest(), False
        if not (length.isascii() and length.isdigit()) or int(length) > MAX_FRAME_BYTES:
            raise BadAnswerError(f"The server's answer has a content-length of {length[:30]!r}.")
        return await self._reader.readexactly(int(length)), True

    async def _chunks(self) -> bytes:
        chunked = ChunkedBody(self._reader)
        parts = bytearray()
        while part := await chunked.some():
            parts += part
            if len(parts) > MAX_FRAME_BYTES:
                raise BadAnswerError(f"The server's answer is longer than {MAX_FRAME_BYTES} bytes.")
        while await self._reader.readuntil(b"\r\n") != b"\r\n":
            pass  # trailers
        return bytes(parts)

    async def _rest(self) -> bytes:
        parts = bytearray()
        while part := await self._reader.read(_HEAD_BYTES):
            parts += part
            if len(parts) > MAX_FRAME_BYTES:
                raise BadAnswerError(f"The server's answer is longer than {MAX_FRAME_BYTES} bytes.")
        return bytes(parts)

    def close(self) -> None:
        self._writer.close()

    async def closed(self) -> None:
        try:
            await self._writer.wait_closed()
        except OSError:
            pass
