"""Server-sent events: what to ask for, and cutting what comes into updates."""

from collections.abc import Mapping
from json import loads
from typing import Any, NamedTuple

from flowd_client._core.http_plans import Exchange, exchange
from flowd_client._core.jsonrpc import MAX_FRAME_BYTES
from flowd_client.errors import BadAnswerError
from flowd_client.wire import FAILURES, SUBSCRIBE

SILENCE_S = 45.0
"""The server says something every 15 s; after three times that it is gone, whatever the connection looks like."""


_LINE_BYTES = 64
"""What a line costs beside its content."""


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
        self._rest = bytearray()
        self._id: str | None = None
        self._data: list[bytes] = []
        self._data_bytes = 0
        self._is_begun = False

    def feed(self, chunk: bytes) -> list[Message]:
        """The messages that end in this chunk.

        Raises:
            BadAnswerError: A message is too long.
        """
        *lines, rest = chunk.split(b"\n")
        if lines:
            lines[0] = bytes(self._rest) + lines[0]
            self._rest.clear()
        self._rest += rest
        messages = []
        for line in lines:
            name, _, value = line.rstrip(b"\r").partition(b":")
            value = value.removeprefix(b" ")
            if not line.rstrip(b"\r"):
                if self._is_begun:
                    messages.append(Message(self._id, b"\n".join(self._data) if self._data else None))
                self._data, self._data_bytes, self._is_begun = [], 0, False
            elif name == b"id":
                self._id, self._is_begun = value.decode("utf-8", "replace"), True
            elif name == b"data":
                self._data.append(value)
                self._data_bytes += len(value) + _LINE_BYTES
                self._is_begun = True
        if len(self._rest) + self._data_bytes > MAX_FRAME_BYTES:
            raise BadAnswerError(f"An update of the server is longer than {MAX_FRAME_BYTES} bytes.")
        return messages


def stream_request(params: Mapping[str, Any]) -> Exchange:
    """The request for the updates that flow.subscribe would push."""
    topics = params.get("topics")
    asked = {name: params.get(name) for name in ("runId", "eventId", "after")}
    return exchange(SUBSCRIBE, {"topics": None if topics is None else ",".join(topics), **asked})


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
