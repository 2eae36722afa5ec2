"""The ASGI application. Each request passes the same gates in this order: limits, page guard, path, body, sender."""

import asyncio
import contextlib
import logging
import time

from flowd.api.http import body, paths
from flowd.api.http.asgi import ClientGoneError, Connection, Receive, Send
from flowd.api.http.auth import Authenticator
from flowd.api.http.call import Call
from flowd.api.http.config import Limits
from flowd.api.http.guard import Guard, Headers
from flowd.api.http.metrics import Metrics
from flowd.api.http.paths import PathTable
from flowd.api.http.responses import HttpError, Response, Stream, failed, refused
from flowd.api.http.route import Route
from flowd.api.http.routes import Routes

log = logging.getLogger("flowd.api.http")

_ACTIVE_BODY = frozenset({"POST", "PUT", "PATCH", "DELETE"})


class HttpApp:
    """An ASGI application."""

    def __init__(
        self, routes: Routes, *, guard: Guard, authenticator: Authenticator, limits: Limits, metrics: Metrics
    ) -> None:
        self._paths: PathTable[Route] = PathTable((route.verb, route.path, route) for route in routes.all)
        self._guard = guard
        self._authenticator = authenticator
        self._limits = limits
        self._metrics = metrics
        self._live: set[asyncio.Task[None]] = set()

    @property
    def streams(self) -> int:
        """How many readers follow something."""
        return len(self._live)

    def end_streams(self) -> None:
        """End them: the daemon is about to go."""
        for task in tuple(self._live):
            task.cancel()

    async def __call__(self, scope: Connection, receive: Receive, send: Send) -> None:
        """Respond to one request."""
        if scope["type"] != "http":
            return
        began_s = time.perf_counter()
        label, status = "none", 499  # as proxies note a caller who hung up
        try:
            found = None
            try:
                self._admit(scope)
                found = self._paths.find(scope["method"], scope["raw_path"])
                label = found.route.name
                call = await self._call(found, scope, receive)
                response = await found.route.respond(call)
            except HttpError as refusal:
                response = refused(refusal)
            except (ClientGoneError, asyncio.CancelledError):
                raise
            except Exception as error:  # noqa: BLE001 - every exception becomes a response, and none shows its text
                response = failed(error, route=label)
            status = response.status
            await self._send(response, receive, send)
        except ClientGoneError:
            log.debug("caller hung up", extra={"route": label})
        finally:
            self._metrics.note(label, status, time.perf_counter() - began_s)

    def _admit(self, scope: Connection) -> None:
        size = scope.get("state", {}).get("header_bytes", 0) + len(scope["raw_path"]) + len(scope["query_string"])
        if size > self._limits.max_header_bytes:
            limit = self._limits.max_header_bytes
            raise HttpError("headers_too_large", f"The URL and headers are larger than {limit} bytes.", closes=True)
        self._guard.check(scope["headers"])

    async def _call(self, found: paths.Found[Route], scope: Connection, receive: Receive) -> Call:
        headers: Headers = scope["headers"]
        content = await body.read(receive, headers, max_bytes=self._limits.max_body_bytes, within_s=self._limits.body_s)
        query: bytes = scope["query_string"]
        target = scope["raw_path"] + (b"?" + query if query else b"")
        if found.route.scope is not None:
            await self._authenticator.check(
                found.route.scope, method=scope["method"], target=target, headers=headers, body=content
            )
        return Call(scope["method"], found.values, paths.query(query), headers, content, receive)

    async def _send(self, response: Response | Stream, receive: Receive, send: Send) -> None:
        if isinstance(response, Response) or not response.is_live:
            await response.send(receive, send)
            return
        if len(self._live) >= self._limits.max_streams:
            limit = self._limits.max_streams
            refusal = HttpError("too_many_streams", f"{limit} readers follow something already.")
            await refused(refusal).send(receive, send)
            return
        task = asyncio.ensure_future(response.send(receive, send))
        self._live.add(task)
        task.add_done_callback(self._live.discard)
        try:
            with contextlib.suppress(asyncio.CancelledError):
                await task
        finally:
            task.cancel()
