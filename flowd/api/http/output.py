"""``GET /runs/{runId}/output``: the bytes a step wrote, whole, in ranges, or as they come."""

import base64
import re
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any

from flowd.api.http.call import Call
from flowd.api.http.responses import HttpError, Response, Stream
from flowd.api.shapes.output import OutputView, ReadOutput

ReadPart = Callable[[ReadOutput], Awaitable[OutputView]]

_CHUNK_BYTES = 256 * 1024
_WAIT_MS = 15_000
_RANGE = re.compile(r"bytes=([0-9]*)-([0-9]*)")


async def respond(
    call: Call, given: ReadOutput, read: ReadPart, *, is_following: bool, may_mask: bool
) -> Response | Stream:
    """The output as the request wants it.

    ``given`` names the run, the stream, the attempt and the first byte. A single ``Range`` gives 206 (RFC 9110, 14);
    a range in an unknown form is ignored, as the RFC says. Where secrets may be masked in it, no length is known before
    all of it has been read, and there are no ranges; likewise where some of it is on another host alone.

    Raises:
        HttpError: ``range_not_satisfiable``.
    """
    exact: dict[str, Any] = {
        "run_id": given.run_id,
        "stream": given.stream,
        "attempt": given.attempt,
        "encoding": "base64",
    }
    first = await read(ReadOutput(**exact, offset=given.offset, max_bytes=1))
    kind = _media_type(call)
    if is_following:
        return Stream(_follow(exact, given.offset, read), kind, is_live=True)
    size = first.size
    begin, end = given.offset, size
    has_gap = first.shared is not None and first.shared.missing is not None
    if (may_mask or has_gap) and begin < end:
        return Stream(_slice(exact, begin, end, read), kind, is_live=False, headers={"accept-ranges": "none"})
    wanted = _range(call.header(b"range"), size)
    headers = {"accept-ranges": "bytes"}
    status = 200
    if wanted is not None:
        begin, end = wanted
        if begin >= end:
            message = f"The output has {size} bytes so far; the range begins after them."
            raise HttpError("range_not_satisfiable", message, headers={"content-range": f"bytes */{size}"}, size=size)
        status = 206
        headers["content-range"] = f"bytes {begin}-{end - 1}/{size}"
    headers["content-length"] = str(max(0, end - begin))
    if end <= begin:
        return Response(b"", kind, status, headers)
    return Stream(_slice(exact, begin, end, read), kind, is_live=False, status=status, headers=headers)


def _media_type(call: Call) -> str:
    if "application/octet-stream" in (call.header(b"accept") or ""):
        return "application/octet-stream"
    return "text/plain; charset=utf-8"


def _range(header: str | None, size: int) -> tuple[int, int] | None:
    """First byte and the one after the last; None for no range.

    >>> _range("bytes=2-3", 10), _range("bytes=8-", 10), _range("bytes=-3", 10), _range("bytes=0-1,3-4", 10)
    ((2, 4), (8, 10), (7, 10), None)
    >>> _range("bytes=99999999999999999999-", 10), _range("bytes=0-99999999999999999999", 10)
    ((9999999999999999999, 10), (0, 10))
    """
    match = _RANGE.fullmatch(header.replace(" ", "")) if header else None
    if match is None or match[0] == "bytes=-":
        return None
    first, last = match.groups()
    if not first:
        return max(0, size - _number(last)), size if _number(last) else 0
    if last and _number(last) < _number(first):
        return None
    return _number(first), min(size, _number(last) + 1) if last else size


def _number(digits: str) -> int:
    """Of any length: what is larger than every file may be smaller than it says.

    >>> _number("0" * 5000 + "7"), _number("9" * 5000)
    (7, 9999999999999999999)
    """
    return int(digits.lstrip("0")[:19] or 0)


async def _slice(exact: dict[str, Any], begin: int, end: int, read: ReadPart) -> AsyncIterator[bytes]:
    while begin < end:
        part = await read(ReadOutput(**exact, offset=begin, max_bytes=min(_CHUNK_BYTES, end - begin)))
        data = base64.b64decode(part.text)
        if not data:
            return  # The file was cut meanwhile; the length that was promised tells the reader.
        begin = part.next_offset  # what is masked has another length
        yield data


async def _follow(exact: dict[str, Any], begin: int, read: ReadPart) -> AsyncIterator[bytes]:
    while True:
        part = await read(ReadOutput(**exact, offset=begin, max_bytes=_CHUNK_BYTES, wait_ms=_WAIT_MS))
        data = base64.b64decode(part.text)
        begin = part.next_offset
        if data:
            yield data
        if part.eof:
            return
