"""Answers whoever waits at systemd's sockets when this start comes to nothing: why, and at once.

Who is not answered goes on waiting, and has systemd start the service again and again until it gives the socket up.
"""

import asyncio
import logging
import socket
from collections.abc import Iterator
from contextlib import suppress

from flowd.api import json
from flowd.api.dispatcher import Refuser
from flowd.api.unix_socket import UnixServer
from flowd.domain.errors import StateError
from flowd.keeper.peer import peer_uid
from flowd.observe import listenfds
from flowd_client import wire

log = logging.getLogger("flowd.daemon")

_BOUND_S = 3.0
"""For callers who are slow to ask. They are less important than the end of a start that failed."""
_MAX_FRAME_BYTES = 64 << 20
"""A large request is read to its end: its caller writes before it reads."""
_HTTP_READ_S = 1.0


def turn_away(why: StateError) -> None:
    """Answer all who wait at the sockets that systemd passed. Without such sockets, nothing happens.

    Args:
        why: Each request is answered with it, by HTTP as 503.
    """
    control = listenfds.control_socket()
    others = [listener for listener in listenfds.stream_sockets() if control is None or not _is_same(listener, control)]
    if control is None and not others:
        return
    try:
        asyncio.run(_turn_away(control, others, why))
    except OSError as error:
        log.warning("callers were not answered", extra={"error": str(error)})


def _is_same(one: socket.socket, other: socket.socket) -> bool:
    return one.family == other.family and one.getsockname() == other.getsockname()


async def _turn_away(control: socket.socket | None, others: list[socket.socket], why: StateError) -> None:
    """Only who waits already is answered: who comes later may find that the cause has gone."""
    loop = asyncio.get_running_loop()
    deadline_s = loop.time() + _BOUND_S
    pages = _Pages(why)
    visits = [asyncio.create_task(pages.answer(visitor)) for listener in others for visitor in _visitors(listener)]
    if control is not None:
        server = UnixServer(control, Refuser(why), max_frame_bytes=_MAX_FRAME_BYTES, peer_uid=peer_uid)
        for visitor in _visitors(control):
            await server.take(visitor)
        while server.is_busy and loop.time() < deadline_s:  # noqa: ASYNC110 - it ends when callers hang up
            await asyncio.sleep(0.02)
        await server.close()
    if visits:
        await asyncio.wait(visits, timeout=max(0.0, deadline_s - loop.time()))


def _visitors(listener: socket.socket) -> Iterator[socket.socket]:
    while True:
        try:
            yield listener.accept()[0]
        except OSError:  # nobody waits any more
            return


class _Pages:
    """Answers HTTP requests."""

    def __init__(self, why: StateError) -> None:
        body = json.encode({"error": why.message, "slug": why.slug})
        status = wire.FAILURES[why.slug].http_status
        self._page = (
            b"HTTP/1.1 %d Service Unavailable\r\nContent-Type: application/json\r\nContent-Length: %d\r\n"
            b"Cache-Control: no-store\r\nConnection: close\r\n\r\n%b" % (status, len(body), body)
        )

    async def answer(self, visitor: socket.socket) -> None:
        """Answer, and read what still comes: an end that leaves it unread may take the answer with it."""
        visitor.setblocking(False)  # noqa: FBT003
        reader, writer = await asyncio.open_connection(sock=visitor)
        with suppress(TimeoutError, OSError, asyncio.IncompleteReadError, asyncio.LimitOverrunError):
            async with asyncio.timeout(_HTTP_READ_S):
                await reader.readuntil(b"\r\n\r\n")
                writer.write(self._page)
                writer.write_eof()
                while await reader.read(1 << 16):
                    pass
        writer.close()
