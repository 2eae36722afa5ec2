"""The one seam under both clients: `Transport.call`. And JSON-RPC frames as pure functions of bytes."""

import json
from collections.abc import Mapping
from typing import Any, Protocol

from flowd_client.errors import BadAnswerError, invalid_params, of_answer

MAX_FRAME_BYTES = 64 * 1024 * 1024
"""A longer answer is a fault, not data: the daemon refuses to send one above its own, smaller limit."""


class Transport(Protocol):
    """Carries calls to a daemon. May be used from several threads at once."""

    def call(self, method: str, params: Mapping[str, Any], *, timeout_s: float | None) -> Any:
        """Send one call and give its result.

        A call of `flowd_client.wire.RETRY_SAFE` is sent again, once, when the connection was lost; any other only if
        it provably never arrived. Where nobody can be reached to send it to again, the first loss is what is told.

        Args:
            timeout_s: For everything, connecting included; None waits without limit.

        Raises:
            FlowClientError: Any of its tree.
        """
        ...

    def close(self) -> None:
        """Let go of every connection. May be called twice; a later call connects anew."""
        ...


class AsyncTransport(Protocol):
    """As `Transport`, for one event loop. Cancelling a call leaves the others alone, and does not undo it."""

    async def call(self, method: str, params: Mapping[str, Any], *, timeout_s: float | None) -> Any:
        """Send one call and give its result. As `Transport.call`."""
        ...

    async def close(self) -> None:
        """Let go of the connection; calls under way fail with `ConnectionLostError`."""
        ...


def encode(request_id: int, method: str, params: Mapping[str, Any]) -> bytes:
    r"""One request as one line.

    >>> encode(1, "daemon.status", {})
    b'{"jsonrpc":"2.0","id":1,"method":"daemon.status","params":{}}\n'

    Raises:
        InvalidCallError: A parameter is no JSON value.
    """
    message = {"jsonrpc": "2.0", "id": request_id, "method": method, "params": params}
    try:
        text = json.dumps(message, ensure_ascii=False, allow_nan=False, separators=(",", ":"))
    except (TypeError, ValueError, RecursionError) as error:
        raise invalid_params(f"{method}: a parameter is no JSON value: {error}.") from error
    # A lone surrogate is in no UTF-8 text; Python's backslash form of it is just its JSON escape.
    return text.encode("utf-8", "backslashreplace") + b"\n"


def decode(line: bytes) -> dict[str, Any]:
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
    return message.get("id") == request_id or (message.get("id") is None and "error" in message)


def read_result(message: Mapping[str, Any]) -> Any:
    """The result of an answer.

    Raises:
        CallError: It is a refusal.
        BadAnswerError: It is neither.
    """
    if "error" in message:
        raise of_answer(message["error"])
    if "result" not in message:
        raise BadAnswerError("The daemon's answer has neither a result nor an error.")
    return message["result"]
