"""A request as the routes see it."""

from collections.abc import Awaitable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, TypeVar

from flowd.api import json
from flowd.api.http import asgi
from flowd.api.http.auth import Sender
from flowd.api.http.guard import Headers, first
from flowd.api.http.responses import HttpError

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Call:
    """A request that was let in, with its body whole.

    Attributes:
        values: Of the path's placeholders, decoded.
        query: The first value of each name.
        sender: Who sends it, as far as it says, and what they may do.
        queries: All values of each name in the query.
        ends: Our address and the sender's, where it comes over TCP: that of a proxy if there is one.
    """

    method: str
    values: Mapping[str, str]
    query: Mapping[str, str]
    headers: Headers
    body: bytes
    receive: asgi.Receive
    sender: Sender
    queries: Mapping[str, Sequence[str]] = field(default_factory=dict)
    ends: tuple[tuple[str, int], tuple[str, int]] | None = None

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
            raise HttpError(
                "unsupported_media_type",
                "Send the body with Content-Type: application/json. What another system sends as a form or as text is "
                "taken at /hooks/NAME, once [hooks.NAME] in flowd.toml says how.",
            )
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
        """See `flowd.api.http.asgi.unless_gone`."""
        return await asgi.unless_gone(work, self.receive)


def decoded(body: bytes) -> Any:
    """JSON, or a refusal that says why it is none."""
    try:
        return json.decode(body)
    except RecursionError:
        raise HttpError("bad_request", "The JSON is nested too deeply.") from None
    except ValueError as error:
        raise HttpError("bad_request", f"The body is not JSON in UTF-8: {error}.") from None
