"""Serves the API over HTTP/1.1, with uvicorn in the daemon's own loop. Owns `uvicorn`.

uvicorn's own life (its signals, its loop, its ticking main loop) is left out: the daemon has one already.
"""

import asyncio
import logging
import os
import socket
from collections.abc import Awaitable, Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import replace

from uvicorn.server import ServerState

from flowd.api.accepting import Acceptor, affordable
from flowd.api.http.app import HttpApp
from flowd.api.http.auth import Authenticator, RememberNonce
from flowd.api.http.config import Address, HttpConfig, Limits, TcpAddress, UnixAddress
from flowd.api.http.guard import Guard
from flowd.api.http.hooks import Hooks
from flowd.api.http.protocol import BoundedConfig, BoundedProtocol
from flowd.api.http.route import Site
from flowd.api.http.routes import Routes
from flowd.api.http.tally import HttpFigures, RequestTally
from flowd.api.method import Method
from flowd.api.metrics.family import Measured
from flowd.domain.flow import Snapshot
from flowd.engine.feed import Feed

log = logging.getLogger("flowd.api.http")

_BACKLOG = 1024
_SHARE = 2 / 3
"""Of the descriptors for connections; the others are the control socket's."""

_CLOSE_S = 2.0
"""How long responses under way may take once the daemon closes."""


class HttpServer:
    """Serves the API over HTTP on one address."""

    def __init__(
        self,
        config: HttpConfig,
        listener: socket.socket,
        table: Mapping[str, Method],
        *,
        remember_nonce: RememberNonce,
        is_ready: Callable[[], bool],
        feed: Feed,
        snapshot: Callable[[], Snapshot],
        measure: Callable[[], Awaitable[Sequence[Measured]]],
        site: Site | None = None,
    ) -> None:
        """``listener`` is of `flowd.api.listeners`; it is closed with the server. ``site`` is for browsers."""
        self._address = config.address
        self._access = config.access
        self._listener = listener
        self._state = ServerState()
        self._acceptor: Acceptor | None = None
        limits = _affordable(config.limits)
        self._tally = RequestTally()
        self._hooks = Hooks(config.hooks)
        self._authenticator = Authenticator(config.access, remember_nonce, None if site is None else site.sender)
        self._site = site
        routes = Routes(
            table,
            hooks=self._hooks,
            measure=measure,
            is_ready=is_ready,
            feed=feed,
            snapshot=snapshot,
            is_source_in_id=config.is_source_in_id,
        )
        self._app = HttpApp(
            [*routes.all, *([] if site is None else site.routes)],
            guard=Guard(
                allowed_hosts=config.allowed_hosts | _own_name(config.address),
                checks_host=not isinstance(config.address, UnixAddress),
            ),
            authenticator=self._authenticator,
            limits=limits,
            tally=self._tally,
            base_path=config.base_path,
            site=site,
        )
        self._config = BoundedConfig(
            self._app,
            http=BoundedProtocol,
            ws="none",
            lifespan="off",
            interface="asgi3",
            log_config=None,
            log_level="critical",  # what callers send is their affair; what we did wrong is logged in `failures`
            access_log=False,
            server_header=False,
            date_header=False,
            proxy_headers=False,
            timeout_keep_alive=int(limits.keep_alive_s),
        )
        self._config.limits = limits
        self._config.emptied = asyncio.Event()
        self.where = ""

    def take(self, config: HttpConfig) -> None:
        """Let in whom this lets in, and take its webhooks, from the next request on. The rest stays as it is."""
        self._access = config.access
        self._authenticator.take(config.access)
        self._hooks.take(config.hooks)
        if self._site is not None:
            self._site.take(config.access)

    @property
    def figures(self) -> HttpFigures:
        """How it is used."""
        return HttpFigures(len(self._state.connections), self._app.streams, self._tally)

    async def open(self) -> None:
        """Begin to accept connections; ``where`` tells on which address, with the port that was taken."""
        self._config.load()
        self.where = _shown(self._listener, self._address)
        self._acceptor = Acceptor(
            self._listener, lambda: BoundedProtocol(self._config, self._state, {}), backlog=_BACKLOG
        )
        self._acceptor.open()
        log.info("listening", extra={"address": self.where, "access": self._access.told()})
        if self._access.is_v1_enough:
            log.warning(
                "v1 signatures may be sent again",
                extra={
                    "problem": "[http] allow_replayed_v1: whoever has seen one can replay, retry and cancel with it"
                },
            )

    def listen_anew(self, bound: socket.socket) -> None:
        """See `Acceptor.listen_anew`."""
        if self._acceptor is not None:
            self._acceptor.listen_anew(bound)

    async def close(self) -> None:
        """Accept no more, end streams and waits, let other responses under way finish within two seconds."""
        if self._acceptor is None:
            return
        await self._acceptor.close()
        self._app.end_streams()
        for connection in tuple(self._state.connections):
            connection.shutdown()
        self._config.emptied.clear()
        if self._state.connections:
            with suppress(TimeoutError):
                async with asyncio.timeout(_CLOSE_S):
                    await self._config.emptied.wait()
        # First the connections: callers know how to take a wait that is cut off without a response, and ask the next
        # daemon. uvicorn would respond with 500.
        for connection in tuple(self._state.connections):
            transport = getattr(connection, "transport", None)
            if transport is not None:
                transport.abort()
        pending = tuple(self._state.tasks)
        for task in pending:
            task.cancel()
        await asyncio.gather(*pending, return_exceptions=True)
        self._acceptor = None
        if isinstance(self._address, UnixAddress):
            with suppress(FileNotFoundError):
                os.unlink(self._address.path)


def _shown(listener: socket.socket, address: Address) -> str:
    if isinstance(address, UnixAddress):
        return str(address)
    name = listener.getsockname()
    if not isinstance(name, tuple):
        return f"unix:{name}"
    return f"http://{TcpAddress(name[0], name[1])}"


def _own_name(address: Address) -> frozenset[str]:
    return frozenset({address.host.lower()}) if isinstance(address, TcpAddress) else frozenset()


def _affordable(limits: Limits) -> Limits:
    """No more connections than there are descriptors for."""
    room = affordable(_SHARE)
    return replace(
        limits,
        max_connections=min(limits.max_connections, room),
        max_streams=min(limits.max_streams, room * 3 // 4),
    )
