"""Frames between the daemon and its keeper: one JSON object a line, then as many raw bytes as its ``body_bytes`` says.

Both sides import this module; it must stay as small as the keeper. The frames:

- to the keeper: ``hello``, ``adopt`` (each with one pidfd by SCM_RIGHTS), ``start`` (its body is the step's stdin),
  ``stop``, ``lease``, ``forget``, ``restore``, ``end``, ``quit``;
- from it: ``hello`` (its body is the JSON list of all records), ``started``, ``refused``, ``exited``, ``replaced``
  (another daemon has connected), ``bad`` (a frame it did not understand).
"""

from __future__ import annotations

import json

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

VERSION = 1
"""Sent in ``hello`` by both sides. A reader ignores members it does not know, so additions do not raise it."""

LISTEN_FD = 3
"""The listening socket, open when the keeper is started."""
LOCK_FD = 4
"""The lock, held for as long as the keeper lives. It is inherited open, and nothing ever closes it."""

MAX_HEADER_BYTES = 1 << 20
MAX_BODY_BYTES = 64 << 20

_encoder = json.JSONEncoder(separators=(",", ":"))
_make_encode = getattr(json.encoder, "c_make_encoder", None)
if _make_encode:  # which `encode` calls anew for each value, and that takes as long as to encode a frame
    _escape = json.encoder.encode_basestring_ascii
    _encode = _make_encode(None, _encoder.default, _escape, None, ":", ",", False, False, True)  # noqa: FBT003


def dumps(value: Any) -> str:
    """Compact JSON in ASCII: undecodable bytes of file names travel as lone surrogates and come back as they were."""
    return "".join(_encode(value, 0)) if _make_encode else _encoder.encode(value)


_decode = json.JSONDecoder().decode


class FrameError(Exception):
    """The peer does not speak this protocol; nothing after this point in the stream can be trusted."""


def encode(header: dict[str, Any], body: bytes = b"") -> bytes:
    r"""A frame, ready to send.

    >>> encode({"op": "start"}, b"{}")
    b'{"op":"start","body_bytes":2}\n{}'

    Raises:
        FrameError: The header or the body is larger than a frame may be.
    """
    if body:
        header = {**header, "body_bytes": len(body)}
    line = dumps(header).encode()
    if len(line) >= MAX_HEADER_BYTES:
        raise FrameError(f"the header has {len(line)} bytes, at most {MAX_HEADER_BYTES} are allowed")
    if len(body) > MAX_BODY_BYTES:
        raise FrameError(f"the body has {len(body)} bytes, at most {MAX_BODY_BYTES} are allowed")
    return line + b"\n" + body


class FrameReader:
    """Cuts a byte stream into frames, however it arrives."""

    def __init__(self) -> None:
        self._buffer = bytearray()
        self._header: dict[str, Any] | None = None  # read already; its body is awaited
        self._body_bytes = 0
        self._scanned = 0  # no newline before here

    def feed(self, data: bytes) -> list[tuple[dict[str, Any], bytes]]:
        r"""Take what was received and return the frames that are complete now.

        >>> FrameReader().feed(b'{"op":"a"}\n{"op":"b","body_bytes":3}\nxyz{"op"')
        [({'op': 'a'}, b''), ({'op': 'b', 'body_bytes': 3}, b'xyz')]

        Raises:
            FrameError: These bytes are no frame, or one that is too large.
        """
        self._buffer += data
        frames = []
        while (frame := self._next()) is not None:
            frames.append(frame)
        return frames

    def _next(self) -> tuple[dict[str, Any], bytes] | None:
        if self._header is None:
            line = self._line()
            if line is None:
                return None
            self._header = _parse(line)
            self._body_bytes = _body_bytes(self._header)
        if len(self._buffer) < self._body_bytes:
            return None
        header, self._header = self._header, None
        body = bytes(self._buffer[: self._body_bytes])
        del self._buffer[: self._body_bytes]
        return header, body

    def _line(self) -> bytes | None:
        end = self._buffer.find(b"\n", self._scanned)
        if max(end, len(self._buffer) if end < 0 else 0) >= MAX_HEADER_BYTES:
            raise FrameError(f"a header of more than {MAX_HEADER_BYTES} bytes")
        if end < 0:
            self._scanned = len(self._buffer)
            return None
        line = bytes(self._buffer[:end])
        del self._buffer[: end + 1]
        self._scanned = 0
        return line


def _parse(line: bytes) -> dict[str, Any]:
    try:
        header = _decode(line.decode("utf-8", "surrogatepass"))
    except (ValueError, RecursionError) as error:
        raise FrameError(f"a header that is not JSON: {error}") from None
    if not isinstance(header, dict):
        raise FrameError("a header that is not an object")
    return header


def _body_bytes(header: dict[str, Any]) -> int:
    size = header.get("body_bytes", 0)
    if type(size) is not int or not 0 <= size <= MAX_BODY_BYTES:
        raise FrameError(f"body_bytes must be 0..{MAX_BODY_BYTES}")
    return size
