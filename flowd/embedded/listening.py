"""Serves a local client's engine on the folder's socket, for other clients and for the command line."""

import asyncio
import contextlib
import socket
import warnings
from collections.abc import AsyncIterator
from pathlib import Path
from typing import TYPE_CHECKING

from flowd.embedded.methods import LocalMethods
from flowd.keeper.peer import peer_uid
from flowd.state.sockets import bind

if TYPE_CHECKING:
    from flowd.api.unix_socket import UnixServer


@contextlib.asynccontextmanager
async def listening(path: Path, local: LocalMethods, *, max_frame_bytes: int) -> AsyncIterator[None]:
    """Serve the methods on a Unix socket for the length of a block. The caller holds the folder's lock.

    Raises:
        StateError: The socket cannot be bound.
    """
    server = _server(bind(path), local, max_frame_bytes)
    await server.open()
    try:
        yield
    finally:
        await server.close()
        path.unlink(missing_ok=True)  # noqa: ASYNC240 - one system call


@contextlib.asynccontextmanager
async def listening_when_called(path: Path, local: LocalMethods, *, max_frame_bytes: int) -> AsyncIterator[None]:
    """The same, but what it takes to answer is imported when somebody calls for the first time: most steps never do,
    and it takes as long as starting one. A caller meanwhile waits in the socket's queue.

    Raises:
        StateError: The socket cannot be bound.
    """
    loop = asyncio.get_running_loop()
    listener = bind(path)
    is_called = asyncio.Event()
    loop.add_reader(listener, is_called.set)

    async def serve() -> None:
        try:
            await is_called.wait()
        finally:
            loop.remove_reader(listener)
        server = _server(listener, local, max_frame_bytes)
        await server.open()
        try:
            await asyncio.Event().wait()
        finally:
            await server.close()

    serving = asyncio.create_task(serve(), name="flowd-local-socket")
    try:
        yield
    finally:
        serving.cancel()
        await asyncio.gather(serving, return_exceptions=True)
        listener.close()
        path.unlink(missing_ok=True)  # noqa: ASYNC240 - one system call


def _server(listener: socket.socket, local: LocalMethods, max_frame_bytes: int) -> "UnixServer":
    with warnings.catch_warnings():
        # jsonrpcserver reads its schema in a way that newer Pythons call deprecated; a caller may make that an error.
        warnings.simplefilter("ignore", DeprecationWarning)
        from flowd.api import unix_socket  # noqa: PLC0415
        from flowd.api.dispatcher import Dispatcher  # noqa: PLC0415
    return unix_socket.UnixServer(
        listener,
        Dispatcher(local.methods),
        max_frame_bytes=max_frame_bytes,
        peer_uid=peer_uid,
        subscriptions=local.subscriptions,
    )
