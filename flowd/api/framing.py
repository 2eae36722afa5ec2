"""Bytes of a connection to messages and back. Two framings, told apart by a connection's first bytes.

Newline: one JSON value a line. LSP: ``Content-Length: n``, an empty line, n bytes. Pure: no sockets here.
"""

from dataclasses import dataclass

_LSP_START = b"content-"
_MAX_HEADER_BYTES = 4096


class FramingError(Exception):
    """The bytes are no frames; nothing after them can be understood, so the connection ends."""


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
        self._searched = 0  # of the buffer, for a newline
        self._to_skip = 0  # of an oversize LSP body, still to come
        self._oversize = 0  # its whole length

    def feed(self, data: bytes) -> list[bytes | Oversize]:
        """The messages that are complete with this piece.

        Raises:
            FramingError: LSP headers without a valid ``Content-Length``.
        """
        self._buffer += data
        if self._is_lsp is None:
            self._buffer = self._buffer.lstrip()  # however much comes: blanks before the first byte say nothing
            start = self._buffer[: len(_LSP_START)].lower()
            if not start or (len(start) < len(_LSP_START) and _LSP_START.startswith(start)):
                return []
            self._is_lsp = start == _LSP_START
        return self._lsp() if self._is_lsp else self._lines()

    def finish(self) -> list[bytes | Oversize]:
        """What is left when the other end writes no more: a last line that no newline ended, as ``printf`` sends it."""
        rest, self._buffer = bytes(self._buffer).strip(), bytearray()
        if self._is_lsp or not (rest or self._skipped):
            return []
        return [Oversize(self._skipped + len(rest)) if self._skipped else rest]

    def frame(self, message: bytes) -> bytes:
        """A message as this connection's other end framed its own."""
        return b"Content-Length: %d\r\n\r\n%b" % (len(message), message) if self._is_lsp else message + b"\n"

    def _lines(self) -> list[bytes | Oversize]:
        found: list[bytes | Oversize] = []
        start = 0
        while (end := self._buffer.find(b"\n", max(start, self._searched))) >= 0:
            size = end - start
            if self._skipped or size > self._max:
                found.append(Oversize(self._skipped + size))
                self._skipped = 0
            else:
                line = bytes(self._buffer[start:end]).strip()
                if line:
                    found.append(line)
            start = end + 1
        del self._buffer[:start]
        if len(self._buffer) > self._max:
            self._skipped += len(self._buffer)
            self._buffer.clear()
        self._searched = len(self._buffer)
        return found

    def _lsp(self) -> list[bytes | Oversize]:
        found: list[bytes | Oversize] = []
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
