"""What an HTTP response means, flowd's own or the reference system's (which knows neither slugs nor JSON errors)."""

from collections.abc import Mapping
from json import loads
from typing import Any, NamedTuple

from flowd_client import wire
from flowd_client.errors import BadAnswerError, CallError, of_answer


class Reply(NamedTuple):
    """A response. Names of headers are lower-case."""

    status: int
    headers: Mapping[str, str]
    body: bytes


_SLUGS = {
    400: "bad_request",
    401: "unauthorized",
    403: "not_authorized",
    404: "not_found",
    413: "body_too_large",
    415: "unsupported_media_type",
    429: "too_many_requests",
}
"""By status, where the response has no slug."""

_TEXTS = {"event not found": "event_not_found", "run not found": "run_not_found"}
"""By the text of the reference system's errors."""


def read_json(reply: Reply, verb: str, target: str) -> Any:
    """The result in a response.

    Raises:
        CallError: It is a refusal; the message has ``failed with <status>`` in it, which programs look for.
        BadAnswerError: It is no JSON.
    """
    if not 200 <= reply.status < 300:
        raise _refusal(reply, verb, target)
    try:
        return loads(reply.body)
    except (ValueError, RecursionError) as error:
        raise BadAnswerError(
            f"The answer to {verb} {target} is not JSON ({error}). Is it flowd that listens there?"
        ) from error


def is_missing_route(reply: Reply) -> bool:
    """Whether the server does not know the path, as opposed to what the path names."""
    return reply.status == 404 and _members(reply).get("slug", "not_found") == "not_found" and not _known_text(reply)


def _refusal(reply: Reply, verb: str, target: str) -> CallError:
    members = _members(reply)
    said = members.get("message") or members.get("error")
    slug = members.get("slug")
    if not isinstance(slug, str):
        slug = _known_text(reply) or _SLUGS.get(reply.status) or ("refused" if reply.status == 503 else "internal")
    code = wire.FAILURES[slug].code if slug in wire.FAILURES else -32000
    what = f"{verb} {target.partition('?')[0]} failed with {reply.status}"
    if location := reply.headers.get("location"):
        said = f"it points to {location}, which is not followed"
    data = {name: value for name, value in members.items() if name not in ("error", "message")}
    return of_answer(
        {
            "code": code,
            "message": f"{what}: {said}" if isinstance(said, str) and said else f"{what}.",
            "data": {**data, "slug": slug, "httpStatus": reply.status},
        }
    )


def _known_text(reply: Reply) -> str | None:
    said = _members(reply).get("error")
    return _TEXTS.get(said) if isinstance(said, str) else None


def _members(reply: Reply) -> dict[str, Any]:
    try:
        value = loads(reply.body)
    except (ValueError, RecursionError):
        return {}
    return value if isinstance(value, dict) else {}
