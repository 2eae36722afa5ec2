"""JSON-RPC, one message a line, as a pure machine: numbers requests, cuts bytes into messages, reads responses."""

import json
from collections.abc import Mapping
from typing import Any

from flowd_client.errors import BadAnswerError, invalid_params, of_answer

MAX_FRAME_BYTES = 64 * 1024 * 1024
"""A longer response is a fault, not data: the daemon refuses to send one above its own, smaller limit."""

_to_json = json.JSONEncoder(ensure_ascii=False, allow_nan=False, separators=(",", ":")).encode


class LostError(Exception):
    """The connection ended before the response; the request may have been acted on."""


class NotSentError(LostError):
    """It ended before the whole request was handed over, so the daemon cannot have acted on it."""


class ClosedError(LostError):
    """This side closed it before the response."""


def json_bytes(value: object, what: str) -> bytes:
    """A value as compact JSON.

    Raises:
        InvalidCallError: ``what``, a subject with its verb, is no JSON value.
    """
    try:
        text = _to_json(value)
    except (TypeError, ValueError, RecursionError) as error:
        raise invalid_params(f"{what} no JSON value: {error}.") from error
    # A lone surrogate is in no UTF-8 text; Python's backslash form of it is just its JSON escape.
    return text.encode("utf-8", "backslashreplace")


def encode(request_id: int, method: str, params: Mapping[str, Any]) -> bytes:
    r"""One request as one line.

    >>> encode(1, "daemon.status", {})
    b'{"jsonrpc":"2.0","id":1,"method":"daemon.status","params":{}}\n'

    Raises:
        InvalidCallError: A parameter is no JSON value.
    """
    message = {"jsonrpc": "2.0", "id": request_id, "method": method, "params": params}
    return json_bytes(message, f"{method}: a parameter is") + b"\n"


def decode(line: bytes | bytearray) -> dict[str, Any]:
    """One line of the daemon as a JSON-RPC message.

    Raises:
        BadAnswerError: It is none.
    """
    try:
        message = json.loads(line)
    except (ValueError, RecursionError) as error:
        raise BadAnswerError(f"The daemon's answer is not JSON ({error}). Is it flowd that listens there?") from error
    if not isinstance(message, dict):
        raise BadAnswerError("The daemon's answer is no JSON-RPC message. Is it flowd that listens there?")
    return message


def answers(message: Mapping[str, Any], request_id: int) -> bool:
    """Whether the message answers this request, or refuses the connection as a whole (an error without an id).

    >>> answers({"id": 2, "result": 1}, 2), answers({"method": "flow.update"}, 2), answers({"id": None, "error": {}}, 2)
    (True, False, True)
    """
    if "method" in message:
        return False
    return message.get("id") == request_id or refuses_connection(message)


def refuses_connection(message: Mapping[str, Any]) -> bool:
    """Whether the daemon refuses the connection, or could not read a frame: an error that is not about one request."""
    return message.get("id") is None and "error" in message


def read_result(message: Mapping[str, Any]) -> Any:
    """The result of a response.

    Raises:
        CallError: It is a refusal.
        BadAnswerError: It is neither.
    """
    if "error" in message:
        raise of_answer(message["error"])
    if "result" not in message:
        raise BadAnswerError("The daemon's answer has neither a result nor an error.")
    return message["result"]


class Conversation:
    """Both directions of one connection."""

    def __init__(self) -> None:
        self._last_id = 0
        self._unread = bytearray()
        self._searched_bytes = 0

    def request(self, method: str, params: Mapping[str, Any]) -> tuple[int, bytes]:
        """A new request's id and what to send. Raises `InvalidCallError` when a parameter is no JSON value."""
        self._last_id += 1
        return self._last_id, encode(self._last_id, method, params)

    @property
    def has_unread(self) -> bool:
        """Whether something came that no message has been made of yet."""
        return bool(self._unread)

    def feed(self, data: bytes) -> None:
        """Take what came."""
        self._unread += data

    def message(self) -> dict[str, Any] | None:
        """The next whole message; None until more has come.

        Raises:
            BadAnswerError: It is none, or too long.
        """
        while (end := self._unread.find(b"\n", self._searched_bytes)) >= 0:
            line = self._unread[:end]
            del self._unread[: end + 1]
            self._searched_bytes = 0
            if line.strip():
                return decode(line)
        self._searched_bytes = len(self._unread)
        if self._searched_bytes > MAX_FRAME_BYTES:
            raise BadAnswerError(f"The daemon's answer is longer than {MAX_FRAME_BYTES} bytes.")
        return None
