"""A request as the routes see it, and the two ways of answering: a response, or a stream."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Mapping
from dataclasses import dataclass, field
from typing import Any, TypeVar

from starlette.types import Receive, Send

from flowd.api import codec
from flowd.api.http.answers import COMMON, HttpError
from flowd.api.http.body import ClientGoneError
from flowd.api.http.guard import Headers, first

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Call:
    """A request that was let in, with its body whole.

    Attributes:
        values: Of the path's placeholders, decoded.
        query: The first value of each name.
    """

    method: str
    values: Mapping[str, str]
    query: Mapping[str, str]
    headers: Headers
    body: bytes
    receive: Receive

    def header(self, name: bytes) -> str | None:
        """The first header of this (lower-case) name."""
        return first(self.headers, name)

    @property
    def media_type(self) -> str:
        """The Content-Type without its parameters, lower-case; empty where there is none."""
        return (self.header(b"content-type") or "").partition(";")[0].strip().lower()

    def json(self) -> Any:
        """The body as JSON.

        Raises:
            HttpError: ``unsupported_media_type`` or ``bad_request``.
        """
        kind = self.media_type
        if kind != "application/json" and not (kind == "" and not self.body):
            raise HttpError("unsupported_media_type", "Send the body with Content-Type: application/json.")
        return decoded(self.body)

    def json_if_any(self) -> Any:
        """The body as JSON where the route can do without one; None where there is none, whatever its announced type.

        Raises:
            HttpError: As `json`. A type that is not JSON's is refused even without a body: a page could send that.
        """
        if not self.body and self.media_type in ("", "application/json"):
            return None
        return self.json()

    async def unless_gone(self, work: Awaitable[T]) -> T:
        """The work's value; it is cancelled when the caller hangs up first.

        Raises:
            ClientGoneError: The caller hung up.
        """
        worker = asyncio.ensure_future(work)
        gone = asyncio.ensure_future(self._hung_up())
        try:
            await asyncio.wait((worker, gone), return_when=asyncio.FIRST_COMPLETED)
            if worker.done():
                return worker.result()
            raise ClientGoneError
        finally:
            worker.cancel()
            gone.cancel()
            await asyncio.gather(worker, gone, return_exceptions=True)

    async def _hung_up(self) -> None:
        while (await self.receive())["type"] != "http.disconnect":
            pass


def decoded(body: bytes) -> Any:
    """JSON, or a refusal that says why it is none."""
    try:
        return codec.decode(body)
    except RecursionError:
        raise HttpError("bad_request", "The JSON is nested too deeply.") from None
    except ValueError as error:
        raise HttpError("bad_request", f"The body is not JSON in UTF-8: {error}.") from None


_LAST = {"type": "http.response.body", "body": b"", "more_body": False}


@dataclass(frozen=True, slots=True)
class Stream:
    """A response whose parts come over time.

    Attributes:
        is_live: It lasts until something happens, so it takes one of the places for streams.
        is_endless: It ends only because the daemon does, and that is no error: whoever reads it comes back. Another one
            that is ended early has no last chunk, so that its reader knows.
    """

    parts: AsyncIterator[bytes]
    media_type: str
    is_live: bool
    is_endless: bool = False
    status: int = 200
    headers: Mapping[str, str] = field(default_factory=dict)

    async def send(self, call: Call, send: Send) -> None:
        """Send all of it; ends early when the reader hangs up, or when this is cancelled.

        Raises:
            ClientGoneError: It hung up.
        """
        headers = {**COMMON, "content-type": self.media_type, **self.headers}
        raw = [(name.encode("latin-1"), value.encode("latin-1")) for name, value in headers.items()]
        await send({"type": "http.response.start", "status": self.status, "headers": raw})
        try:
            await call.unless_gone(self._send_parts(send))
        except asyncio.CancelledError:
            if self.is_endless:
                await send(_LAST)
            raise

    async def _send_parts(self, send: Send) -> None:
        try:
            async for part in self.parts:
                await send({"type": "http.response.body", "body": part, "more_body": True})
        finally:
            close = getattr(self.parts, "aclose", None)
            if close is not None:
                await close()
        await send(_LAST)
