"""The control socket: JSON-RPC for the daemon's own user, and nobody else."""

import asyncio
import logging
import os
import select
import socket
import stat
import struct
from collections.abc import Callable
from pathlib import Path

from flowd.api import dispatcher
from flowd.api.dispatcher import Dispatcher
from flowd.api.framing import Framer, FramingError, Oversize
from flowd.api.subscriptions import Caller, Subscriptions
from flowd.domain.errors import StateError

log = logging.getLogger("flowd.api")

MAX_CONNECTIONS = 512
MAX_REQUESTS_UNDER_WAY = 256
"""Of one connection; it is read no further until some are answered."""

_READ_BYTES = 256 * 1024
_GONE_CHECK_S = 1.0
_LAST_ANSWERS_S = 0.3
"""At the end: for refusals and quick answers. A caller that waits for a run finds it with the next daemon."""
_BACKLOG = 1024
"""A connect to a Unix socket whose backlog is full fails at once (EAGAIN), and few clients try again."""


def bind(path: Path) -> socket.socket:
    """A listening socket that only its owner can open (mode 0600, from its first moment on).

    The caller holds the daemon's lock, so what lies at the path is stale, unless somebody answers there.

    Raises:
        StateError: The path is taken by something else.
    """
    _clear(path)
    listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    mask = os.umask(0o177)
    try:
        listener.bind(str(path))
        listener.listen(_BACKLOG)
    except OSError as error:
        listener.close()
        raise StateError(f"Cannot listen on {path}: {error.strerror}. Set FLOWD_SOCKET to another path.") from error
    finally:
        os.umask(mask)
    listener.setblocking(False)  # noqa: FBT003
    return listener


def _clear(path: Path) -> None:
    try:
        mode = os.lstat(path).st_mode
    except FileNotFoundError:
        return
    if not stat.S_ISSOCK(mode):
        raise StateError(f"{path} is in the way: it is not a socket. Move it, or set FLOWD_SOCKET to another path.")
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as probe:
        try:
            probe.connect(str(path))
        except OSError:
            path.unlink(missing_ok=True)
            return
    raise StateError(f"Another program answers on {path}. Stop it, or set FLOWD_SOCKET to another path.")


class UnixServer:
    """Serves a `Dispatcher` on a listening Unix socket."""

    def __init__(
        self,
        listener: socket.socket,
        answers: Dispatcher,
        *,
        max_frame_bytes: int,
        peer_uid: Callable[[socket.socket], int | None],
        subscriptions: Subscriptions | None = None,
    ) -> None:
        """Serve.

        Args:
            peer_uid: Tells the other end's user, None where the platform cannot.
            subscriptions: Without them, whoever asks for one is refused.
        """
        self._listener = listener
        self._answers = answers
        self._subscriptions = subscriptions
        self._max_frame_bytes = max_frame_bytes
        self._peer_uid = peer_uid
        self._server: asyncio.Server | None = None
        self._connections: set[asyncio.Task[None]] = set()
        self._replies: set[asyncio.Task[None]] = set()

    async def open(self) -> None:
        """Begin to accept connections."""
        self._server = await asyncio.start_unix_server(
            self._serve, sock=self._listener, limit=_READ_BYTES, backlog=_BACKLOG
        )

    async def close(self) -> None:
        """Accept no more, answer what can be answered at once, and end the connections. Those that wait are dropped."""
        if self._server is not None:
            self._server.close()
        if self._replies:
            await asyncio.wait(self._replies, timeout=_LAST_ANSWERS_S)
        for connection in tuple(self._connections):
            connection.cancel()
        await asyncio.gather(*self._connections, return_exceptions=True)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._connections.add(task)
        try:
            if self._is_welcome(writer):
                await self._converse(reader, writer)
        except asyncio.CancelledError:
            pass  # The daemon ends; a cancelled callback task would be reported as an error.
        except (ConnectionError, FramingError) as error:
            log.debug("connection ended", extra={"error": str(error)})
        finally:
            self._connections.discard(task)
            writer.close()

    def _is_welcome(self, writer: asyncio.StreamWriter) -> bool:
        uid = self._peer_uid(writer.get_extra_info("socket"))
        if uid is not None and uid not in (os.geteuid(), 0):
            log.warning("connection refused", extra={"peer_uid": uid})
            writer.write(dispatcher.refusal("not_authorized", "This socket is its owner's only.") + b"\n")
            return False
        if len(self._connections) > MAX_CONNECTIONS:
            message = f"{MAX_CONNECTIONS} clients are connected already. Close some, or try again later."
            writer.write(dispatcher.refusal("too_many_connections", message) + b"\n")
            return False
        return True

    async def _converse(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        framer = Framer(max_frame_bytes=self._max_frame_bytes)
        places = asyncio.Semaphore(MAX_REQUESTS_UNDER_WAY)
        tasks: set[asyncio.Task[None]] = set()

        async def push(message: bytes) -> None:
            writer.write(framer.frame(message))
            await writer.drain()

        subscriber = None if self._subscriptions is None else self._subscriptions.subscriber(push)

        async def take(messages: list[bytes | Oversize]) -> None:
            for message in messages:
                if isinstance(message, Oversize):
                    writer.write(framer.frame(dispatcher.oversize(message.bytes, self._max_frame_bytes)))
                    continue
                # Who does not read its answers is not asked for more questions: both bounds are of memory.
                await writer.drain()
                await places.acquire()
                caller = None if subscriber is None else subscriber.caller()
                reply = self._reply(message, framer, writer, caller)
                task = asyncio.get_running_loop().create_task(reply)
                for group in (tasks, self._replies):
                    group.add(task)
                    task.add_done_callback(group.discard)
                task.add_done_callback(lambda _: places.release())

        try:
            while data := await reader.read(_READ_BYTES):
                await take(framer.feed(data))
            await take(framer.finish())
            # The other end may have shut down its writing side only, and still wait for its answers.
            while (under_way := tasks | (subscriber.tasks if subscriber else set())) and not _is_gone(
                writer.get_extra_info("socket")
            ):
                await asyncio.wait(under_way, timeout=_GONE_CHECK_S)
        except FramingError as error:
            writer.write(framer.frame(dispatcher.refusal("parse_error", f"{error} The connection ends.")))
            raise
        finally:
            for task in tuple(tasks):
                task.cancel()
            if subscriber is not None:
                await subscriber.close()

    async def _reply(self, message: bytes, framer: Framer, writer: asyncio.StreamWriter, caller: Caller | None) -> None:
        response = await self._answers.answer(message, caller)
        if response is not None and not writer.is_closing():
            writer.write(framer.frame(response))
        if caller is not None:
            caller.answered()
        try:
            await writer.drain()
        except ConnectionError:
            pass


def _is_gone(connection: socket.socket) -> bool:
    """Whether the other end has closed both directions: then nobody reads an answer any more."""
    poll = select.poll()
    poll.register(connection.fileno(), 0)
    return any(events & (select.POLLHUP | select.POLLERR) for _, events in poll.poll(0))


def unknown_uid(_: socket.socket) -> None:
    """As on a platform that does not tell: the socket's mode and folder alone keep others out."""


def peer_uid(connection: socket.socket) -> int | None:
    """The user at the other end of a Unix socket, None where the platform does not tell."""
    try:
        if hasattr(socket, "SO_PEERCRED"):
            _, uid, _ = struct.unpack("3i", connection.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, 12))
            return int(uid)
        # macOS: getsockopt(SOL_LOCAL, LOCAL_PEERCRED) gives a `struct xucred` of a version and the uid, to begin with.
        version, uid = struct.unpack_from("2I", connection.getsockopt(0, 1, 76))
        return int(uid) if version == 0 else None
    except (OSError, struct.error):
        return None
