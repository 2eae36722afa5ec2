"""Responses: whole ones, streams, and refusals as ``{error, slug, …}``. Never HTML, never a stack trace."""

import asyncio
from collections.abc import AsyncIterator, Hashable, Mapping
from dataclasses import dataclass, field
from typing import Any, ClassVar

from flowd.api import json
from flowd.api.failures import error_from
from flowd.api.http.asgi import Message, Receive, Send, unless_gone
from flowd_client import wire

COMMON = {"cache-control": "no-store", "x-content-type-options": "nosniff"}
"""On every response: it is never cached, and never taken for anything but what its type says."""

JSON = "application/json"

_TEXTS = {"event_not_found": "event not found", "run_not_found": "run not found"}
"""Texts that the reference system's clients know."""


class HttpError(Exception):
    """A refusal by HTTP alone, with its slug.

    Attributes:
        closes: The connection ends with it, because the rest of the request is of no use.
    """

    def __init__(
        self,
        slug: str,
        message: str,
        *,
        headers: Mapping[str, str] | None = None,
        closes: bool = False,
        **details: object,
    ) -> None:
        super().__init__(message)
        self.slug = slug
        self.message = message
        self.headers = dict(headers or {})
        self.closes = closes
        self.details = details

    @property
    def status(self) -> int:
        """Its HTTP status."""
        return wire.HTTP_FAILURES[self.slug][0]


@dataclass(frozen=True, slots=True)
class Response:
    """A response that is whole."""

    body: bytes
    media_type: str
    status: int = 200
    headers: Mapping[str, str] = field(default_factory=dict)
    is_live: ClassVar = False

    def without_body(self) -> "Response":
        """For a HEAD, which tells the length of what a GET would get; the protocol leaves the body out."""
        return self

    async def send(self, _: Receive, send: Send) -> None:
        """Send it."""
        headers = {"content-length": str(len(self.body)), "content-type": self.media_type, **self.headers}
        await send(_start(self.status, headers))
        await send({"type": "http.response.body", "body": self.body})


@dataclass(frozen=True, slots=True)
class Head:
    """The status and headers of a stream that nobody reads."""

    stream: "Stream"
    is_live: ClassVar = False

    async def send(self, _: Receive, send: Send) -> None:
        """Send them."""
        await self.stream.close()
        await send(_start(self.stream.status, self.stream.all_headers))
        await send(_LAST)


_LAST = {"type": "http.response.body", "body": b"", "more_body": False}


@dataclass(frozen=True, slots=True)
class Stream:
    """A response whose parts come over time.

    Attributes:
        is_live: It lasts until something happens, so it takes one of the places for streams.
        is_endless: It ends only because the daemon does, and that is no error: whoever reads it comes back. Another one
            that is ended early has no last chunk, so that its reader knows.
        reader: Who takes the place, where one reader must not take all of them.
    """

    parts: AsyncIterator[bytes]
    media_type: str
    is_live: bool
    is_endless: bool = False
    reader: Hashable = None
    status: int = 200
    headers: Mapping[str, str] = field(default_factory=dict)

    @property
    def all_headers(self) -> dict[str, str]:
        """With what keeps proxies from collecting parts that are wanted as they come."""
        unbuffered = {"cache-control": "no-store, no-transform", "x-accel-buffering": "no"} if self.is_live else {}
        return {"content-type": self.media_type, **unbuffered, **self.headers}

    def without_body(self) -> Head:
        """For a HEAD."""
        return Head(self)

    async def send(self, receive: Receive, send: Send) -> None:
        """Send all of it; ends early when the reader hangs up, or when this is cancelled.

        Raises:
            ClientGoneError: It hung up.
        """
        await send(_start(self.status, self.all_headers))
        try:
            await unless_gone(self._send_parts(send), receive)
        except asyncio.CancelledError:
            if self.is_endless:
                await send(_LAST)
            raise

    async def _send_parts(self, send: Send) -> None:
        try:
            async for part in self.parts:
                await send({"type": "http.response.body", "body": part, "more_body": True})
        finally:
            await self.close()
        await send(_LAST)

    async def close(self) -> None:
        """Nobody wants its parts any more."""
        close = getattr(self.parts, "aclose", None)
        if close is not None:
            await close()


def _start(status: int, headers: Mapping[str, str]) -> Message:
    raw = [(name.encode("latin-1"), value.encode("latin-1")) for name, value in {**COMMON, **headers}.items()]
    return {"type": "http.response.start", "status": status, "headers": raw}


def json_response(value: object, status: int = 200, headers: Mapping[str, str] | None = None) -> Response:
    """A JSON response.

    >>> json_response({"ok": True}).body
    b'{"ok":true}'
    """
    return Response(json.encode(value), JSON, status, headers or {})


def refused(refusal: HttpError) -> Response:
    """The response to what HTTP itself refuses."""
    headers = {**refusal.headers, **({"connection": "close"} if refusal.closes else {})}
    body = {"error": refusal.message, "slug": refusal.slug, **refusal.details}
    return json_response(body, refusal.status, headers)


def failed(error: Exception, *, route: str) -> Response:
    """The response to an exception: a deliberate one says what it is, another one only its id in the log."""
    failure = error_from(error, method=route)
    data: dict[str, Any] = failure["data"]
    slug: str = data["slug"]
    body: dict[str, Any] = {"error": _TEXTS.get(slug, failure["message"]), **data}
    if slug in _TEXTS:
        body["message"] = failure["message"]
    status = wire.FAILURES[slug].http_status
    retry = {"retry-after": "5"} if status in (429, 503) else {}
    return json_response(body, status, retry)
