"""The asyncio transport over a Unix socket: many calls at once on one connection, told apart by their ids."""

import asyncio
import socket
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from flowd_client.aio_unix_stream import AsyncUnixStream
from flowd_client.errors import (
    BadAnswerError,
    CallError,
    ConnectionLostError,
    DaemonNotRunningError,
    FlowClientError,
    TimedOutError,
)
from flowd_client.transport import MAX_FRAME_BYTES, decode, encode, read_result
from flowd_client.unix_connect import BACKLOG_PAUSE_S, connect_once, locator
from flowd_client.wire import RETRY_SAFE

_LAST_WORDS_BYTES = 64 * 1024


class _LostError(Exception):
    """The connection ended before the answer."""


class _ClosedError(Exception):
    """This side closed the connection before the answer."""


class _Connection:
    """One connected socket with the calls that wait for their answers on it."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, sock: socket.socket) -> None:
        self._reader = reader
        self._writer = writer
        self._waiting: dict[int, asyncio.Future[Any]] = {}
        self._last_id = 0
        self._end: Exception | None = None
        self._listener: asyncio.Task[None] | None = None
        # asyncio gives up the socket at the first failed write, with what the daemon said before it hung up still in
        # it. A descriptor of our own lets us read that, and see an end that the loop has not come to yet.
        self._ear = sock.dup()

    @classmethod
    async def open(cls, path: Path) -> "_Connection":
        while (sock := connect_once(path)) is None:  # noqa: ASYNC110 - the kernel tells nobody of room in a backlog
            await asyncio.sleep(BACKLOG_PAUSE_S)
        try:
            reader, writer = await asyncio.open_unix_connection(sock=sock, limit=MAX_FRAME_BYTES)
        except BaseException:
            sock.close()
            raise
        connection = cls(reader, writer, sock)
        connection._listener = asyncio.create_task(connection._listen(), name="flowd-client-listener")
        return connection

    @property
    def is_open(self) -> bool:
        if self._end is not None or self._writer.is_closing():
            return False
        try:
            return bool(self._waiting) or self._ear.recv(1, socket.MSG_PEEK) != b""
        except BlockingIOError:
            return True
        except OSError:
            return False

    async def call(self, method: str, params: Mapping[str, Any]) -> Any:
        self._last_id += 1
        request_id = self._last_id
        frame = encode(request_id, method, params)
        answer: asyncio.Future[Any] = asyncio.get_running_loop().create_future()
        self._waiting[request_id] = answer
        try:
            if self._end is not None:
                raise self._end
            self._writer.write(frame)
            await self._drain()
            return await answer
        finally:
            # Cancelled or timed out: a late answer finds nobody and is dropped.
            self._waiting.pop(request_id, None)
            if not answer.cancel() and not answer.cancelled():
                answer.exception()  # seen, so that asyncio does not report it as lost

    async def _drain(self) -> None:
        try:
            await self._writer.drain()
        except OSError:
            return  # the listener sees the end too, after it has read what the daemon said before it

    async def _listen(self) -> None:
        end: Exception = _LostError()
        try:
            while line := await self._reader.readline():
                self._hand_over(line)
        except (BadAnswerError, CallError) as error:
            end = error
        except ValueError:
            end = BadAnswerError(f"An answer of the daemon is longer than {MAX_FRAME_BYTES} bytes.")
        except OSError:
            end = self._last_words() or end
        finally:
            self._fail_all(end)
            self._ear.close()
            self._writer.close()

    def _last_words(self) -> FlowClientError | None:
        try:
            for line in self._ear.recv(_LAST_WORDS_BYTES).splitlines():
                self._hand_over(line)
        except (BadAnswerError, CallError) as error:
            return error
        except OSError:
            pass
        return None

    def _hand_over(self, line: bytes) -> None:
        message = decode(line) if line.strip() else {"method": ""}
        if "method" in message:
            return
        request_id = message.get("id")
        if request_id is None and "error" in message:
            # Not about one call: the daemon refuses the connection as a whole, or could not read a frame.
            read_result(message)
        waiting = self._waiting.get(request_id) if isinstance(request_id, int) else None
        if waiting is None or waiting.done():
            return
        try:
            waiting.set_result(read_result(message))
        except FlowClientError as error:
            waiting.set_exception(error)

    def _fail_all(self, end: Exception) -> None:
        self._end = self._end or end
        for waiting in self._waiting.values():
            if not waiting.done():
                waiting.set_exception(self._end)

    async def close(self) -> None:
        self._fail_all(_ClosedError())
        if self._listener is not None:
            self._listener.cancel()
            await asyncio.gather(self._listener, return_exceptions=True)
        self._ear.close()
        self._writer.close()
        try:
            await self._writer.wait_closed()
        except OSError:
            pass


class AsyncUnixTransport:
    """Calls over a Unix socket. Implements `flowd_client.transport.AsyncTransport`."""

    def __init__(self, path: Path | Callable[[], Path]) -> None:
        """Connect to nothing yet; the first call does. A function is asked for the path at each connection."""
        self._locate = locator(path)
        self._connection: _Connection | None = None
        self._connecting = asyncio.Lock()

    async def call(self, method: str, params: Mapping[str, Any], *, timeout_s: float | None) -> Any:
        """As `flowd_client.transport.AsyncTransport.call`."""
        try:
            async with asyncio.timeout(timeout_s):
                return await self._call(method, params)
        except TimeoutError as error:
            raise TimedOutError(method, timeout_s or 0) from error

    async def _call(self, method: str, params: Mapping[str, Any]) -> Any:
        try:
            return await (await self._connected()).call(method, params)
        except _ClosedError as error:
            raise ConnectionLostError(method) from error
        except _LostError as error:
            if method not in RETRY_SAFE:
                raise ConnectionLostError(method) from error
        try:
            return await (await self._connected()).call(method, params)
        except (_ClosedError, _LostError) as error:
            raise ConnectionLostError(method) from error
        except DaemonNotRunningError as error:
            raise ConnectionLostError(method, error) from error

    async def stream(self, method: str, params: Mapping[str, Any], *, timeout_s: float | None) -> AsyncUnixStream:
        """A connection of its own on which the daemon pushes updates. Raises the `FlowClientError` tree."""
        return await AsyncUnixStream.open(self._locate(), method, params, timeout_s=timeout_s)

    async def _connected(self) -> _Connection:
        async with self._connecting:
            if self._connection is None or not self._connection.is_open:
                if self._connection is not None:
                    await self._connection.close()
                    self._connection = None
                self._connection = await _Connection.open(self._locate())
            return self._connection

    async def close(self) -> None:
        """Let go of the connection; calls under way fail with `ConnectionLostError`."""
        connection, self._connection = self._connection, None
        if connection is not None:
            await connection.close()
