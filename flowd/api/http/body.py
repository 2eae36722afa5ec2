"""Reads request bodies whole, within a size and a time."""

import asyncio

from flowd.api.http.asgi import ClientGoneError, Receive
from flowd.api.http.guard import Headers, first
from flowd.api.http.responses import HttpError


async def read(receive: Receive, headers: Headers, *, max_bytes: int, within_s: float) -> bytes:
    """The whole body.

    A length that is announced too large is refused before anything is read; one that is not announced is counted.

    Raises:
        HttpError: ``body_too_large``, ``request_timeout`` or ``bad_request``.
        ClientGoneError: The caller hung up in the middle.
    """
    length = first(headers, b"content-length")
    if length is not None and (not length.isdigit() or int(length) > max_bytes):
        raise _too_large(max_bytes)
    if length in (None, "0") and first(headers, b"transfer-encoding") is None:
        return b""
    try:
        async with asyncio.timeout(within_s):
            return await _whole(receive, max_bytes)
    except TimeoutError:
        message = f"The body did not arrive within {within_s:.0f} s."
        raise HttpError("request_timeout", message, closes=True) from None


async def _whole(receive: Receive, max_bytes: int) -> bytes:
    parts: list[bytes] = []
    size = 0
    while True:
        message = await receive()
        if message["type"] == "http.disconnect":
            raise ClientGoneError
        part = message.get("body", b"")
        size += len(part)
        if size > max_bytes:
            raise _too_large(max_bytes)
        parts.append(part)
        if not message.get("more_body"):
            return parts[0] if len(parts) == 1 else b"".join(parts)


def _too_large(max_bytes: int) -> HttpError:
    # Without `closes`: the connection lingers a moment and swallows the rest, or the caller would see a reset
    # connection instead of this response (RFC 9112, 9.6).
    return HttpError(
        "body_too_large",
        f"The body is larger than {max_bytes} bytes. Put large data into a file, and its path into the event; "
        f"or raise max_payload_bytes or [http] max_body_bytes.",
        maxBodyBytes=max_bytes,
    )
