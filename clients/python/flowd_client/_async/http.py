"""The transport over HTTP, and server-sent events over it."""

import time
from collections.abc import Awaitable, Mapping
from pathlib import Path
from typing import Any

from flowd_client._async.net import Limit, sleep
from flowd_client._async.stream import Stream
from flowd_client._core.http11 import Response, request_bytes
from flowd_client._core.http_plans import RETRY_STATUSES, Exchange, Pause, backoff_s, plan
from flowd_client._core.http_responses import Reply
from flowd_client._core.http_server import Server, unreachable
from flowd_client._core.pool import Pool
from flowd_client._core.reconnect import HELD_S
from flowd_client._core.sse import SILENCE_S, Message, SseParser, stream_request, update_of
from flowd_client.errors import (
    BadAnswerError,
    ConnectionLostError,
    DaemonNotRunningError,
    TimedOutError,
    UnavailableModeError,
    # sync only: invalid_params,
)
from flowd_client.wire import SUBSCRIBE


class AsyncHttpTransport:
    """Calls over HTTP. Implements `flowd_client.transport.AsyncTransport`.

    Connections are kept, one call at a time on each. What may not be repeated goes over a new one: a kept one may have
    been closed by the server just now, and then nobody could say whether it arrived.
    """

    def __init__(self, server: Server) -> None:
        """Connect to nothing yet; the first call does."""
        self._server = server
        self._pool: Pool[Stream] = Pool()

    async def call(self, method: str, params: Mapping[str, Any], *, timeout_s: float | None) -> Any:
        """As `flowd_client.transport.AsyncTransport.call`."""
        steps = plan(method, params)
        was_sent = False
        async with Limit(method, timeout_s) as limit:
            try:
                step = next(steps)
                while True:
                    if isinstance(step, Pause):
                        await sleep(step.seconds, limit)
                        step = next(steps)
                    else:
                        reply = await self._exchange(step, method, limit, was_sent=was_sent)
                        was_sent = True
                        step = steps.send(reply)
            except StopIteration as end:
                return end.value

    async def _exchange(self, request: Exchange, method: str, limit: Limit, *, was_sent: bool) -> Reply:
        """Send a request, again where that is safe. ``was_sent``: something of the same call was before."""
        attempt = 0
        while True:
            reply: Reply | None = None
            begun_s = time.monotonic()
            try:
                reply = await self._exchange_once(request, method, limit)
                if reply.status not in RETRY_STATUSES or not request.is_safe or _has_held(begun_s):
                    return reply
                was_sent = True
            except DaemonNotRunningError as error:
                if attempt >= self._server.retries:
                    if was_sent:
                        raise ConnectionLostError(method, error) from error
                    raise
            except ConnectionLostError:
                if attempt >= self._server.retries or not request.is_safe or _has_held(begun_s):
                    raise
                was_sent = True
            pause_s = backoff_s(attempt, reply)
            if reply is not None and (attempt >= self._server.retries or not limit.has(pause_s)):
                return reply
            await sleep(pause_s, limit)
            attempt += 1

    async def _exchange_once(self, request: Exchange, method: str, limit: Limit) -> Reply:
        epoch = self._pool.epoch
        stream = (self._pool.take() if request.is_safe else None) or await self._connect(limit)
        try:
            data = await self._bytes(request, stream)
        except BaseException:
            stream.close()
            raise
        response = Response()
        try:
            stream.limit = limit
            await stream.send(data)
            while not response.is_complete:
                response.feed(await stream.receive())
        except (OSError, EOFError) as error:
            raise ConnectionLostError(method) from error
        finally:
            if response.keeps_connection:
                self._pool.put_back(stream, epoch)
            else:
                stream.close()
        return response.reply

    async def stream(self, method: str, params: Mapping[str, Any], *, timeout_s: float | None) -> "AsyncHttpStream":
        """A connection of its own on which updates come. Raises the `FlowClientError` tree."""
        if method != SUBSCRIBE:
            raise UnavailableModeError(f"{method} is no stream.")
        request = stream_request(params)
        async with Limit(method, timeout_s) as limit:
            connected = await self._connect(limit)
            stream = AsyncHttpStream(connected)
            try:
                await stream.begin(request, await self._bytes(request, connected))
            except BaseException:
                stream.close()
                raise
            return stream

    async def _bytes(self, request: Exchange, stream: Stream) -> bytes:
        """What to send, made anew for each sending."""
        added = self._server.added_headers()
        if isinstance(added, Awaitable):
            added = await added  # async only
            # sync only: raise invalid_params("headers must not be awaitable in the blocking client.")
        headers = self._server.headers(request, added, is_ours=stream.is_ours)
        return request_bytes(request.verb, self._server.prefix + request.target, headers, request.body)

    async def _connect(self, limit: Limit) -> Stream:
        server = self._server
        try:
            if server.unix_path is not None:
                return await Stream.to_socket(Path(server.unix_path), limit, server.server_uid)
            stream = await Stream.to_server(server.host, server.port, server.tls(), limit)
            stream.is_ours = server.is_ours()
            return stream
        except DaemonNotRunningError as error:
            raise unreachable(server, error.__cause__ or error) from error
        except OSError as error:
            raise unreachable(server, error) from error

    async def close(self) -> None:
        """Close every idle connection now, and those in use when their calls have been answered."""
        self._pool.clear()


class AsyncHttpStream:
    """Implements `flowd_client._async.transport.AsyncUpdateStream` on a response that goes on."""

    def __init__(self, stream: Stream) -> None:
        self.answer: Any = None
        self.close = stream.hang_up
        self._stream = stream
        self._response = Response()
        self._parser = SseParser()
        self._waiting: list[Message] = []

    async def begin(self, request: Exchange, data: bytes) -> None:
        """Send the request, and read the first message, which says from where the updates go on."""
        try:
            await self._stream.send(data)
        except OSError:
            pass  # what the server said before it hung up can still be read
        while not self._response.status:
            await self._receive()
        if self._response.status != 200:
            while not self._response.is_complete:
                await self._receive()
            request.read(self._response.reply)
            raise BadAnswerError(f"{request.target} answers with {self._response.status}, and not with a stream.")
        while not self._waiting:
            await self._receive()
        self.answer = {"cursor": self._waiting.pop(0).id}

    async def next(self) -> Mapping[str, Any]:
        """See `flowd_client._async.transport.AsyncUpdateStream.next`."""
        while True:
            while not self._waiting:
                try:
                    async with Limit(SUBSCRIBE, SILENCE_S) as self._stream.limit:
                        await self._receive()
                except TimedOutError as error:
                    raise ConnectionLostError(SUBSCRIBE) from error
            if (update := update_of(self._waiting.pop(0))) is not None:
                return update

    async def _receive(self) -> None:
        if self._response.is_complete:
            raise ConnectionLostError(SUBSCRIBE)
        try:
            self._response.feed(await self._stream.receive())
        except (OSError, EOFError) as error:
            raise ConnectionLostError(SUBSCRIBE) from error
        if self._response.status == 200:
            self._waiting += self._parser.feed(bytes(self._response.body))
            self._response.body.clear()


def _has_held(begun_s: float) -> bool:
    return time.monotonic() - begun_s >= HELD_S
