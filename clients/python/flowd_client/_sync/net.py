"""Input and output for the blocking client: streams over sockets, JSON-RPC calls on them, waiting. Written by hand."""

from __future__ import annotations

import math
import select
import socket
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Any, Self, TypeVar

from flowd_client._core.connect import BACKLOG_PAUSE_S, connect_once
from flowd_client._core.deadline import Deadline
from flowd_client._core.jsonrpc import (
    Conversation,
    LostError,
    NotSentError,
    answers,
    read_result,
    refuses_connection,
)
from flowd_client._core.pool import Pool
from flowd_client.errors import CallError, TimedOutError

if TYPE_CHECKING:
    import ssl
    from concurrent.futures import Future

T = TypeVar("T")

_READ_BYTES = 64 * 1024
_MAX_POLL_MS = 2**31 - 1
"""A C int."""

_LAST_WORDS_S = 1.0
"""How long a connection that takes no more is listened to for the reason."""


class Limit(Deadline):
    """How long what is inside ``with`` may take. Whatever waits is given it, and raises `TimedOutError` in time."""

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        pass


def sleep(seconds: float, limit: Deadline | None = None) -> None:
    """Wait. Raises `TimedOutError` when the limit is passed by then."""
    left_s = limit.left_s() if limit is not None else None
    time.sleep(seconds if left_s is None else min(seconds, left_s))


class Stream:
    """A connected socket. Its system calls never block: what has to wait is waited for with poll, up to the limit.

    Attributes:
        limit: Of the call that it is used for now.
    """

    def __init__(self, sock: socket.socket, limit: Deadline, again: tuple[type[OSError], ...] = ()) -> None:
        """``again`` is what the socket raises besides `BlockingIOError` when it has to wait."""
        self.limit = limit
        self._sock = sock
        self._again: tuple[type[OSError], ...] = (BlockingIOError, *again)
        self._input = select.poll()
        self._input.register(sock, select.POLLIN)
        sock.settimeout(0)

    @classmethod
    def to_socket(cls, path: Path, limit: Deadline, server_uid: int | None = None) -> Stream:
        """Connect to a Unix socket. Raises `DaemonNotRunningError` and `UntrustedDaemonError`."""
        while (sock := connect_once(path, server_uid)) is None:
            sleep(BACKLOG_PAUSE_S, limit)
        return cls(sock, limit)

    @classmethod
    def to_server(cls, host: str, port: int, tls: ssl.SSLContext | None, limit: Deadline) -> Stream:
        """Connect by TCP, with TLS if there is a context for it. Raises `OSError`."""
        sock = None
        try:
            sock = socket.create_connection((host, port), timeout=limit.left_s())
            sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            if tls is None:
                return cls(sock, limit)
            from ssl import SSLWantReadError, SSLWantWriteError  # noqa: PLC0415 - loaded by whoever made the context

            sock.settimeout(limit.left_s())
            sock = tls.wrap_socket(sock, server_hostname=host)
            return cls(sock, limit, (SSLWantReadError, SSLWantWriteError))
        except BaseException as error:
            if sock is not None:
                sock.close()
            if isinstance(error, TimeoutError):
                raise limit.error() from error
            raise

    def send(self, data: bytes) -> None:
        """Hand over all of it. Raises `OSError` when the connection has ended."""
        rest = memoryview(data)
        while True:
            try:
                rest = rest[self._sock.send(rest) :]
            except self._again:
                pass
            if not rest:
                return
            output = select.poll()
            output.register(self._sock, select.POLLOUT)
            self._wait(output)

    def receive(self) -> bytes:
        """What came next, at least a byte; empty at the end. Raises `OSError` when the connection broke."""
        while True:
            if not self._has_pending():
                self._wait(self._input)
            try:
                return self._sock.recv(_READ_BYTES)
            except self._again:
                pass  # what came was no whole record of TLS

    def is_quiet(self) -> bool:
        """Whether the other side has neither said anything nor hung up."""
        return not (self._has_pending() or self._input.poll(0))

    def _has_pending(self) -> bool:
        pending: Callable[[], int] = getattr(self._sock, "pending", int)  # what TLS has read already
        return pending() > 0

    def _wait(self, events: select.poll) -> None:
        while True:
            left_s = self.limit.left_s()
            if self._sock.fileno() < 0:
                raise ConnectionAbortedError("closed by another thread")
            if events.poll(None if left_s is None else min(math.ceil(left_s * 1000), _MAX_POLL_MS)):
                return

    def close(self) -> None:
        """Let go of the connection; a forked process may go on with it. May be called twice."""
        self._sock.close()

    def hang_up(self) -> None:
        """End the connection, also under another thread that waits on it. May be called twice."""
        try:
            self._sock.shutdown(socket.SHUT_RDWR)
        except OSError:
            pass
        self._sock.close()

    def closed(self) -> None:
        """Return when `close` is done."""


class Channel:
    """A daemon's connection, used by one call at a time."""

    def __init__(self, stream: Stream) -> None:
        self._stream = stream
        self._conversation = Conversation()
        self.close = stream.close

    def is_quiet(self) -> bool:
        return not self._conversation.has_unread and self._stream.is_quiet()

    def call(self, method: str, params: Mapping[str, Any], limit: Deadline) -> Any:
        self._stream.limit = limit
        request_id, frame = self._conversation.request(method, params)
        try:
            self._stream.send(frame)
        except OSError as error:
            self._hear_last_words()
            raise NotSentError from error
        while not answers(message := self._message(), request_id):
            pass
        return read_result(message)

    def _message(self) -> dict[str, Any]:
        while (message := self._conversation.message()) is None:
            try:
                data = self._stream.receive()
            except OSError as error:
                raise LostError from error
            if not data:
                raise LostError
            self._conversation.feed(data)
        return message

    def _hear_last_words(self) -> None:
        """Raise what the daemon said before it closed (too many connections, say), if it said anything."""
        self._stream.limit = Deadline("", _LAST_WORDS_S)
        try:
            message = self._message()
        except (LostError, TimedOutError):
            return
        if refuses_connection(message):
            read_result(message)


class Channels:
    """Carries each call over a connection of its own, so that a wait never delays the cancel that would end it."""

    def __init__(self, locate: Callable[[], Path], server_uid: int | None) -> None:
        """``locate`` is asked for the path at each connection."""
        self._locate = locate
        self._server_uid = server_uid
        self._pool: Pool[Channel] = Pool()

    def call(self, method: str, params: Mapping[str, Any], limit: Deadline) -> Any:
        """Send a request once. Raises `LostError` and the `FlowClientError` tree."""
        epoch = self._pool.epoch
        channel = self._pool.take() or Channel(Stream.to_socket(self._locate(), limit, self._server_uid))
        try:
            result = channel.call(method, params, limit)
        except CallError:
            self._pool.put_back(channel, epoch)
            raise
        except BaseException:
            # A late response must not be taken for the next call's, so this connection is of no more use.
            channel.close()
            raise
        self._pool.put_back(channel, epoch)
        return result

    def close(self) -> None:
        """Close every idle connection now, and those in use when their calls have been answered."""
        self._pool.clear()


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
