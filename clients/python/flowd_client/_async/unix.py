"""The transport over a Unix socket: newline-delimited JSON-RPC."""

import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from flowd_client._async.channels import Channels
from flowd_client._async.net import Limit
from flowd_client._async.stream import Stream
from flowd_client._core.connect import locator, stopped_pid
from flowd_client._core.jsonrpc import ClosedError, Conversation, LostError, NotSentError, answers, read_result
from flowd_client._core.reconnect import HELD_S
from flowd_client.discovery import by_nobody, meant_at
from flowd_client.errors import ConnectionLostError, DaemonNotRunningError, InvalidCallError, TimedOutError
from flowd_client.wire import RETRY_SAFE, SUBSCRIBE, UPDATE


class AsyncUnixTransport:
    """Calls over a Unix socket. Implements `flowd_client.transport.AsyncTransport`."""

    def __init__(self, path: Path | Callable[[], Path], *, server_uid: int | None = None) -> None:
        """Connect to nothing yet; the first call does. A function is asked for the path at each connection."""
        self._locate = locator(path)
        self._server_uid = server_uid
        self._channels = Channels(self._locate, server_uid)

    async def call(self, method: str, params: Mapping[str, Any], *, timeout_s: float | None) -> Any:
        """As `flowd_client.transport.AsyncTransport.call`."""
        try:
            return await self._call(method, params, timeout_s)
        except InvalidCallError as error:
            # A daemon of before an update does not take a step's word that it waits. It did nothing.
            if "causedBy" not in params or "'causedBy'" not in error.message:
                raise
            return await self._call(method, by_nobody(params), timeout_s)
        except TimedOutError as error:
            if (pid := stopped_pid(self._locate())) is None:
                raise
            raise TimedOutError(method, timeout_s or 0, stopped_pid=pid) from error

    async def _call(self, method: str, params: Mapping[str, Any], timeout_s: float | None) -> Any:
        begun_s = time.monotonic()
        if "causedBy" in params:
            params = meant_at(params, self._locate())
        async with Limit(method, timeout_s) as limit:
            try:
                return await self._channels.call(method, params, limit)
            except LostError as error:
                was_sent = not isinstance(error, NotSentError)
                has_held = time.monotonic() - begun_s >= HELD_S
                if isinstance(error, ClosedError) or (was_sent and (method not in RETRY_SAFE or has_held)):
                    raise ConnectionLostError(method) from error
            try:
                return await self._channels.call(method, params, limit)
            except LostError as error:
                raise ConnectionLostError(method) from error
            except DaemonNotRunningError as error:
                if was_sent:
                    raise ConnectionLostError(method, error) from error
                raise

    async def stream(self, method: str, params: Mapping[str, Any], *, timeout_s: float | None) -> "AsyncUnixStream":
        """A connection of its own on which the daemon pushes updates. Raises the `FlowClientError` tree."""
        async with Limit(method, timeout_s) as limit:
            stream = AsyncUnixStream(await Stream.to_socket(self._locate(), limit, self._server_uid))
            try:
                await stream.begin(method, params)
            except BaseException:
                stream.close()
                raise
            return stream

    async def close(self) -> None:
        """Let go of the connection; calls under way fail with `ConnectionLostError`."""  # async only
        # sync only: """Close every idle connection now, and those in use when their calls have been answered."""
        await self._channels.close()


class AsyncUnixStream:
    """Implements `flowd_client._async.transport.AsyncUpdateStream`."""

    def __init__(self, stream: Stream) -> None:
        self.answer: Any = None
        self.close = stream.hang_up
        self._stream = stream
        self._conversation = Conversation()

    async def begin(self, method: str, params: Mapping[str, Any]) -> None:
        """Subscribe, within the limit of the connection. Raises the `FlowClientError` tree."""
        request_id, frame = self._conversation.request(method, params)
        try:
            await self._stream.send(frame)
        except OSError:
            pass  # what the daemon said before it hung up can still be read
        while not answers(message := await self._message(), request_id):
            pass
        self.answer = read_result(message)
        self._stream.limit = Limit(method, None)

    async def next(self) -> Mapping[str, Any]:
        """See `flowd_client._async.transport.AsyncUpdateStream.next`."""
        while True:
            message = await self._message()
            if message.get("method") == UPDATE and isinstance(message.get("params"), dict):
                update: Mapping[str, Any] = message["params"]
                return update

    async def _message(self) -> dict[str, Any]:
        while (message := self._conversation.message()) is None:
            try:
                data = await self._stream.receive()
            except OSError as error:
                raise ConnectionLostError(SUBSCRIBE) from error
            if not data:
                raise ConnectionLostError(SUBSCRIBE)
            self._conversation.feed(data)
        return message
