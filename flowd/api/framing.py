"""Cuts the bytes of a connection into messages. Two framings, told apart by a connection's first bytes.

Newline: one JSON value a line. LSP: ``Content-Length: n``, an empty line, n bytes. Pure: no sockets here.
"""

from dataclasses import dataclass

_LSP_START = b"content-"
_MAX_HEADER_BYTES = 4096


class FramingError(Exception):
    """The bytes are not framed in either way; nothing after them can be understood, so the connection ends."""


@dataclass(frozen=True, slots=True)
class Oversize:
    """Stands for a frame that was larger than allowed. Its bytes were skipped; the next frame is read as usual."""

    bytes: int


class Framer:
    """Takes bytes in pieces as they come, gives whole messages."""

    def __init__(self, *, max_frame_bytes: int) -> None:
        self._max = max_frame_bytes
        self._buffer = bytearray()
        self._is_lsp: bool | None = None
        self._skipped = 0  # of an oversize line, so far
        self._to_skip = 0  # of an oversize LSP body, still to come
        self._oversize = 0  # its whole length

    def feed(self, data: bytes) -> list[bytes | Oversize]:
        """The messages that are complete with this piece.

        Raises:
            FramingError: LSP headers without a valid ``Content-Length``.
        """
        if self._is_lsp is None:
            # However much comes: blanks before the first byte say nothing.
            data = bytes(self._buffer + data).lstrip()
            self._buffer.clear()
            start = data[: len(_LSP_START)].lower()
            if not start or (len(start) < len(_LSP_START) and _LSP_START.startswith(start)):
                self._buffer += data
                return []
            self._is_lsp = start == _LSP_START
        return self._lsp(data) if self._is_lsp else self._lines(data)

    def finish(self) -> list[bytes | Oversize]:
        """What is left when the other end writes no more: a last line that no newline ended, as ``printf`` sends it."""
        rest, self._buffer = bytes(self._buffer).strip(), bytearray()
        if self._is_lsp or not (rest or self._skipped):
            return []
        return [Oversize(self._skipped + len(rest)) if self._skipped else rest]

    def frame(self, message: bytes) -> bytes:
        """A message as this connection's other end framed its own."""
        return b"Content-Length: %d\r\n\r\n%b" % (len(message), message) if self._is_lsp else message + b"\n"

    def _lines(self, data: bytes) -> list[bytes | Oversize]:
        found: list[bytes | Oversize] = []
        *whole, rest = data.split(b"\n")
        for line in whole:
            if self._buffer:
                line = bytes(self._buffer + line)  # noqa: PLW2901 - its beginning came before
                self._buffer.clear()
            size = self._skipped + len(line)
            if size > self._max:
                found.append(Oversize(size))
            elif line := line.strip():
                found.append(line)
            self._skipped = 0
        self._buffer += rest
        if len(self._buffer) > self._max:
            self._skipped += len(self._buffer)
            self._buffer.clear()
        return found

    def _lsp(self, data: bytes) -> list[bytes | Oversize]:
        found: list[bytes | Oversize] = []
        self._buffer += data
        while True:
            if self._to_skip:
                dropped = min(self._to_skip, len(self._buffer))
                del self._buffer[:dropped]
                self._to_skip -= dropped
                if self._to_skip:
                    return found
                found.append(Oversize(self._oversize))
            end = self._buffer.find(b"\r\n\r\n")
            if end < 0:
                if len(self._buffer) > _MAX_HEADER_BYTES:
                    raise FramingError(f"No end of the headers within {_MAX_HEADER_BYTES} bytes.")
                return found
            length = _content_length(bytes(self._buffer[:end]))
            body = end + 4
            if length > self._max:
                del self._buffer[:body]
                self._to_skip = self._oversize = length
                continue
            if len(self._buffer) < body + length:
                return found
            found.append(bytes(self._buffer[body : body + length]))
            del self._buffer[: body + length]


def _content_length(headers: bytes) -> int:
    for line in headers.split(b"\r\n"):
        name, _, value = line.partition(b":")
        if name.strip().lower() == b"content-length":
            text = value.strip()
            if text.isdigit() and len(text) < 16:
                return int(text)
            break
    raise FramingError("The headers have no valid Content-Length.")
