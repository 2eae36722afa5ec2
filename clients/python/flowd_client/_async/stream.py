"""A connected socket, and how it comes about: by its path, or over TCP with TLS."""

from __future__ import annotations

import errno
import os
import socket
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

from flowd_client import fork
from flowd_client._async.net import addresses, is_over, place, ready, sleep
from flowd_client._core.connect import BACKLOG_PAUSE_S, connect_once, speaks
from flowd_client._core.deadline import Deadline

if TYPE_CHECKING:
    import ssl

T = TypeVar("T")

_READ_BYTES = 64 * 1024


class Stream:
    """A connected socket. Its system calls never block: what has to wait is waited for, up to the limit.

    It belongs to the process and the event loop that made it; anywhere else it is a connection that has ended.
    Cancelling a `receive` loses nothing.

    Attributes:
        limit: Of the call that it is used for now.
        is_closed: By this side.
        is_ours: A daemon of our own user's is at the other end, as far as its user of this stream has asked.
    """

    def __init__(self, sock: socket.socket, limit: Deadline) -> None:
        sock.settimeout(0)
        self.limit = limit
        self._sock = sock
        self._place = place()
        self._tls_waits: tuple[type[OSError], ...] = ()
        self._waiting = 0
        self.is_closed = False
        self.is_ours = False
        fork.tell(self)

    @classmethod
    async def to_socket(cls, path: Path, limit: Deadline, server_uid: int | None = None) -> Stream:
        """Connect to a Unix socket. Raises `DaemonNotRunningError` and `UntrustedDaemonError`."""
        while (sock := connect_once(path, server_uid)) is None:
            await sleep(BACKLOG_PAUSE_S, limit)
        return cls(sock, limit)

    @classmethod
    async def to_server(cls, host: str, port: int, tls: ssl.SSLContext | None, limit: Deadline) -> Stream:
        """Connect by TCP, with TLS if there is a context for it. Raises `OSError`."""
        failure = OSError("the name has no address")
        for family, kind, protocol, _, address in await addresses(host, port):
            stream = cls(socket.socket(family, kind, protocol), limit)
            try:
                await stream._connect(address)
                if tls is not None:
                    await stream._encrypt(tls, host)
                return stream
            except OSError as error:
                stream.close()
                failure = error
            except BaseException:
                stream.close()
                raise
        raise failure

    async def _connect(self, address: Any) -> None:
        error = self._sock.connect_ex(address)
        while error in (errno.EINPROGRESS, errno.EALREADY, errno.EINTR):
            await self._wait(to_write=True)
            error = self._sock.connect_ex(address)
        if error not in (0, errno.EISCONN):
            raise OSError(error, os.strerror(error))
        self._sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)

    async def _encrypt(self, tls: ssl.SSLContext, host: str) -> None:
        from ssl import SSLWantReadError, SSLWantWriteError  # noqa: PLC0415 - loaded by whoever made the context

        self._tls_waits = (SSLWantReadError, SSLWantWriteError)
        self._sock = encrypted = tls.wrap_socket(self._sock, server_hostname=host, do_handshake_on_connect=False)
        await self._do(encrypted.do_handshake)

    async def send(self, data: bytes) -> None:
        """Hand over all of it. Raises `OSError` when the connection has ended."""
        rest = memoryview(data)
        while rest:
            rest = rest[await self._do(lambda: self._sock.send(rest), to_write=True) :]  # noqa: B023 - called at once

    def send_now(self, data: bytes | bytearray) -> int:
        """Hand over what needs no waiting; returns how much. Raises `OSError` when the connection has ended."""
        try:
            return self._sock.send(data)
        except BlockingIOError:
            return 0

    async def receive(self) -> bytes:
        """What came next, at least a byte; empty at the end. Raises `OSError` when the connection broke."""
        if not self._tls_waits:  # which may have read it already
            await self._wait(to_write=False)  # most often it is yet to come, and to try in vain costs more
        return await self._do(self._receive)

    def receive_now(self) -> bytes | None:
        """The same, or None when nothing has come."""
        try:
            return self._receive()
        except BlockingIOError:
            return None

    def _receive(self) -> bytes:
        try:
            return self._sock.recv(_READ_BYTES)
        except ConnectionResetError:
            return self._sock.recv(_READ_BYTES)  # what the other side said before it hung up can still be read

    async def _do(self, act: Callable[[], T], *, to_write: bool = False) -> T:
        while True:
            self._require_usable()
            wants_to_write = to_write
            try:
                return act()
            except BlockingIOError:
                pass
            except self._tls_waits as error:
                wants_to_write = isinstance(error, self._tls_waits[1])  # TLS may have to write in order to read
            await self._wait(to_write=wants_to_write)

    def _require_usable(self) -> None:
        if self.is_closed or self._place != place():
            raise ConnectionAbortedError("closed, or of another process or event loop")

    async def _wait(self, *, to_write: bool) -> None:
        self._require_usable()
        self._waiting += 1
        try:
            await ready(self._sock, self.limit, to_write=to_write)
        finally:
            self._waiting -= 1
            if self.is_closed and not self._waiting:
                self._sock.close()

    def fileno(self) -> int:
        """Of the socket."""
        return self._sock.fileno()

    def is_quiet(self) -> bool:
        """Whether the other side has neither said anything nor hung up."""
        pending: Callable[[], int] = getattr(self._sock, "pending", int)  # what TLS has read already
        return not (self.is_closed or self._place != place() or pending() or speaks(self._sock.fileno()))

    def has_ended(self) -> bool:
        """Whether the other side has hung up, and said nothing before that is unread."""
        if self.is_closed or self._place != place():
            return True
        try:
            return self._sock.recv(1, socket.MSG_PEEK) == b""
        except BlockingIOError:
            return False
        except OSError:
            return True

    def close(self) -> None:
        """Let go of the connection; who waits on it elsewhere is told. May be called twice."""
        self.is_closed = True
        if self._waiting and not is_over(self._place):
            self._shut_down()  # wakes it, and the last one closes
        else:
            self._sock.close()

    def hang_up(self) -> None:
        """End the connection, also under another thread that waits on it. May be called twice."""
        self._shut_down()
        self.close()

    def _shut_down(self) -> None:
        try:
            self._sock.shutdown(socket.SHUT_RDWR)
        except OSError:
            pass

    def forked(self) -> None:
        """See `flowd_client.fork.Copied`."""
        self.is_closed = True
        self._sock.close()
