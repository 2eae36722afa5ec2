"""One HTTP connection, with bounds that uvicorn leaves to a proxy: headers, time, stalled readers, number.

Everything here ends in a closed connection; what a bounded request *says* is checked further in.
"""

import asyncio
from collections.abc import Callable
from typing import Any, cast

from uvicorn.config import Config
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol
from uvicorn.server import ServerState

from flowd.api.http.config import Limits
from flowd.api.http.responses import COMMON, HttpError, refused

_LINGER_S = 5.0
_LINGER_AT_MOST_S = 30.0
"""How long the rest of a refused request is read and dropped, so that its sender gets to read the refusal: after each
piece of it, and altogether. A connection that is closed with something unread is reset, and the refusal with it (RFC
9112, 9.6).
"""

_LINGERING_SHARE = 8
"""Connections above the limit that stay until they have read the refusal are at most this part of it; more are closed
with it at once."""

_FIRST_WORD_S = 0.25
"""How long a connection may take to say something that was accepted just before the server closes, or while there are
too many."""

_PHRASES = {400: "Bad Request", 408: "Request Timeout", 431: "Request Header Fields Too Large",
            503: "Service Unavailable"}  # fmt: skip


class BoundedConfig(Config):
    """uvicorn's configuration, and beside it what else all connections share.

    Attributes:
        emptied: Set when the last connection has gone.
    """

    limits: Limits
    emptied: asyncio.Event


class _Gate:
    """The transport as a request's cycle sees it: closing it is the protocol's affair."""

    def __init__(self, transport: asyncio.Transport, close: Callable[[], None]) -> None:
        self.write = transport.write
        self.is_closing = transport.is_closing
        self.close = close


class BoundedProtocol(HttpToolsProtocol):
    """HTTP/1.1 on one connection."""

    def __init__(
        self,
        config: Config,
        server_state: ServerState,
        app_state: dict[str, Any],
        _loop: asyncio.AbstractEventLoop | None = None,
    ) -> None:
        super().__init__(config, server_state, app_state, _loop)
        self._bounded = cast("BoundedConfig", config)
        self._limits = self._bounded.limits
        self._is_last_request = False
        self._deadline: asyncio.TimerHandle | None = None
        self._stall: asyncio.TimerHandle | None = None
        self._header_bytes = 0
        self._is_reading_headers = True
        self._is_message_complete = True
        self._is_dropping = False
        self._linger_until_s = 0.0
        self.quiet_since_s = 0.0

    # --- what the transport tells ------------------------------------------------------------------------------------

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """Begin, unless there are too many already: then whoever has asked for nothing for longest goes."""
        super().connection_made(transport)
        self.quiet_since_s = self.loop.time()
        if len(self.connections) > self._limits.max_connections and not self._make_room():
            limit = self._limits.max_connections
            self._refuse(
                HttpError("not_ready", f"{limit} connections are open already. Close some, or try again later.")
            )
            return
        self._deadline = self.loop.call_later(self._limits.header_s, self._give_up)

    def connection_lost(self, exc: Exception | None) -> None:
        """Forget the timers with the connection, and the requests that it had piled up.

        Each of these refers to the connection. So they would be left to the garbage collector, which takes 0.2 s for
        the fifteen thousand that a few clients can leave behind in a moment, and everything else waits for that.
        """
        self.pipeline.clear()
        self._set_deadline(None)
        self._set_stall(None)
        self._unset_keepalive_if_required()
        super().connection_lost(exc)
        if not self.connections:
            self._bounded.emptied.set()

    def data_received(self, data: bytes) -> None:
        """Parse; count what comes before the end of the headers."""
        if self._linger_until_s:
            self._linger_on()
        if self._is_dropping:
            return
        if self._is_reading_headers:
            self._header_bytes += len(data)
        super().data_received(data)
        if self._deadline is None and self._is_idle:
            # Line ends between requests stop uvicorn's keep-alive timer, and begin no request.
            self._set_deadline(self._limits.header_s)
        # A whole request in one piece is not counted against itself: by now its headers are read.
        if self._is_reading_headers and self._header_bytes > self._limits.max_header_bytes:
            limit = self._limits.max_header_bytes
            self._refuse(HttpError("headers_too_large", f"The headers are larger than {limit} bytes."))

    def pause_writing(self) -> None:
        """The reader takes nothing. If that lasts, the connection ends."""
        super().pause_writing()
        self._set_stall(self._limits.stall_s)

    def resume_writing(self) -> None:
        """It took something."""
        self._set_stall(None)
        super().resume_writing()

    # --- what the parser tells ---------------------------------------------------------------------------------------

    def on_message_begin(self) -> None:
        """A request begins: its headers have a time of their own."""
        super().on_message_begin()
        self._is_reading_headers, self._is_message_complete = True, False
        self._header_bytes = 0
        self._set_deadline(self._limits.header_s)

    def on_header(self, name: bytes, value: bytes) -> None:
        """A header. Trailers come here too, and are dropped: nothing here reads any."""
        if self._is_reading_headers:
            super().on_header(name, value)

    def on_headers_complete(self) -> None:
        """From here on the body's time is the application's."""
        self._is_reading_headers = False
        self._set_deadline(None)
        self.scope["state"]["header_bytes"] = sum(len(name) + len(value) + 4 for name, value in self.headers)
        super().on_headers_complete()
        self.cycle.transport = cast("asyncio.Transport", _Gate(self.transport, self._close_gently))
        if self._is_last_request:
            self.cycle.keep_alive = False

    def on_message_complete(self) -> None:
        """The request is whole."""
        self._is_message_complete = True
        if self.cycle is not None and self.cycle.response_complete:
            self._set_deadline(None)
        super().on_message_complete()
        if self._linger_until_s and not self.cycle.keep_alive:
            self.transport.close()
        self._linger_until_s = 0.0

    def on_response_complete(self) -> None:
        """The response is written, maybe before the request was whole."""
        super().on_response_complete()
        self.quiet_since_s = self.loop.time()
        if not self._is_message_complete and not self._linger_until_s:
            self._linger()

    def send_400_response(self, msg: str) -> None:  # noqa: ARG002
        """What is not HTTP gets one response, in JSON like all others. uvicorn's text says nothing more than ours."""
        # httptools itself stops at URLs of 64 KiB.
        if len(getattr(self, "url", b"")) > self._limits.max_header_bytes:
            self._refuse(
                HttpError("headers_too_large", f"The URL is longer than {self._limits.max_header_bytes} bytes.")
            )
            return
        self._refuse(HttpError("bad_request", "This is not an HTTP/1.1 request."))

    def timeout_keep_alive_handler(self) -> None:
        """The connection was idle for too long; what is still in its buffer gets a moment."""
        super().timeout_keep_alive_handler()
        self._set_stall(_LINGER_S)

    @property
    def has_nothing_under_way(self) -> bool:
        """Whether no request has come whole so far, or the last one has its response."""
        return not self.transport.is_closing() and (self.cycle is None or self.cycle.response_complete)

    def leave(self) -> None:
        """Close; what is still in the buffer gets a moment."""
        self.transport.close()
        self._set_stall(_LINGER_S)

    def shutdown(self) -> None:
        """The server closes: an idle connection at once, others after their response; a new one has a moment to ask."""
        self._is_last_request = True
        if self._is_dropping:
            self.transport.close()
            return
        has_asked = bool(self.cycle)
        if has_asked and self._is_idle:
            self.transport.close()
        elif has_asked:
            self.cycle.keep_alive = False
        elif self._is_message_complete:
            self._set_deadline(_FIRST_WORD_S)

    # --- ends --------------------------------------------------------------------------------------------------------

    def _refuse(self, refusal: HttpError) -> None:
        if self.transport.is_closing() or self._is_dropping:
            return
        if self._linger_until_s:
            self.transport.close()
            return
        has_no_response = self.cycle is not None and not self.cycle.response_started and not self.pipeline
        if self.cycle is None or self.cycle.response_complete or has_no_response:
            body = bytes(refused(refusal).body)
            headers = {**COMMON, "content-type": "application/json", "content-length": str(len(body))}
            head = f"HTTP/1.1 {refusal.status} {_PHRASES[refusal.status]}\r\n"
            head += "".join(f"{name}: {value}\r\n" for name, value in headers.items()) + "connection: close\r\n\r\n"
            self.transport.write(head.encode() + body)
            if self.cycle is not None:
                self.cycle.disconnected = True  # it has its response
                self.cycle.message_event.set()
            limit = self._limits.max_connections
            if len(self.connections) <= limit + limit // _LINGERING_SHARE:
                self._is_dropping = True
                self._linger(closes=True)
                return
        self.transport.close()
        self._set_stall(_LINGER_S)

    def _close_gently(self) -> None:
        """The response is written, and nothing more is to come of this connection."""
        if self._is_message_complete:
            self.transport.close()
        else:
            self._linger(closes=True)

    def _linger(self, *, closes: bool = False) -> None:
        """Read and drop the rest of a request that has its response already. ``closes``: tell that no other follows."""
        if self.transport.is_closing():
            return
        self._linger_until_s = self.loop.time() + _LINGER_AT_MOST_S
        self._linger_on()
        self.flow.resume_reading()
        if closes and self.transport.can_write_eof():
            self.transport.write_eof()

    def _linger_on(self) -> None:
        self._set_deadline(min(_LINGER_S, self._linger_until_s - self.loop.time()))

    def _make_room(self) -> bool:
        """Close the connection that has had nothing under way for longest; False where all have, or had a moment ago.

        Else whoever reaches the port could keep all others out by connections on which nothing is said.
        """
        others = (other for other in self.connections if isinstance(other, BoundedProtocol) and other is not self)
        quiet = (other for other in others if other.has_nothing_under_way)
        longest = min(quiet, key=lambda other: other.quiet_since_s, default=None)
        if longest is None or self.loop.time() - longest.quiet_since_s < _FIRST_WORD_S:
            return False
        longest.leave()
        return True

    @property
    def _is_idle(self) -> bool:
        return self._is_message_complete and (self.cycle is None or self.cycle.response_complete)

    def _give_up(self) -> None:
        if self._is_dropping or self._is_idle or not self._is_reading_headers:
            # It never said anything, or it has had its response.
            self.transport.close()
            self._set_stall(_LINGER_S)
            return
        self._refuse(HttpError("request_timeout", "The request took too long to arrive."))

    def _set_deadline(self, seconds: float | None) -> None:
        if self._deadline is not None:
            self._deadline.cancel()
        self._deadline = None if seconds is None else self.loop.call_later(seconds, self._give_up)

    def _set_stall(self, seconds: float | None) -> None:
        if self._stall is not None:
            self._stall.cancel()
        self._stall = None if seconds is None else self.loop.call_later(seconds, self.transport.abort)
