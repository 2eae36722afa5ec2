"""HTTP/1.1 as a pure machine: a request as bytes, and a response out of the bytes that come."""

from collections.abc import Callable, Mapping

from flowd_client._core.http_responses import Reply
from flowd_client._core.jsonrpc import MAX_FRAME_BYTES
from flowd_client.errors import BadAnswerError

_MAX_HEAD_BYTES = 64 * 1024


def request_bytes(verb: str, target: str, headers: Mapping[str, str], body: bytes | None) -> bytes:
    r"""A request as it is sent.

    >>> request_bytes("GET", "/runs", {"host": "x"}, None)
    b'GET /runs HTTP/1.1\r\nhost: x\r\n\r\n'
    """
    lines = [f"{verb} {target} HTTP/1.1", *(f"{name}: {value}" for name, value in headers.items())]
    if body is not None:
        lines.append(f"content-length: {len(body)}")
    return "\r\n".join([*lines, "", ""]).encode() + (body or b"")


class Response:
    r"""A response as it comes.

    >>> response = Response()
    >>> response.feed(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nyes\r\n")
    >>> response.status, bytes(response.body), response.is_complete
    (200, b'yes', False)
    >>> response.feed(b"0\r\n\r\n")
    >>> response.is_complete, response.keeps_connection
    (True, True)

    Attributes:
        status: 0 until the head is there.
        headers: With names in lower case.
        body: What has come of it; whoever follows it takes it out.
        is_complete: Nothing more belongs to it.
    """

    def __init__(self) -> None:
        self.status = 0
        self.headers: dict[str, str] = {}
        self.body = bytearray()
        self.is_complete = False
        self._may_keep = False
        self._is_chunked = False
        self._unread = bytearray()
        self._left_bytes = 0
        self._is_at_end = False
        self._step: Callable[[], bool] = self._read_head

    def feed(self, data: bytes) -> None:
        """Take what came; empty is the end of the connection.

        Raises:
            BadAnswerError: It is no HTTP, or too long.
            EOFError: The connection ended before the response did.
        """
        self._unread += data
        self._is_at_end = not data
        while not self.is_complete and self._step():
            pass
        if len(self.body) > MAX_FRAME_BYTES:
            raise BadAnswerError(f"The server's answer is longer than {MAX_FRAME_BYTES} bytes.")
        if self._is_at_end and not self.is_complete:
            raise EOFError

    @property
    def keeps_connection(self) -> bool:
        """Whether the connection can be used for another request after it."""
        return self._may_keep and self.is_complete and not self._unread

    @property
    def reply(self) -> Reply:
        """All of it."""
        return Reply(self.status, self.headers, bytes(self.body))

    def _line(self, end: bytes) -> bytes | None:
        """What comes before ``end``, which is taken, too; None until it is there."""
        at = self._unread.find(end)
        if at < 0:
            if len(self._unread) > _MAX_HEAD_BYTES:
                raise BadAnswerError(f"The server's answer has a header longer than {_MAX_HEAD_BYTES} bytes.")
            return None
        line = bytes(self._unread[:at])
        del self._unread[: at + len(end)]
        return line

    def _read_head(self) -> bool:
        head = self._line(b"\r\n\r\n")
        if head is None:
            return False
        first, *lines = head.decode("latin-1").split("\r\n")
        version, _, rest = first.partition(" ")
        if not version.startswith("HTTP/1.") or not (rest[:3].isascii() and rest[:3].isdigit()):
            raise BadAnswerError(f"The server's answer is not HTTP: {first[:80]!r}.")
        if int(rest[:3]) < 200:
            return True  # another head follows
        self.status = int(rest[:3])
        pairs = (line.partition(":") for line in lines)
        self.headers = {name.strip().lower(): value.strip() for name, _, value in pairs}
        self._may_keep = version == "HTTP/1.1" and self.headers.get("connection", "").lower() != "close"
        self._begin_body()
        return True

    def _begin_body(self) -> None:
        length = self.headers.get("content-length")
        if self.status in (204, 304):
            self.is_complete = True
        elif "chunked" in self.headers.get("transfer-encoding", "").lower():
            self._is_chunked = True
            self._step = self._read_chunk_size
        elif length is None:
            self._may_keep = False
            self._step = self._read_to_the_end
        elif not (length.isascii() and length.isdigit() and len(length) < 20) or int(length) > MAX_FRAME_BYTES:
            raise BadAnswerError(f"The server's answer has a content-length of {length[:30]!r}.")
        else:
            self._left_bytes = int(length)
            self._step = self._read_part

    def _read_to_the_end(self) -> bool:
        self.body += self._unread
        self._unread.clear()
        self.is_complete = self._is_at_end
        return False

    def _read_part(self) -> bool:
        part = self._unread[: self._left_bytes]
        del self._unread[: self._left_bytes]
        self.body += part
        self._left_bytes -= len(part)
        if self._left_bytes:
            return False
        self._step = self._read_chunk_size
        self.is_complete = not self._is_chunked
        return True

    def _read_chunk_size(self) -> bool:
        line = self._line(b"\r\n")
        if not line:
            return line is not None  # a blank line is the end of the chunk before
        size = line.partition(b";")[0].strip()
        try:
            self._left_bytes = int(size, 16)
        except ValueError:
            self._left_bytes = -1
        if self._left_bytes < 0:
            raise BadAnswerError(f"The server's answer has a chunk of {size[:20]!r} bytes.")
        self._step = self._read_part if self._left_bytes else self._read_trailer
        return True

    def _read_trailer(self) -> bool:
        line = self._line(b"\r\n")
        self.is_complete = line == b""
        return line is not None
