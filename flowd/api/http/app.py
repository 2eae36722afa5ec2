"""The application: every request through the same gates, in order: limits, page guard, path, body, sender, route."""

import asyncio
import contextlib
import logging
import time

from starlette.responses import Response
from starlette.types import Receive, Scope, Send

from flowd.api.http import body, paths
from flowd.api.http.answers import HttpError, failed, refused
from flowd.api.http.auth import Authenticator
from flowd.api.http.body import ClientGoneError
from flowd.api.http.call import Call, Stream
from flowd.api.http.config import Limits
from flowd.api.http.guard import Guard, Headers
from flowd.api.http.metrics import Metrics
from flowd.api.http.paths import PathTable
from flowd.api.http.routes import Answer, Route, Routes

log = logging.getLogger("flowd.api.http")

_ACTIVE_BODY = frozenset({"POST", "PUT", "PATCH", "DELETE"})


class HttpApp:
    """An ASGI application."""

    def __init__(
        self, routes: Routes, *, guard: Guard, authenticator: Authenticator, limits: Limits, metrics: Metrics
    ) -> None:
        self._paths: PathTable[Route] = PathTable((route.method, route.path, route) for route in routes.all)
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

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request."""
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
                answer = await found.route.answer(call)
            except HttpError as refusal:
                answer = refused(refusal)
            except (ClientGoneError, asyncio.CancelledError):
                raise
            except Exception as error:  # noqa: BLE001 - every exception has its answer, and none shows its text
                answer = failed(error, route=label)
            status = _status(answer)
            await self._send(answer, scope, receive, send)
        except ClientGoneError:
            log.debug("caller hung up", extra={"route": label})
        finally:
            self._metrics.note(label, status, time.perf_counter() - began_s)

    def _admit(self, scope: Scope) -> None:
        size = scope.get("state", {}).get("header_bytes", 0) + len(scope["raw_path"]) + len(scope["query_string"])
        if size > self._limits.max_header_bytes:
            limit = self._limits.max_header_bytes
            raise HttpError("headers_too_large", f"The URL and headers are larger than {limit} bytes.", closes=True)
        self._guard.check(scope["headers"])

    async def _call(self, found: paths.Found[Route], scope: Scope, receive: Receive) -> Call:
        headers: Headers = scope["headers"]
        content = await body.read(receive, headers, max_bytes=self._limits.max_body_bytes, within_s=self._limits.body_s)
        query: bytes = scope["query_string"]
        target = scope["raw_path"] + (b"?" + query if query else b"")
        if found.route.scope is not None:
            await self._authenticator.check(
                found.route.scope, method=scope["method"], target=target, headers=headers, body=content
            )
        return Call(scope["method"], found.values, paths.query(query), headers, content, receive)

    async def _send(self, answer: Answer, scope: Scope, receive: Receive, send: Send) -> None:
        if isinstance(answer, Response):
            await answer(scope, receive, send)
            return
        call = Call(scope["method"], {}, {}, scope["headers"], b"", receive)
        if not answer.is_live:
            await answer.send(call, send)
            return
        if len(self._live) >= self._limits.max_streams:
            limit = self._limits.max_streams
            await refused(HttpError("too_many_streams", f"{limit} readers follow something already."))(
                scope, receive, send
            )
            return
        task = asyncio.ensure_future(answer.send(call, send))
        self._live.add(task)
        task.add_done_callback(self._live.discard)
        try:
            with contextlib.suppress(asyncio.CancelledError):
                await task
        finally:
            task.cancel()


def _status(answer: Response | Stream) -> int:
    return answer.status if isinstance(answer, Stream) else answer.status_code
