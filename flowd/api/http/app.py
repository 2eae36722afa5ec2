"""The ASGI application.

Each request passes the same gates in this order: limits, page guard, path, the sender as far as headers tell, body, the
sender's signature.
"""

import asyncio
import contextlib
import logging
import time
from collections.abc import Hashable, Sequence

from flowd.api.http import cloud_events, paths, peer
from flowd.api.http.asgi import ClientGoneError, Connection, Message, Receive, Send
from flowd.api.http.auth import Authenticator, Sender
from flowd.api.http.body import Bodies
from flowd.api.http.call import Call
from flowd.api.http.config import Limits
from flowd.api.http.guard import Guard, Headers, first
from flowd.api.http.paths import PathTable
from flowd.api.http.refusals import Refusals
from flowd.api.http.responses import Head, HttpError, Response, Stream, failed, refused
from flowd.api.http.route import Route, Site
from flowd.api.http.tally import RequestTally
from flowd.domain.people import Person

log = logging.getLogger("flowd.api.http")

_NO_WEBSOCKET = (
    "flowd has no WebSocket. Its JSON-RPC 2.0, with the same methods, is on the control socket "
    "(.codex/flowd/flowd.sock); over HTTP each has a route (GET /openapi.json), and GET /stream tells what happens."
)


class HttpApp:
    """An ASGI application."""

    def __init__(
        self,
        routes: Sequence[Route],
        *,
        guard: Guard,
        authenticator: Authenticator,
        limits: Limits,
        tally: RequestTally,
        base_path: str = "",
        site: Site | None = None,
    ) -> None:
        self._site = site
        self._paths: PathTable[Route] = PathTable((route.verb, route.path, route) for route in routes)
        self._guard = guard
        self._authenticator = authenticator
        self._limits = limits
        self._base_path = base_path.encode()
        self._bodies = Bodies(max_bytes=limits.max_body_bytes, within_s=limits.body_s)
        self._refusals = Refusals(log, "request refused")
        self._tally = tally
        self._live: dict[asyncio.Task[None], Hashable] = {}

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
                found = self._paths.find(scope["method"], self._path(scope))
                label = found.route.name
                call = await self._call(found, scope, receive)
                response = await found.route.respond(call)
            except HttpError as refusal:
                self._note(refusal, scope, label)
                response = await self._refused(refusal, scope, label)
            except (ClientGoneError, asyncio.CancelledError):
                raise
            except Exception as error:  # noqa: BLE001 - every exception becomes a response, and none shows its text
                response = failed(error, route=label)
            status = response.status
            await self._send(response.without_body() if scope["method"] == "HEAD" else response, receive, send)
        except ClientGoneError:
            log.debug("caller hung up", extra={"route": label})
        finally:
            self._tally.note(label, status, time.perf_counter() - began_s)

    async def _refused(self, refusal: HttpError, scope: Connection, label: str) -> Response:
        is_of_site = label == "none" and refusal.slug in ("not_found", "method_not_allowed")
        if is_of_site and self._site is not None and self._path(scope).startswith(b"/ui/"):
            headers: Headers = scope["headers"]
            if "text/html" in (first(headers, b"accept") or ""):
                return await self._site.refused(refusal, headers)
        return refused(refusal)

    def _note(self, refusal: HttpError, scope: Connection, label: str) -> None:
        # A hook's refusals are in the log already, with more to them.
        if refusal.status in (401, 403) and not label.startswith("POST /hooks/"):
            self._refusals.note(refusal.slug, route=label, peer=peer.host(scope), reason=refusal.message[:200])

    def _admit(self, scope: Connection) -> None:
        size = scope.get("state", {}).get("header_bytes", 0) + len(scope["raw_path"]) + len(scope["query_string"])
        if size > self._limits.max_header_bytes:
            limit = self._limits.max_header_bytes
            raise HttpError("headers_too_large", f"The URL and headers are larger than {limit} bytes.", closes=True)
        headers: Headers = scope["headers"]
        is_for_page = scope["method"] == "GET" and self._path(scope).startswith(b"/ui/")
        self._guard.check(headers, is_for_page=is_for_page)
        if (first(headers, b"upgrade") or "").lower() == "websocket":
            raise HttpError("no_websocket", _NO_WEBSOCKET)
        coding = (first(headers, b"content-encoding") or "identity").lower()
        if coding != "identity":
            message = f"The body is compressed ({coding[:40]!r}), and flowd takes none such. Send it as it is."
            raise HttpError("unsupported_media_type", message, headers={"accept-encoding": "identity"})

    def _path(self, scope: Connection) -> bytes:
        """The path below the base path, whether or not a proxy has taken that away."""
        path: bytes = scope["raw_path"]
        return path.removeprefix(self._base_path) if path.startswith(self._base_path + b"/") else path

    async def _call(self, found: paths.Found[Route], scope: Connection, receive: Receive) -> Call:
        headers: Headers = scope["headers"]
        route, method = found.route, scope["method"]
        if route.admit is not None:
            route.admit(found.values, headers)
        sender = self._admitted(route, headers)
        content = await self._bodies.read(receive, headers, is_proven=sender is not None)
        query: bytes = scope["query_string"]
        if route.scope is not None and sender is None:
            rest = b"?" + query if query else b""
            arrived = {self._base_path + self._path(scope) + rest, self._path(scope) + rest}
            sender = await self._authenticator.check(
                route.scope,
                method=method,
                targets=[*(arrived - {scope["raw_path"] + rest}), scope["raw_path"] + rest],
                headers=headers,
                body=content,
                is_v1_enough=(route.is_repeatable and not cloud_events.is_binary(headers)) or peer.is_local(scope),
            )
        stranger = Sender(Person("http"), frozenset())
        values = paths.query(query)
        firsts = {name: of_name[0] for name, of_name in values.items()}
        return Call(
            method, found.values, firsts, headers, content, receive, sender or stranger, values, peer.ends(scope)
        )

    def _admitted(self, route: Route, headers: Headers) -> Sender | None:
        if route.scope is None:
            return None
        return self._authenticator.admit(route.scope, headers, takes_session=route.takes_session)

    def _no_place(self, reader: Hashable) -> HttpError | None:
        """Why there is no place for one more stream; None where there is."""
        limit = self._limits.max_streams
        if len(self._live) >= limit:
            return HttpError("too_many_streams", f"{limit} readers follow something already.")
        share = max(1, limit * 3 // 4)
        if reader is not None and sum(other == reader for other in self._live.values()) >= share:
            return HttpError("too_many_streams", f"You follow {share} pages already; the rest is for others.")
        return None

    async def _send(self, response: Response | Head | Stream, receive: Receive, send: Send) -> None:
        if not response.is_live:
            await response.send(receive, send)
            return
        reader = response.reader if isinstance(response, Stream) else None
        if (refusal := self._no_place(reader)) is not None:
            await refused(refusal).send(receive, send)
            return
        has_begun = False

        async def noted(message: Message) -> None:
            nonlocal has_begun
            has_begun = True
            await send(message)

        task = asyncio.ensure_future(response.send(receive, noted))
        self._live[task] = reader
        task.add_done_callback(self._live.pop)
        try:
            with contextlib.suppress(asyncio.CancelledError):
                await task
        finally:
            task.cancel()
        if not has_begun:  # it was ended before its first turn
            gone = HttpError("not_ready", "The daemon is about to exit; ask the next one.", closes=True)
            await refused(gone).send(receive, send)
