"""HTTP's part in the daemon's life: served from the start on, or as soon as its address can be had."""

import asyncio
import logging
import os
import socket
from collections.abc import Callable
from contextlib import AsyncExitStack, suppress
from pathlib import Path

from flowd.api.http.config import HttpConfig, UnixAddress
from flowd.api.http.tally import HttpFigures
from flowd.api.listeners import listen_for_http
from flowd.daemon.guard import GuardedSocket
from flowd.daemon.http_access import LocalAccess
from flowd.daemon.page import Served
from flowd.domain.errors import NotYetError, StateError
from flowd.settings.values import is_managed

log = logging.getLogger("flowd.daemon")

_RETRY_S = 2.0


class HttpPart:
    """The HTTP of one daemon. Without settings for it, every method does nothing.

    Attributes:
        problem: Why it is not served yet, as a sentence; None where it is, or is not wanted.
        where: The address that it is served on.
    """

    def __init__(self, config: HttpConfig | None, state_dir: Path) -> None:
        self._config = config
        self._access = LocalAccess(state_dir)
        self._listener: socket.socket | None = None
        self._served: Served | None = None
        self._guarded: GuardedSocket | None = None
        self.problem: str | None = None
        self.where: str | None = None

    def listen(self) -> None:
        """Open the socket. Nothing is accepted yet.

        Where systemd manages the daemon, an address that cannot be had yet is no reason not to start: at a boot it may
        come later than flowd. A person who starts flowd by hand is told at once.

        Raises:
            StateError: It cannot be listened at.
        """
        if self._config is None:
            return
        try:
            self._listener = listen_for_http(self._config)
        except NotYetError as error:
            if not is_managed(os.environ):
                raise StateError(error.message) from error
            self.problem = error.message

    async def open(
        self, tasks: asyncio.TaskGroup, stack: AsyncExitStack, make: Callable[[HttpConfig, socket.socket], Served]
    ) -> Callable[[], object]:
        """Serve, or begin to try again.

        Args:
            stack: Closes the server, whenever it was opened.
            make: Makes the server for a socket that listens.

        Returns:
            What ends the trying.
        """
        task = tasks.create_task(self._open(stack, make), name="http")
        if self.problem is None:
            await task
        return task.cancel

    def take(self, config: HttpConfig | None) -> None:
        """Take over who may do what, and the webhooks, of changed settings.

        Raises:
            StateError: The token that is needed from now on cannot be kept.
        """
        self._config = config
        if config is not None and self._served is not None and self._listener is not None:
            self._served.server.take(self._access.complete(config, self._listener))

    @property
    def figures(self) -> HttpFigures:
        """How it is used; zeros where it is not served."""
        return HttpFigures() if self._served is None else self._served.server.figures

    def check(self) -> None:
        """Make again what somebody has removed of socket and token, and take a token that somebody has changed.

        Raises:
            OSError: Something is in the way, or the disk is full.
        """
        if self._guarded is not None:
            self._guarded.check()
        if self._access.check():
            self.take(self._config)
            log.warning("http token changed", extra={"remedy": "clients that were given it need the new one"})

    @property
    def page(self) -> Served | None:
        """The page that browsers can reach; None where HTTP is off, not served yet, or on a Unix socket."""
        return self._served if self._served is not None and self._served.is_for_browsers else None

    def close(self) -> None:
        """Close the socket."""
        if self._listener is not None:
            self._listener.close()

    async def _open(self, stack: AsyncExitStack, make: Callable[[HttpConfig, socket.socket], Served]) -> None:
        if self._config is None:
            return
        if self.problem is not None:
            log.warning("HTTP is not served yet", extra={"problem": self.problem})
        while self._listener is None:
            await asyncio.sleep(_RETRY_S)
            with suppress(NotYetError):
                self._listener = await asyncio.to_thread(listen_for_http, self._config)
        config = self._access.complete(self._config, self._listener)
        stack.callback(self._access.close)
        served = make(config, self._listener)
        server = served.server
        stack.push_async_callback(server.close)
        await server.open()
        self._served = served
        self.where = server.where
        if isinstance(self._config.address, UnixAddress):
            path = Path(self._config.address.path)
            self._guarded = GuardedSocket(path, wanted=path)
            self._guarded.listen_anew = server.listen_anew
        if self.problem is not None:
            self.problem = None
            log.info("HTTP is served", extra={"where": server.where})
