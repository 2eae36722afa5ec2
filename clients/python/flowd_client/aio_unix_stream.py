"""A connection of its own for a subscription, in asyncio."""

import asyncio
import socket
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from flowd_client import wire
from flowd_client.errors import BadAnswerError, ConnectionLostError, TimedOutError
from flowd_client.transport import MAX_FRAME_BYTES, answers, decode, encode, read_result
from flowd_client.unix_connect import BACKLOG_PAUSE_S, connect_once

_READ_BYTES = 256 * 1024
_REQUEST_ID = 1


class AsyncUnixStream:
    """Implements `flowd_client.aio_updates.AsyncUpdateStream`.

    Reads no further than what is asked for, so that a slow reader holds the daemon back, not its own memory.
    """

    def __init__(self, sock: socket.socket) -> None:
        self.answer: Any = None
        self._sock = sock
        self._buffer = bytearray()

    @classmethod
    async def open(
        cls, path: Path, method: str, params: Mapping[str, Any], *, timeout_s: float | None
    ) -> "AsyncUnixStream":
        """Connect, ask, and give the stream once the answer is there. Raises the `FlowClientError` tree."""
        stream: AsyncUnixStream | None = None
        try:
            async with asyncio.timeout(timeout_s):
                while (sock := connect_once(path)) is None:  # noqa: ASYNC110 - the kernel tells nobody of room
                    await asyncio.sleep(BACKLOG_PAUSE_S)
                stream = cls(sock)
                await stream._ask(method, params)
                return stream
        except BaseException as error:
            if stream is not None:
                stream.close()
            if isinstance(error, TimeoutError):
                raise TimedOutError(method, timeout_s or 0) from error
            raise

    async def next(self) -> Mapping[str, Any]:
        """See `flowd_client.aio_updates.AsyncUpdateStream.next`. Cancelling it loses nothing."""
        while True:
            message = await self._read()
            if message.get("method") == wire.UPDATE and isinstance(message.get("params"), dict):
                update: Mapping[str, Any] = message["params"]
                return update

    def close(self) -> None:
        """See `flowd_client.aio_updates.AsyncUpdateStream.close`."""
        self._sock.close()

    async def _ask(self, method: str, params: Mapping[str, Any]) -> None:
        try:
            await asyncio.get_running_loop().sock_sendall(self._sock, encode(_REQUEST_ID, method, params))
        except OSError:
            pass  # what the daemon said before it hung up can still be read
        while True:
            message = await self._read()
            if answers(message, _REQUEST_ID):
                self.answer = read_result(message)
                return

    async def _read(self) -> dict[str, Any]:
        searched = 0
        while (end := self._buffer.find(b"\n", searched)) < 0:
            searched = len(self._buffer)
            if searched > MAX_FRAME_BYTES:
                raise BadAnswerError(f"An update of the daemon is longer than {MAX_FRAME_BYTES} bytes.")
            try:
                chunk = await asyncio.get_running_loop().sock_recv(self._sock, _READ_BYTES)
            except OSError as error:
                raise ConnectionLostError(wire.SUBSCRIBE) from error
            if not chunk:
                raise ConnectionLostError(wire.SUBSCRIBE)
            self._buffer += chunk
        line = bytes(self._buffer[: end + 1])
        del self._buffer[: end + 1]
        return decode(line) if line.strip() else {}
