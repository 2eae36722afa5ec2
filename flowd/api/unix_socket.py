"""The control socket: JSON-RPC for the daemon's own user, and nobody else."""

import asyncio
import logging
import os
import socket
import stat
import struct
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

from flowd.api.closing import stop_accepting
from flowd.api.connection import Connection
from flowd.api.dispatcher import Dispatcher, refusal
from flowd.api.subscriptions import Subscriptions
from flowd.domain.errors import StateError

log = logging.getLogger("flowd.api")

MAX_CONNECTIONS = 512
_LAST_RESPONSES_S = 0.3
"""At the end: for refusals and what is quickly done. A caller that waits for a run finds it with the next daemon."""
_BACKLOG = 1024
"""A connect to a Unix socket whose backlog is full fails at once (EAGAIN), and few clients try again."""


def bind(path: Path) -> socket.socket:
    """A listening socket that only its owner can open (mode 0600, from its first moment on).

    The caller holds the daemon's lock, so what lies at the path is stale, unless another program listens there.

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
    raise StateError(f"Another program listens on {path}. Stop it, or set FLOWD_SOCKET to another path.")


class UnixServer:
    """Serves a `Dispatcher` on a listening Unix socket."""

    def __init__(
        self,
        listener: socket.socket,
        dispatcher: Dispatcher,
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
        self._dispatcher = dispatcher
        self._subscriptions = subscriptions
        self._max_frame_bytes = max_frame_bytes
        self._peer_uid = peer_uid
        self._server: asyncio.Server | None = None
        self._connections: set[Connection] = set()

    async def open(self) -> None:
        """Begin to accept connections."""
        # From Python 3.13 on asyncio removes the socket's file at the end, a passed one's as well; that is its owner's.
        ours: dict[str, Any] = {"cleanup_socket": False} if sys.version_info >= (3, 13) else {}
        self._server = await asyncio.get_running_loop().create_unix_server(
            self._connection, sock=self._listener, backlog=_BACKLOG, **ours
        )

    async def close(self) -> None:
        """Accept no more, let finish what is quickly done, and end the connections. Requests that wait are dropped."""
        if self._server is not None:
            await stop_accepting(self._server)
            self._server = None
        replies = [task for connection in self._connections for task in connection.replies]
        if replies:
            await asyncio.wait(replies, timeout=_LAST_RESPONSES_S)
        await asyncio.gather(*(connection.close() for connection in tuple(self._connections)))

    def _connection(self) -> Connection:
        return Connection(
            self._dispatcher,
            self._subscriptions,
            max_frame_bytes=self._max_frame_bytes,
            refuse=self._refuse,
            on_end=self._connections.discard,
        )

    def _refuse(self, connection: Connection) -> bytes | None:
        self._connections.add(connection)
        uid = self._peer_uid(connection.transport.get_extra_info("socket"))
        if uid is not None and uid not in (os.geteuid(), 0):
            log.warning("connection refused", extra={"peer_uid": uid})
            return refusal("not_authorized", "This socket is only for the user whom the daemon runs as.")
        if len(self._connections) > MAX_CONNECTIONS:
            message = f"{MAX_CONNECTIONS} clients are connected already. Close some, or try again later."
            return refusal("too_many_connections", message)
        return None


def unknown_uid(_: socket.socket) -> None:
    """For platforms that do not tell the user: the modes of the socket and its folder alone keep others out."""


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
