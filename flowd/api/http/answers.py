"""Responses: JSON with the shapes of the wire, and refusals as ``{error, slug, …}``. Never HTML, never a trace."""

from collections.abc import Mapping
from typing import Any

from starlette.responses import Response

from flowd.api import codec
from flowd.api.failures import error_from
from flowd_client import wire

COMMON = {"cache-control": "no-store", "x-content-type-options": "nosniff"}
"""On every response: answers are never cached, and never taken for anything but what they say they are."""

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


def json_answer(value: object, status: int = 200, headers: Mapping[str, str] | None = None) -> Response:
    """A JSON response.

    >>> json_answer({"ok": True}).body
    b'{"ok":true}'
    """
    return Response(codec.encode(value), status, {**COMMON, **(headers or {})}, media_type="application/json")


def refused(refusal: HttpError) -> Response:
    """The response to what HTTP itself refuses."""
    headers = {**refusal.headers, **({"connection": "close"} if refusal.closes else {})}
    body = {"error": refusal.message, "slug": refusal.slug, **refusal.details}
    return json_answer(body, refusal.status, headers)


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
    return json_answer(body, status, retry)
