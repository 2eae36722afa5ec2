"""The ASGI interface, as far as it is used here (https://asgi.readthedocs.io/en/latest/specs/www.html)."""

import asyncio
from collections.abc import Awaitable, Callable, MutableMapping
from typing import Any, TypeVar

T = TypeVar("T")

Connection = MutableMapping[str, Any]
"""What is known of a request before its body is read: ASGI's ``scope``."""

Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]


class ClientGoneError(Exception):
    """The caller hung up; nobody reads a response any more."""


async def unless_gone(work: Awaitable[T], receive: Receive) -> T:
    """The work's value; the work is cancelled when the caller hangs up first. The body has been read by then.

    Raises:
        ClientGoneError: The caller hung up.
    """
    worker = asyncio.ensure_future(work)
    gone = asyncio.ensure_future(_hang_up(receive))
    try:
        await asyncio.wait((worker, gone), return_when=asyncio.FIRST_COMPLETED)
        if worker.done():
            return worker.result()
        raise ClientGoneError
    finally:
        worker.cancel()
        gone.cancel()
        await asyncio.gather(worker, gone, return_exceptions=True)


async def _hang_up(receive: Receive) -> None:
    while (await receive())["type"] != "http.disconnect":
        pass
