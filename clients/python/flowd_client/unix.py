"""The blocking transport over a Unix socket: newline-delimited JSON-RPC, one call at a time on a connection."""

import os
import socket
import threading
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from flowd_client.errors import BadAnswerError, CallError, ConnectionLostError, DaemonNotRunningError, TimedOutError
from flowd_client.transport import MAX_FRAME_BYTES, answers, decode, encode, read_result
from flowd_client.unix_connect import BACKLOG_PAUSE_S, connect_once, locator
from flowd_client.wire import RETRY_SAFE, SUBSCRIBE, UPDATE

_READ_BYTES = 256 * 1024
_LAST_WORDS_S = 1.0
"""How long a connection that takes no more is listened to for the reason."""


class _NotSentError(Exception):
    """The connection ended before the whole frame was handed over, so the daemon cannot have acted on it."""


class _LostError(Exception):
    """The connection ended after the frame was sent."""


class _Deadline:
    """A moment on the monotonic clock, or never."""

    def __init__(self, timeout_s: float | None) -> None:
        self.timeout_s = timeout_s
        self._at = None if timeout_s is None else time.monotonic() + timeout_s

    def left_s(self, method: str) -> float | None:
        if self._at is None or self.timeout_s is None:
            return None
        left_s = self._at - time.monotonic()
        if left_s <= 0:
            raise TimedOutError(method, self.timeout_s)
        return left_s


class _Connection:
    """One connected socket and what was read of the next frame. Used by one call at a time."""

    def __init__(self, sock: socket.socket) -> None:
        self._sock = sock
        self._buffer = bytearray()
        self._last_id = 0

    def is_fresh(self) -> bool:
        """Whether nothing was said on it since the last answer; an idle connection speaks only to end."""
        if self._buffer:
            return False
        self._sock.settimeout(0)
        try:
            self._sock.recv(1, socket.MSG_PEEK)
        except BlockingIOError:
            return True
        except OSError:
            pass
        return False

    def call(self, method: str, params: Mapping[str, Any], deadline: _Deadline) -> Any:
        self._last_id += 1
        frame = encode(self._last_id, method, params)
        self._send(frame, method, deadline)
        while True:
            line = self._read_line(method, deadline)
            if line.strip():
                message = decode(line)
                if answers(message, self._last_id):
                    return read_result(message)

    def _send(self, frame: bytes, method: str, deadline: _Deadline) -> None:
        self._sock.settimeout(deadline.left_s(method))
        try:
            self._sock.sendall(frame)
        except TimeoutError as error:
            raise TimedOutError(method, deadline.timeout_s or 0) from error
        except OSError as error:
            self._hear_last_words()
            raise _NotSentError from error

    def _hear_last_words(self) -> None:
        """Raise what the daemon said before it closed (too many connections, say), if it said anything."""
        try:
            line = self._read_line("", _Deadline(_LAST_WORDS_S))
        except (_LostError, TimedOutError):
            return
        message = decode(line)
        if message.get("id") is None and "error" in message:
            read_result(message)

    def next_update(self) -> Mapping[str, Any]:
        """The params of the next flow.update; waits for it without limit."""
        while True:
            line = self._read_line(SUBSCRIBE, _Deadline(None))
            message = decode(line) if line.strip() else {}
            if message.get("method") == UPDATE and isinstance(message.get("params"), dict):
                update: Mapping[str, Any] = message["params"]
                return update

    def hang_up(self) -> None:
        """End the connection under whoever reads it."""
        try:
            self._sock.shutdown(socket.SHUT_RDWR)
        except OSError:
            pass
        self._sock.close()

    def _read_line(self, method: str, deadline: _Deadline) -> bytes:
        searched = 0
        while (end := self._buffer.find(b"\n", searched)) < 0:
            searched = len(self._buffer)
            if searched > MAX_FRAME_BYTES:
                raise BadAnswerError(f"The daemon's answer to {method} is longer than {MAX_FRAME_BYTES} bytes.")
            self._sock.settimeout(deadline.left_s(method))
            try:
                chunk = self._sock.recv(_READ_BYTES)
            except TimeoutError as error:
                raise TimedOutError(method, deadline.timeout_s or 0) from error
            except OSError as error:
                raise _LostError from error
            if not chunk:
                raise _LostError
            self._buffer += chunk
        line = bytes(self._buffer[: end + 1])
        del self._buffer[: end + 1]
        return line

    def close(self) -> None:
        self._sock.close()


class UnixStream:
    """Implements `flowd_client.updates.UpdateStream`."""

    def __init__(self, connection: _Connection, answer: Any) -> None:
        self.answer = answer
        self._connection = connection

    def next(self) -> Mapping[str, Any]:
        """See `flowd_client.updates.UpdateStream.next`."""
        try:
            return self._connection.next_update()
        except (_LostError, OSError) as error:
            raise ConnectionLostError(SUBSCRIBE) from error

    def close(self) -> None:
        """See `flowd_client.updates.UpdateStream.close`."""
        self._connection.hang_up()


class UnixTransport:
    """Calls over a Unix socket. Implements `flowd_client.transport.Transport`.

    One thread uses one connection for all its calls. A call from another thread while that one waits gets a
    connection of its own, so that a wait never delays, say, the cancel that would end it.
    """

    def __init__(self, path: Path | Callable[[], Path]) -> None:
        """Connect to nothing yet; the first call does. A function is asked for the path at each connection."""
        self._locate = locator(path)
        self._lock = threading.Lock()
        self._idle: list[_Connection] = []
        self._pid = os.getpid()
        self._closings = 0

    def call(self, method: str, params: Mapping[str, Any], *, timeout_s: float | None) -> Any:
        """As `flowd_client.transport.Transport.call`."""
        deadline = _Deadline(timeout_s)
        was_sent = False
        try:
            return self._call_once(method, params, deadline)
        except _NotSentError:
            pass
        except _LostError as error:
            if method not in RETRY_SAFE:
                raise ConnectionLostError(method) from error
            was_sent = True
        try:
            return self._call_once(method, params, deadline)
        except (_NotSentError, _LostError) as error:
            raise ConnectionLostError(method) from error
        except DaemonNotRunningError as error:
            if was_sent:
                raise ConnectionLostError(method, error) from error
            raise

    def _call_once(self, method: str, params: Mapping[str, Any], deadline: _Deadline) -> Any:
        closings = self._closings
        connection = self._take_idle() or self._connect(method, deadline)
        try:
            result = connection.call(method, params, deadline)
        except CallError:
            self._put_back(connection, closings)
            raise
        except BaseException:
            # A late answer must not be taken for the next call's, so this connection is of no more use.
            connection.close()
            raise
        self._put_back(connection, closings)
        return result

    def stream(self, method: str, params: Mapping[str, Any], *, timeout_s: float | None) -> "UnixStream":
        """A connection of its own on which the daemon pushes updates. Raises the `FlowClientError` tree."""
        deadline = _Deadline(timeout_s)
        connection = self._connect(method, deadline)
        try:
            return UnixStream(connection, connection.call(method, params, deadline))
        except (_NotSentError, _LostError) as error:
            connection.close()
            raise ConnectionLostError(method) from error
        except BaseException:
            connection.close()
            raise

    def _connect(self, method: str, deadline: _Deadline) -> _Connection:
        while (sock := connect_once(self._locate())) is None:
            left_s = deadline.left_s(method)
            time.sleep(BACKLOG_PAUSE_S if left_s is None else min(BACKLOG_PAUSE_S, left_s))
        return _Connection(sock)

    def _take_idle(self) -> _Connection | None:
        with self._lock:
            self._forget_the_parents()
            while self._idle:
                connection = self._idle.pop()
                if connection.is_fresh():
                    return connection
                connection.close()
        return None

    def _put_back(self, connection: _Connection, closings: int) -> None:
        with self._lock:
            if closings == self._closings:
                self._idle.append(connection)
                return
        connection.close()

    def _forget_the_parents(self) -> None:
        # After a fork both processes hold the same sockets; only the parent may go on using them.
        if self._pid != os.getpid():
            self._pid = os.getpid()
            while self._idle:
                self._idle.pop().close()

    def close(self) -> None:
        """Close every idle connection now, and those in use when their calls have been answered."""
        with self._lock:
            self._closings += 1
            while self._idle:
                self._idle.pop().close()
