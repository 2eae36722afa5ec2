"""The control socket: JSON-RPC for the daemon's own user, and nobody else."""

import asyncio
import logging
import os
import socket
from collections.abc import Callable

from flowd.api.accepting import Acceptor, affordable
from flowd.api.connection import Connection
from flowd.api.dispatcher import Dispatcher, refusal
from flowd.api.subscriptions import Subscriptions
from flowd.state.sockets import BACKLOG

log = logging.getLogger("flowd.api")

MAX_CONNECTIONS = 512
_SHARE = 1 / 3
"""Of the descriptors for connections; the others are HTTP's."""

_LAST_RESPONSES_S = 0.3
"""At the end: for refusals and what is quickly done. A caller that waits for a run finds it with the next daemon."""


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
        self._acceptor: Acceptor | None = None
        self._limit = MAX_CONNECTIONS
        self._connections: set[Connection] = set()

    async def open(self) -> None:
        """Begin to accept connections."""
        self._limit = min(MAX_CONNECTIONS, affordable(_SHARE))
        self._acceptor = Acceptor(self._listener, self._connection, backlog=BACKLOG)
        self._acceptor.open()

    async def take(self, connection: socket.socket) -> None:
        """Serve one connection that was accepted elsewhere."""
        connection.setblocking(False)  # noqa: FBT003
        await asyncio.get_running_loop().connect_accepted_socket(self._connection, connection)

    @property
    def connections(self) -> int:
        """How many clients are connected."""
        return len(self._connections)

    @property
    def is_busy(self) -> bool:
        """Whether anybody is connected."""
        return bool(self._connections)

    def listen_anew(self, bound: socket.socket) -> None:
        """See `Acceptor.listen_anew`."""
        if self._acceptor is not None:
            self._acceptor.listen_anew(bound)

    async def close(self) -> None:
        """Accept no more, let finish what is quickly done, and end the connections. Requests that wait are dropped."""
        if self._acceptor is not None:
            await self._acceptor.close()
            self._acceptor = None
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
        connection.peer_uid = uid = self._peer_uid(connection.transport.get_extra_info("socket"))
        if uid is not None and uid not in (os.geteuid(), 0):
            log.warning("connection refused", extra={"peer_uid": uid})
            return refusal("not_authorized", "This socket is only for the user whom the daemon runs as.")
        if len(self._connections) > self._limit:
            message = f"{self._limit} clients are connected already. Close some, or try again later."
            return refusal("too_many_connections", message)
        return None


def unknown_uid(_: socket.socket) -> None:
    """For platforms that do not tell the user: the modes of the socket and its folder alone keep others out."""
