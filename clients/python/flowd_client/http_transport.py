"""The blocking transport over HTTP, on `http.client`."""

import selectors
import socket
import threading
import time
from collections.abc import Awaitable, Mapping
from http.client import HTTPConnection, HTTPException, HTTPResponse, HTTPSConnection
from typing import Any

from flowd_client.errors import (
    BadAnswerError,
    ConnectionLostError,
    DaemonNotRunningError,
    UnavailableModeError,
    invalid_params,
)
from flowd_client.http_answers import Reply, read_json
from flowd_client.http_requests import RETRY_STATUSES, Deadline, Exchange, Pause, Server, backoff_s, plan
from flowd_client.http_stream import HttpStream, request_of
from flowd_client.transport import MAX_FRAME_BYTES
from flowd_client.wire import SUBSCRIBE

_READ_BYTES = 256 * 1024


class _UnixConnection(HTTPConnection):
    """HTTP over a Unix socket."""

    def __init__(self, path: str, timeout: float | None) -> None:
        super().__init__("localhost", timeout=timeout)
        self._path = path

    def connect(self) -> None:
        self.sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self.sock.settimeout(self.timeout)
        self.sock.connect(self._path)


class HttpTransport:
    """Calls over HTTP. Implements `flowd_client.transport.Transport`.

    Connections are kept and shared by threads, one call at a time on each. What may not be repeated goes over a new
    one: a kept one may have been closed by the server just now, and then nobody could say whether it arrived.
    """

    def __init__(self, server: Server) -> None:
        """Connect to nothing yet; the first call does."""
        self._server = server
        self._lock = threading.Lock()
        self._idle: list[HTTPConnection] = []
        self._closings = 0

    def call(self, method: str, params: Mapping[str, Any], *, timeout_s: float | None) -> Any:
        """As `flowd_client.transport.Transport.call`."""
        deadline = Deadline(method, timeout_s)
        steps = plan(method, params)
        was_sent = False
        try:
            step = next(steps)
            while True:
                if isinstance(step, Pause):
                    deadline.left_s()
                    time.sleep(step.seconds)
                    step = next(steps)
                else:
                    reply = self._patiently(step, method, deadline, was_sent=was_sent)
                    was_sent = True
                    step = steps.send(reply)
        except StopIteration as end:
            return end.value

    def _patiently(self, request: Exchange, method: str, deadline: Deadline, *, was_sent: bool) -> Reply:
        """Send a request, again where that is safe. ``was_sent``: something of the same call was before."""
        attempt = 0
        while True:
            reply: Reply | None = None
            try:
                reply = self._exchange(request, method, deadline)
                if reply.status not in RETRY_STATUSES or not request.is_safe:
                    return reply
                was_sent = True
            except DaemonNotRunningError as error:
                if attempt >= self._server.retries:
                    if was_sent:
                        raise ConnectionLostError(method, error) from error
                    raise
            except ConnectionLostError:
                if attempt >= self._server.retries or not request.is_safe:
                    raise
                was_sent = True
            pause_s = backoff_s(attempt, reply)
            if reply is not None and (attempt >= self._server.retries or not deadline.has(pause_s)):
                return reply
            deadline.left_s()
            time.sleep(pause_s if deadline.has(pause_s) else deadline.left_s() or 0)
            attempt += 1

    def _exchange(self, request: Exchange, method: str, deadline: Deadline) -> Reply:
        headers = self._headers(request)
        closings = self._closings
        connection = (self._take_idle() if request.is_safe else None) or self._connect(deadline)
        try:
            reply, keeps = _talk(connection, self._server, request, headers, deadline)
        except TimeoutError as error:
            connection.close()
            raise deadline.error() from error
        except (OSError, HTTPException) as error:
            connection.close()
            raise ConnectionLostError(method) from error
        except BaseException:
            connection.close()
            raise
        self._put_back(connection, closings, keeps=keeps)
        return reply

    def stream(self, method: str, params: Mapping[str, Any], *, timeout_s: float | None) -> HttpStream:
        """A connection of its own on which updates come. Raises the `FlowClientError` tree."""
        if method != SUBSCRIBE:
            raise UnavailableModeError(f"{method} is no stream.")
        deadline = Deadline(method, timeout_s)
        request = request_of(params)
        headers = self._headers(request)
        connection = self._connect(deadline)
        try:
            response, sock = _ask(connection, self._server, request, headers, deadline)
            if response.status == 200:
                return HttpStream(connection, sock, response)
            reply = Reply(response.status, _lowered(response), response.read(MAX_FRAME_BYTES))
            read_json(reply, request.verb, request.target)
            raise BadAnswerError(f"{request.target} answers with {response.status}, and not with a stream.")
        except TimeoutError as error:
            connection.close()
            raise deadline.error() from error
        except (OSError, HTTPException) as error:
            connection.close()
            raise ConnectionLostError(method) from error
        except BaseException:
            connection.close()
            raise

    def _headers(self, request: Exchange) -> dict[str, str]:
        added = self._server.added_headers()
        if isinstance(added, Awaitable):
            raise invalid_params("headers must not be awaitable in the blocking client.")
        return self._server.headers(request, added)

    def _connect(self, deadline: Deadline) -> HTTPConnection:
        server = self._server
        timeout_s = deadline.left_s()
        connection: HTTPConnection
        if server.unix_path is not None:
            connection = _UnixConnection(server.unix_path, timeout_s)
        elif server.is_tls:
            connection = HTTPSConnection(server.host, server.port, timeout=timeout_s, context=server.ssl_context)
        else:
            connection = HTTPConnection(server.host, server.port, timeout=timeout_s)
        try:
            connection.connect()
        except TimeoutError as error:
            connection.close()
            raise deadline.error() from error
        except OSError as error:
            connection.close()
            raise unreachable(server, error) from error
        return connection

    def _take_idle(self) -> HTTPConnection | None:
        with self._lock:
            while self._idle:
                connection = self._idle.pop()
                if not speaks(connection.sock.fileno()):
                    return connection
                connection.close()
        return None

    def _put_back(self, connection: HTTPConnection, closings: int, *, keeps: bool) -> None:
        with self._lock:
            if keeps and closings == self._closings:
                self._idle.append(connection)
                return
        connection.close()

    def close(self) -> None:
        """Close every idle connection now, and those in use when their calls have been answered."""
        with self._lock:
            self._closings += 1
            while self._idle:
                self._idle.pop().close()


def _talk(
    connection: HTTPConnection, server: Server, request: Exchange, headers: Mapping[str, str], deadline: Deadline
) -> tuple[Reply, bool]:
    """Send a request and read its answer. Returns whether the connection can be used again, too."""
    response, sock = _ask(connection, server, request, headers, deadline)
    parts: list[bytes] = []
    size = 0
    while True:
        sock.settimeout(deadline.left_s())
        part = response.read1(_READ_BYTES)
        if not part:
            break
        parts.append(part)
        size += len(part)
        if size > MAX_FRAME_BYTES:
            raise BadAnswerError(
                f"The answer to {request.verb} {request.target} is longer than {MAX_FRAME_BYTES} bytes."
            )
    if response.length:
        raise ConnectionResetError("the answer is cut short")
    response.close()  # http.client takes the connection for busy until then, if it was read to its length by parts
    return Reply(response.status, _lowered(response), b"".join(parts)), not response.will_close


def _ask(
    connection: HTTPConnection, server: Server, request: Exchange, headers: Mapping[str, str], deadline: Deadline
) -> tuple[HTTPResponse, socket.socket]:
    """Send a request and read its answer up to the body. Gives the socket, too, which http.client may let go of."""
    connection.sock.settimeout(deadline.left_s())
    connection.putrequest(request.verb, server.prefix + request.target, skip_host=True, skip_accept_encoding=True)
    connection.putheader("host", server.host_header)
    for name, value in headers.items():
        connection.putheader(name, value.encode("utf-8"))
    if request.body is not None:
        connection.putheader("content-length", str(len(request.body)))
    connection.endheaders(request.body)
    sock = connection.sock
    return connection.getresponse(), sock


def _lowered(response: HTTPResponse) -> dict[str, str]:
    return {name.lower(): value for name, value in response.getheaders()}


def speaks(descriptor: int) -> bool:
    """Whether an idle connection has something to say, which can only be that it ends."""
    with selectors.DefaultSelector() as selector:  # select() itself takes no descriptor beyond 1023
        selector.register(descriptor, selectors.EVENT_READ)
        return bool(selector.select(0))


def unreachable(server: Server, error: OSError) -> DaemonNotRunningError:
    """What to raise when no connection came about. Nothing was sent."""
    return DaemonNotRunningError(
        f"Cannot reach {server.url} ({error.strerror or error}). Start a daemon there with `flowd serve --http`.",
        url=server.url,
    )
