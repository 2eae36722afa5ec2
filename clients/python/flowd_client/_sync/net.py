"""Waiting, for the blocking client: what `flowd_client._async.net` has, with sockets that block. Written by hand."""

from __future__ import annotations

import math
import select
import socket
import time
from typing import TYPE_CHECKING, Any, Self, TypeVar

from flowd_client._core.deadline import Deadline
from flowd_client.fork import generation as place

if TYPE_CHECKING:
    from concurrent.futures import Future

__all__ = ["Limit", "addresses", "is_over", "outcome_of", "place", "ready", "result_of", "sleep"]

T = TypeVar("T")

_MAX_POLL_MS = 2**31 - 1
"""A C int."""


class Limit(Deadline):
    """How long what is inside ``with`` may take. Whatever waits is given it, and raises `TimedOutError` in time."""

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        pass


def is_over(_place: int) -> bool:
    """Whether nothing can wait there any more."""
    return False


def sleep(seconds: float, limit: Deadline | None = None) -> None:
    """Wait. Raises `TimedOutError` when the limit is passed by then."""
    left_s = limit.left_s() if limit is not None else None
    time.sleep(seconds if left_s is None else min(seconds, left_s))


def ready(sock: socket.socket, limit: Deadline, *, to_write: bool) -> None:
    """Return when a socket can be read or written, or has ended. Raises `OSError` when it was closed."""
    if sock.fileno() < 0:
        raise ConnectionAbortedError("closed by another thread")
    events = select.poll()
    events.register(sock, select.POLLOUT if to_write else select.POLLIN)
    left_s = limit.left_s()
    events.poll(None if left_s is None else min(math.ceil(left_s * 1000), _MAX_POLL_MS))


def addresses(host: str, port: int) -> list[tuple[Any, ...]]:
    """Where a server may be reached. Raises `OSError` when its name is unknown."""
    return list(socket.getaddrinfo(host, port, type=socket.SOCK_STREAM))


def result_of(future: Future[T], limit: Deadline) -> T:
    """What a future of another thread comes to; one that is waited for no more is cancelled."""
    try:
        return future.result(limit.left_s())
    except TimeoutError as error:
        if future.done() and not future.cancelled():
            raise
        future.cancel()
        raise limit.error() from error
    except BaseException:
        future.cancel()
        raise


def outcome_of(future: Future[T]) -> T | None:
    """What a future of another thread comes to; None when that was cancelled."""
    from concurrent.futures import CancelledError  # noqa: PLC0415 - loaded by whoever made the future

    try:
        return future.result()
    except CancelledError:
        return None
