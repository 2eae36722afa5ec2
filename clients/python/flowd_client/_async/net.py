"""Waiting, for the asyncio client. The only place that knows asyncio, with `channels`; both are written by hand."""

import asyncio
import socket
from collections.abc import Callable
from concurrent.futures import Future
from types import TracebackType
from typing import Any, Self, TypeVar

from flowd_client import fork
from flowd_client._core.deadline import Deadline
from flowd_client.errors import UnavailableModeError

T = TypeVar("T")


class Limit(Deadline):
    """How long what is inside ``async with`` may take; then it is cancelled, and `TimedOutError` raised.

    Raises:
        UnavailableModeError: No event loop of asyncio runs here.
    """

    async def __aenter__(self) -> Self:
        if place()[1] is None:
            raise UnavailableModeError(
                "The asyncio client needs a running event loop of asyncio. Elsewhere, under trio say, call the blocking"
                " client in a thread: trio.to_thread.run_sync(client.status)."
            )
        self._timeout = asyncio.timeout(self.timeout_s)
        await self._timeout.__aenter__()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        try:
            await self._timeout.__aexit__(kind, error, trace)
        except TimeoutError as late:
            raise self.error() from late


def place() -> tuple[int, asyncio.AbstractEventLoop | None]:
    """What a connection belongs to: this process, and the event loop that runs."""
    try:
        return fork.generation(), asyncio.get_running_loop()
    except RuntimeError:
        return fork.generation(), None


def is_over(place: tuple[int, asyncio.AbstractEventLoop | None]) -> bool:
    """Whether nothing can wait there any more."""
    return place[1] is None or place[1].is_closed()


async def sleep(seconds: float, _limit: Deadline | None = None) -> None:
    """Wait."""
    await asyncio.sleep(seconds)


async def ready(sock: socket.socket, _limit: Deadline, *, to_write: bool) -> None:
    """Return when a socket can be read or written, or has ended. It must stay open until then."""
    loop = asyncio.get_running_loop()
    can_go_on = loop.create_future()
    add, remove = (loop.add_writer, loop.remove_writer) if to_write else (loop.add_reader, loop.remove_reader)
    add(sock, _set, can_go_on)
    try:
        await can_go_on
    finally:
        remove(sock)


def _set(can_go_on: "asyncio.Future[None]") -> None:
    if not can_go_on.done():
        can_go_on.set_result(None)


async def addresses(host: str, port: int) -> list[tuple[Any, ...]]:
    """Where a server may be reached. Raises `OSError` when its name is unknown."""
    found: list[tuple[Any, ...]] = await asyncio.get_running_loop().getaddrinfo(host, port, type=socket.SOCK_STREAM)
    return found


async def in_thread(call: Callable[[], None]) -> None:
    """Make a call that blocks."""
    if place()[1] is None:
        call()
    else:
        await asyncio.to_thread(call)


async def result_of(future: Future[T], _limit: Deadline) -> T:
    """What a future of another thread comes to; one that is waited for no more is cancelled."""
    return await asyncio.wrap_future(future)


async def outcome_of(future: Future[T]) -> T | None:
    """The same, but being cancelled leaves the future alone; None when the future itself was cancelled."""
    try:
        return await asyncio.shield(asyncio.wrap_future(future))
    except asyncio.CancelledError:
        if future.cancelled():
            return None
        raise
