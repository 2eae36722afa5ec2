"""The web page's part in the daemon's life: links to it, and a port of its own where HTTP is off."""

import hashlib
import ipaddress
import logging
import secrets
import socket
from collections.abc import Awaitable, Callable, Collection, Iterable, Mapping, Sequence
from contextlib import AsyncExitStack
from dataclasses import dataclass
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from flowd.api.http.config import SCOPES, Access, HttpConfig, Limits, TcpAddress, Token
from flowd.api.http.tally import HttpFigures
from flowd.api.json import instant
from flowd.api.listeners import listen_for_http
from flowd.api.method import Method
from flowd.api.metrics.family import Measured
from flowd.api.shapes.daemon import PageView
from flowd.catalog.doubts import doubts
from flowd.domain.flow import Flow
from flowd.domain.people import Person
from flowd.domain.secrets import asked_for, unknown
from flowd.engine.last_hour import LastHour
from flowd.wiring import Parts

if TYPE_CHECKING:
    from flowd.api.http.server import HttpServer
    from flowd.page.site import BrowserSite

log = logging.getLogger("flowd.daemon")

_ENVELOPE_BYTES = 64 * 1024


@dataclass(frozen=True, slots=True)
class Served:
    """A server, and the pages on it."""

    server: "HttpServer"
    site: "BrowserSite"
    base_path: str = ""

    @property
    def address(self) -> str:
        """Where its pages are, on this machine."""
        return _here(self.server.where) + self.base_path

    @property
    def is_for_browsers(self) -> bool:
        """Whether a browser can reach it: none opens a Unix socket."""
        return self.server.where.startswith("http://")

    async def link(self, person: Person, *, until_stop: bool) -> PageView:
        """A link that logs ``person`` in, on this machine."""
        await self.site.warm_up()
        path, ends_at_ms = self.site.link_for(person)
        return PageView(url=_here(self.server.where) + path, expires_at=instant(ends_at_ms), until_stop=until_stop)


def serve(
    config: HttpConfig,
    listener: socket.socket,
    parts: Parts,
    table: Mapping[str, Method],
    *,
    is_ready: Callable[[], bool],
    measure: Callable[[], Awaitable[Sequence[Measured]]],
    secrets: Callable[[], Collection[str]],
) -> Served:
    """A server of the API and the page on a socket that listens. See `flowd.api.http.server.HttpServer`.

    ``secrets`` are the names of those that the settings have.
    """
    from flowd.api.http.server import HttpServer  # noqa: PLC0415 - for daemons that serve it
    from flowd.page.routes import ACTS, LOOKS  # noqa: PLC0415 - likewise
    from flowd.page.site import BrowserSite  # noqa: PLC0415 - likewise

    reads, now_ms = parts.engine.reads, parts.feed.now_ms
    last_hour = LastHour(parts.engine.tallies.pulse, reads.runs, now_ms=now_ms)
    site = BrowserSite(
        table,
        looks=LOOKS,
        acts=ACTS,
        feed=parts.feed,
        last_hour=last_hour.minutes,
        doubts=lambda names: _doubts(parts.engine.snapshot().flows, names, secrets()),
        asking=parts.engine.questions.count,
        access=config.access,
        base_path=config.base_path,
    )
    server = HttpServer(
        config,
        listener,
        table,
        remember_nonce=parts.store.remember_nonce,
        is_ready=is_ready,
        feed=parts.feed,
        snapshot=parts.engine.snapshot,
        measure=measure,
        site=site,
    )
    return Served(server, site, config.base_path)


def _doubts(flows: Iterable[Flow], names: Collection[str], secrets: Collection[str]) -> dict[str, list[str]]:
    """What ``flowd validate`` doubts of those flows that have these names."""
    asked = [flow for flow in flows if flow.name in names]
    told = {flow.name: [finding.text() for finding in doubts(flow)] for flow in asked}
    for flow, step, secret in asked_for(asked):
        if secret not in secrets:
            told[flow.name].append(f'step "{step}": {unknown(secret, secrets)}')
    return told


class PrivatePage:
    """A port of 127.0.0.1 for the page alone, from the first wish for it until the daemon stops."""

    def __init__(
        self, stack: AsyncExitStack, make: Callable[[HttpConfig, socket.socket], Served], *, max_payload_bytes: int
    ) -> None:
        """``stack`` closes the server; ``make`` makes one for a socket that listens."""
        self._stack = stack
        self._make = make
        self._max_payload_bytes = max_payload_bytes
        self._served: Served | None = None

    @property
    def figures(self) -> HttpFigures:
        """How it is used; zeros where nobody has asked for it."""
        return HttpFigures() if self._served is None else self._served.server.figures

    @property
    def where(self) -> str | None:
        """Its address; None where nobody has asked for it."""
        return None if self._served is None else self._served.server.where

    @property
    def page(self) -> Served | None:
        """The page; None where nobody has asked for it."""
        return self._served

    async def open(self) -> Served:
        """The server, which is made by the first call.

        Raises:
            StateError: There is no port to be had.
        """
        if self._served is None:
            # Nobody is told this token: links alone let in, and they come over the control socket.
            token = Token("flowd ui", hashlib.sha256(secrets.token_bytes(32)).digest(), frozenset(SCOPES))
            config = HttpConfig(
                TcpAddress("127.0.0.1", 0),
                Access(tokens=(token,), is_read_public=False),
                Limits(max_body_bytes=self._max_payload_bytes + _ENVELOPE_BYTES),
                hooks={},
            )
            listener = listen_for_http(config)
            self._stack.callback(listener.close)
            served = self._make(config, listener)
            self._served = served
            self._stack.push_async_callback(served.server.close)
            await served.server.open()
        return self._served


def _here(where: str) -> str:
    """The address as this machine reaches it.

    >>> _here("http://0.0.0.0:7345"), _here("http://[::]:80"), _here("http://10.0.0.1:80")
    ('http://127.0.0.1:7345', 'http://[::1]:80', 'http://10.0.0.1:80')
    """
    parts = urlsplit(where)
    try:
        address = ipaddress.ip_address(parts.hostname or "")
    except ValueError:
        return where
    if not address.is_unspecified:
        return where
    return f"http://{TcpAddress('127.0.0.1' if address.version == 4 else '::1', parts.port or 80)}"
