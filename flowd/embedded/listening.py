"""Serves a local client's engine on the folder's socket, for other clients and for the command line."""

import contextlib
import warnings
from collections.abc import AsyncIterator
from pathlib import Path

from flowd.embedded.methods import LocalMethods
from flowd.keeper.peer import peer_uid
from flowd.state.sockets import bind


@contextlib.asynccontextmanager
async def listening(path: Path, local: LocalMethods, *, max_frame_bytes: int) -> AsyncIterator[None]:
    """Serve the methods on a Unix socket for the length of a block. The caller holds the folder's lock.

    Raises:
        StateError: The socket cannot be bound.
    """
    with warnings.catch_warnings():
        # jsonrpcserver reads its schema in a way that newer Pythons call deprecated; a caller may make that an error.
        warnings.simplefilter("ignore", DeprecationWarning)
        from flowd.api import unix_socket  # noqa: PLC0415
        from flowd.api.dispatcher import Dispatcher  # noqa: PLC0415
    server = unix_socket.UnixServer(
        bind(path),
        Dispatcher(local.methods),
        max_frame_bytes=max_frame_bytes,
        peer_uid=peer_uid,
        subscriptions=local.subscriptions,
    )
    await server.open()
    try:
        yield
    finally:
        await server.close()
        path.unlink(missing_ok=True)  # noqa: ASYNC240 - one system call
