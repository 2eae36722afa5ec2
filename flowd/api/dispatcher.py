"""Responds to JSON-RPC 2.0 messages: bytes in, bytes out. Owns `jsonrpcserver`.

The library calls the method of a single checked request (`call`). Its whole-message entry points are not used: they
validate with a JSON Schema on every call, reject a whole batch for one bad element, and send the text of unexpected
exceptions to the caller.
"""

import asyncio
from types import NoneType
from typing import Any, cast

from jsonrpcserver import Error, Success
from jsonrpcserver.async_dispatcher import call
from jsonrpcserver.request import Request
from jsonrpcserver.sentinels import NOID
from oslash.either import Left

from flowd.api import json, params, people
from flowd.api.calls import Calls
from flowd.api.event_methods import bare_event
from flowd.api.failures import error_from, error_of
from flowd.api.method import Method
from flowd.api.subscriptions import Caller
from flowd.api.turns import FairTurns, LargeTurns
from flowd.domain.errors import FlowdError, InvalidParamsError
from flowd_client.methods import DISPATCH, GET_EVENT, LIST_EVENTS, LIST_RUNS

MAX_BATCH = 1000
"""Elements of one batch."""

BATCH_AT_ONCE = 32
"""Elements that run at the same time: each may hold a page of events."""

MAX_RESPONSE_BYTES = 32 * 1024 * 1024
"""Of a response, or of all responses of a batch: four of the largest pages of events."""

_CANCELLED = "The caller cancelled this request. What it asked for may have been done."

_ID_TYPES = (str, int, float, NoneType)  # tuples: to look into a union costs three times as much
_PARAMS_TYPES = (dict, list, NoneType)

_LARGE = frozenset({LIST_EVENTS, GET_EVENT})
"""Methods whose results carry payloads."""


class Dispatcher:
    """Responds to JSON-RPC messages from an explicit table of methods."""

    def __init__(self, table: dict[str, Method]) -> None:
        self._turns = FairTurns()
        self._methods = {name: _bind(name, method) for name, method in table.items()}

    async def respond(
        self,
        message: bytes,
        caller: Caller | None = None,
        large_turns: LargeTurns | None = None,
        calls: Calls | None = None,
    ) -> bytes | None:
        """The response to a request or a batch; None where none is due (notifications).

        Args:
            caller: The connection that methods may push to later; without one, methods that push are refused.
            large_turns: Where methods with large results wait for their turn.
            calls: The connection's; they take turns with those of others, and can be cancelled.
        """
        if calls is None:
            return await self._respond(message, caller, large_turns, calls)
        if not message.startswith(b"["):
            async with self._turns.turn(calls):
                return await self._respond(message, caller, large_turns, calls)
        async with calls.batches:  # before it is read: a thousand requests are large once they are objects
            async with self._turns.turn(calls):
                pass
            return await self._respond(message, caller, large_turns, calls)

    async def _respond(
        self, message: bytes, caller: Caller | None, large_turns: LargeTurns | None, calls: Calls | None
    ) -> bytes | None:
        try:
            value = json.decode(message)
        except RecursionError:
            return json.encode(_response(None, error=error_of("parse_error", "The JSON is nested too deeply.")))
        except ValueError as error:
            return json.encode(
                _response(None, error=error_of("parse_error", f"The frame is not JSON in UTF-8: {error}."))
            )
        if not isinstance(value, list):
            response = await self._one(value, caller, large_turns, calls)
            return None if response is None else _encode(response, MAX_RESPONSE_BYTES)
        if not value or len(value) > MAX_BATCH:
            return json.encode(_invalid(None, f"A batch has 1 to {MAX_BATCH} requests; this one has {len(value)}."))
        return await self._batch(value, caller, large_turns, calls)

    def decline(self, message: bytes) -> bytes | None:
        """The response to a request that the daemon will not begin, because it exits; None where none is due."""
        try:
            value = json.decode(message)
        except (ValueError, RecursionError):
            return None
        elements = value if isinstance(value, list) else [value]
        ids = [
            each["id"] for each in elements if isinstance(each, dict) and isinstance(each.get("id"), str | int | float)
        ]
        error = error_of(
            "shutting_down", "The daemon is about to exit, and has not begun this. Send it to the next one."
        )
        responses = [_response(request_id, error=error) for request_id in ids[:MAX_BATCH]]
        if not responses:
            return None
        return json.encode(responses if isinstance(value, list) else responses[0])

    async def _batch(
        self, elements: list[object], caller: Caller | None, large_turns: LargeTurns | None, calls: Calls | None
    ) -> bytes | None:
        room = MAX_RESPONSE_BYTES
        encoded: list[bytes | None] = [None] * len(elements)
        numbers = iter(range(len(elements)))

        async def respond() -> None:
            nonlocal room
            for number in numbers:
                if calls is None:
                    response = await self._one(elements[number], caller, large_turns, calls)
                else:
                    async with self._turns.turn(calls):
                        response = await self._one(elements[number], caller, large_turns, calls)
                if response is not None:
                    encoded[number] = _encode(response, room)
                    room -= len(encoded[number] or b"")

        await asyncio.gather(*(respond() for _ in range(min(BATCH_AT_ONCE, len(elements)))))
        due = [one for one in encoded if one is not None]
        return b"[%b]" % b",".join(due) if due else None

    async def _one(
        self, value: object, caller: Caller | None, large_turns: LargeTurns | None, calls: Calls | None
    ) -> dict[str, Any] | None:
        if calls is None or not isinstance(value, dict) or "id" not in value:
            return await self._answer(value, caller, large_turns)
        response = None
        with calls.call(value["id"]) as made:
            response = await self._answer(value, caller, large_turns)
        return (
            _response(value["id"], error=error_of("request_cancelled", _CANCELLED)) if made.is_cancelled else response
        )

    async def _answer(
        self, value: object, caller: Caller | None, large_turns: LargeTurns | None
    ) -> dict[str, Any] | None:
        problem = _problem(value)
        if problem is not None:
            request_id = value.get("id") if isinstance(value, dict) else None
            return _invalid(request_id if isinstance(request_id, str | int | float) else None, problem)
        fields = cast("dict[str, Any]", value)
        given = fields.get("params")
        if fields["method"] == DISPATCH:
            given = bare_event(given)
        method = self._methods.get(fields["method"])
        if method is None:
            if "id" not in fields:
                return None
            message = f"There is no method {fields['method'][:100]!r}; rpc.discover lists them all."
            return _response(fields["id"], error=error_of("method_not_found", message))
        request = Request(fields["method"], {} if given is None else given, fields.get("id", NOID))
        if large_turns is not None and _is_large(request):
            async with large_turns:
                result = await call(request, caller, method)
        else:
            result = await call(request, caller, method)
        if request.id is NOID:
            return None
        either: Any = result  # the library's Either has no public accessors
        if isinstance(result, Left):
            failure = either._error  # noqa: SLF001
            return _response(request.id, error={"code": failure.code, "message": failure.message, "data": failure.data})
        return {"jsonrpc": "2.0", "id": request.id, "result": either._value.result}  # noqa: SLF001


class Refuser(Dispatcher):
    """Responds to every request with the same refusal."""

    def __init__(self, why: FlowdError) -> None:
        super().__init__({})
        self._error = error_of(why.slug, why.message, **why.details)

    async def _one(
        self, value: object, caller: Caller | None, large_turns: LargeTurns | None, calls: Calls | None
    ) -> dict[str, Any] | None:
        if _problem(value) is not None:
            return await super()._one(value, caller, large_turns, calls)
        fields = cast("dict[str, Any]", value)
        return _response(fields["id"], error=self._error) if "id" in fields else None


def oversize(size: int, limit: int) -> bytes:
    """The response to a frame that was too large to read."""
    message = (
        f"The frame has {size} bytes; max_frame_bytes is {limit} (max_payload_bytes and some room). "
        f"Put large data into a file, and its path into the event."
    )
    return json.encode(_response(None, error=error_of("frame_too_large", message, bytes=size, maxFrameBytes=limit)))


def refusal(slug: str, message: str) -> bytes:
    """An error that belongs to no request."""
    return json.encode(_response(None, error=error_of(slug, message)))


def _is_large(request: Request) -> bool:
    if request.method == LIST_RUNS:
        return isinstance(request.params, list) or "output" in request.params
    return request.method in _LARGE


def _bind(name: str, method: Method) -> Any:
    async def answer(caller: Caller | None, /, *args: object, **kwargs: object) -> Any:
        try:
            given = params.read(method.params, args, kwargs)
            if method.needs_person:
                return Success(await method.call(given, await people.at_socket(caller.uid if caller else None)))
            if not method.needs_connection:
                return Success(await method.call(given))
            if caller is None:
                raise InvalidParamsError(f"{name} needs a connection that can be pushed to: flowd's control socket.")
            return Success(await method.call(given, caller))
        except Exception as error:  # noqa: BLE001 - every exception becomes an error, and none shows its text
            failure = error_from(error, method=name)
            return Error(failure["code"], failure["message"], failure["data"])

    return answer


def _problem(value: object) -> str | None:
    """Why this is not a request; None if it is one."""
    if not isinstance(value, dict):
        return "A request is a JSON object."
    if value.get("jsonrpc") != "2.0":
        return 'A request has "jsonrpc": "2.0".'
    if not isinstance(value.get("method"), str):
        return "A request has a method, and it is a string."
    request_id = value.get("id")
    if isinstance(request_id, bool) or not isinstance(request_id, _ID_TYPES):
        return "A request's id is a string or a number."
    if not isinstance(value.get("params"), _PARAMS_TYPES):
        return "A request's params are an object or an array."
    return None


def _invalid(request_id: object, problem: str) -> dict[str, Any]:
    return _response(request_id, error=error_of("invalid_request", problem))


def _response(request_id: object, *, error: dict[str, Any]) -> dict[str, Any]:
    return {"jsonrpc": "2.0", "id": request_id, "error": error}


def _encode(response: dict[str, Any], room: int) -> bytes:
    """A response as JSON, or an error in its place if it takes more than ``room`` bytes or cannot be written."""
    try:
        encoded = json.encode(response)
    except Exception as error:  # noqa: BLE001 - a result that cannot be written is our fault; its caller still gets a response
        return json.encode(_response(response["id"], error=error_from(error, method="encode")))
    if len(encoded) <= room:
        return encoded
    message = (
        f"The response would have {len(encoded)} bytes, and at most {MAX_RESPONSE_BYTES} are sent. "
        f"Ask for less, with a smaller limit."
    )
    return json.encode(_response(response["id"], error=error_of("response_too_large", message, bytes=len(encoded))))
