"""Closes a listening server without dropping callers who have just connected."""

import asyncio

_SETTLE_S = 0.02
"""By then a caller on this machine has sent its request."""


async def stop_accepting(server: asyncio.Server) -> None:
    """Take no more callers, let those taken until now become connections, then close the server.

    `asyncio.Server.close` alone drops who is between the two (Python 3.11). Who comes later waits for the
    next daemon where systemd holds the socket.
    """
    loop = asyncio.get_running_loop()
    for listener in server.sockets:
        loop.remove_reader(listener.fileno())
    await asyncio.sleep(_SETTLE_S)
    server.close()
