"""The link of a host to the database: a proxy that can stand still, or fall."""

from __future__ import annotations

import asyncio
import contextlib
import threading
from pathlib import Path


class Link:
    """Forwards connections from a port of this machine to the server's socket, in a thread of its own.

    Attributes:
        port: Where the host finds the database.
    """

    def __init__(self, server: Path) -> None:
        """Open it."""
        self._server_path = str(server)
        self._loop = asyncio.new_event_loop()
        self._open = asyncio.Event()
        self._ends: set[asyncio.StreamWriter] = set()
        self._thread = threading.Thread(target=self._loop.run_forever, daemon=True)
        self._thread.start()
        self.port = 0
        self._listener: asyncio.Server | None = None
        self.restore()

    def pause(self) -> None:
        """Let nothing through. Connections stay, new ones are taken, and what was sent arrives after `restore`."""
        self._do(self._pause())

    def cut(self) -> None:
        """End all connections, and refuse new ones."""
        self._do(self._cut())

    def restore(self) -> None:
        """Let everything through."""
        self._do(self._restore())

    def close(self) -> None:
        """End it."""
        self._do(self._end())
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()

    def _do(self, work: object) -> None:
        asyncio.run_coroutine_threadsafe(work, self._loop).result(10)  # type: ignore[arg-type]

    async def _pause(self) -> None:
        self._open.clear()

    async def _cut(self) -> None:
        if self._listener is not None:
            self._listener.close()
            self._listener = None
        for end in tuple(self._ends):
            end.transport.abort()
        self._ends.clear()
        self._open.set()

    async def _end(self) -> None:
        await self._cut()
        left = asyncio.all_tasks() - {asyncio.current_task()}
        for task in left:
            task.cancel()
        await asyncio.gather(*left, return_exceptions=True)
        await asyncio.sleep(0)  # and the transports are told that they have ended

    async def _restore(self) -> None:
        if self._listener is None:
            self._listener = await asyncio.start_server(self._serve, "127.0.0.1", self.port)
            self.port = self._listener.sockets[0].getsockname()[1]
        self._open.set()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await self._open.wait()
        try:
            server_reader, server_writer = await asyncio.open_unix_connection(self._server_path)
        except OSError:
            writer.transport.abort()
            return
        both = {writer, server_writer}
        self._ends |= both
        try:
            await asyncio.gather(self._pump(reader, server_writer), self._pump(server_reader, writer))
        finally:
            self._ends -= both

    async def _pump(self, source: asyncio.StreamReader, target: asyncio.StreamWriter) -> None:
        with contextlib.suppress(OSError):
            while data := await source.read(65536):
                await self._open.wait()
                target.write(data)
                await target.drain()
        await self._open.wait()
        target.close()
