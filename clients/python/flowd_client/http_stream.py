"""Subscriptions over HTTP: server-sent events, read by a pure parser, and a blocking stream of them."""

import socket
from collections.abc import Mapping
from http.client import HTTPConnection, HTTPException, HTTPResponse
from json import loads
from typing import Any, NamedTuple
from urllib.parse import urlencode

from flowd_client.errors import BadAnswerError, ConnectionLostError
from flowd_client.http_requests import Exchange
from flowd_client.transport import MAX_FRAME_BYTES
from flowd_client.wire import FAILURES, SUBSCRIBE

SILENCE_S = 45.0
"""The server says something every 15 s; after three times that it is gone, whatever the connection looks like."""

READ_BYTES = 64 * 1024


class Message(NamedTuple):
    """One server-sent event; ``data`` is None where it only tells a place."""

    id: str | None
    data: bytes | None


class SseParser:
    r"""Cuts a stream of bytes into messages.

    >>> parser = SseParser()
    >>> parser.feed(b"id: c1\n: connected\n\nid: c2\ndata: {}\n"), parser.feed(b"\n")
    ([Message(id='c1', data=None)], [Message(id='c2', data=b'{}')])
    """

    def __init__(self) -> None:
        self._rest = b""
        self._id: str | None = None
        self._data: list[bytes] = []
        self._is_begun = False

    def feed(self, chunk: bytes) -> list[Message]:
        """The messages that end in this chunk.

        Raises:
            BadAnswerError: A line is too long.
        """
        *lines, self._rest = (self._rest + chunk).split(b"\n")
        if len(self._rest) > MAX_FRAME_BYTES:
            raise BadAnswerError(f"An update of the server is longer than {MAX_FRAME_BYTES} bytes.")
        messages = []
        for line in lines:
            name, _, value = line.rstrip(b"\r").partition(b":")
            value = value.removeprefix(b" ")
            if not line.rstrip(b"\r"):
                if self._is_begun:
                    messages.append(Message(self._id, b"\n".join(self._data) if self._data else None))
                self._data, self._is_begun = [], False
            elif name == b"id":
                self._id, self._is_begun = value.decode("utf-8", "replace"), True
            elif name == b"data":
                self._data.append(value)
                self._is_begun = True
        return messages


def request_of(params: Mapping[str, Any]) -> Exchange:
    """The request for the updates that flow.subscribe would push."""
    topics = params.get("topics")
    asked = {"topics": None if topics is None else ",".join(topics)}
    asked |= {name: params.get(name) for name in ("runId", "eventId", "after")}
    query = urlencode({name: value for name, value in asked.items() if value is not None})
    return Exchange("GET", f"/stream?{query}" if query else "/stream", None, is_safe=True)


def update_of(message: Message) -> dict[str, Any] | None:
    """The update as flow.update has it; None where there is none in the message.

    Raises:
        BadAnswerError: It is no JSON object.
    """
    if message.data is None:
        return None
    try:
        update = loads(message.data)
    except (ValueError, RecursionError) as error:
        raise BadAnswerError(f"An update of the server is not JSON: {error}.") from error
    if not isinstance(update, dict):
        raise BadAnswerError("An update of the server is no JSON object.")
    if update.get("kind") == "ended":
        slug = update.get("slug")
        code = FAILURES[slug].code if slug in FAILURES else -32603
        return {"kind": "ended", "error": {"code": code, "message": update.get("error"), "data": {"slug": slug}}}
    return update


class HttpStream:
    """Implements `flowd_client.updates.UpdateStream` on a response that goes on."""

    def __init__(self, connection: HTTPConnection, sock: socket.socket, response: HTTPResponse) -> None:
        """Read the first message, which says from where the updates go on."""
        self._connection = connection
        self._sock = sock
        self._response = response
        self._parser = SseParser()
        self._waiting: list[Message] = []
        self.answer: Any = {"cursor": self._message().id}

    def next(self) -> Mapping[str, Any]:
        """See `flowd_client.updates.UpdateStream.next`."""
        while (update := update_of(self._message())) is None:
            pass
        return update

    def _message(self) -> Message:
        while not self._waiting:
            try:
                self._sock.settimeout(SILENCE_S)
                chunk = self._response.read1(READ_BYTES)
            except (OSError, HTTPException, ValueError, AttributeError) as error:
                # The last two: http.client's buffers were taken away by a `close` in another thread.
                raise ConnectionLostError(SUBSCRIBE) from error
            if not chunk:
                raise ConnectionLostError(SUBSCRIBE)
            self._waiting = self._parser.feed(chunk)
        return self._waiting.pop(0)

    def close(self) -> None:
        """See `flowd_client.updates.UpdateStream.close`."""
        try:
            self._sock.shutdown(socket.SHUT_RDWR)
        except OSError:
            pass
        self._response.close()
        self._connection.close()
