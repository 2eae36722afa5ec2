"""Which HTTP requests a call becomes, and what their responses mean, also of the reference system's server.

A call is a *plan*: a generator that yields what to do next and is sent what came of it, so that no transport knows a
route.
"""

import time
from collections.abc import Generator, Mapping
from typing import Any, NamedTuple
from urllib.parse import quote, urlencode

from flowd_client import wire
from flowd_client._core.http_responses import Reply, is_missing_route, read_json
from flowd_client._core.jsonrpc import json_bytes
from flowd_client.errors import BadAnswerError, UnavailableModeError, invalid_params
from flowd_client.methods import METHODS

_POLL_S = 0.25
"""How often a run is looked at on a server that cannot wait: the reference system's."""

_UNFINISHED = ("queued", "running")

RETRY_STATUSES = frozenset({429, 502, 503, 504})
"""Nothing was done, or it may be done again by a request that is safe to repeat."""


class Exchange(NamedTuple):
    """Send this request. ``is_safe``: it may be sent again when it is not known whether it arrived."""

    verb: str
    target: str
    body: bytes | None
    is_safe: bool

    def read(self, reply: Reply) -> Any:
        """The result in its response. Raises `CallError` and `BadAnswerError`."""
        return read_json(reply, self.verb, self.target)


class Pause(NamedTuple):
    """Wait a moment."""

    seconds: float


Plan = Generator[Exchange | Pause, Reply, Any]


def plan(method: str, params: Mapping[str, Any]) -> Plan:
    """What a call does.

    Raises:
        UnavailableModeError: HTTP has no such call.
        InvalidCallError: A parameter is missing, or no JSON value.
    """
    request = exchange(method, params)
    match method:
        case wire.DISPATCH | wire.REPLAY:
            return _waited(request, params)
        case wire.WAIT_RUN:
            return _wait_run(request, params)
        case wire.READ_OUTPUT:
            return _read_output(request, params)
        case wire.SUBSCRIBE:
            raise UnavailableModeError(f"{method} answers with a stream; use `subscribe`.")
        case _:
            return _one(request)


def exchange(method: str, params: Mapping[str, Any]) -> Exchange:
    """The request of a method's first route. Raises as `plan`.

    >>> exchange("flow.getRun", {"runId": "a/b"})
    Exchange(verb='GET', target='/runs/a%2Fb', body=None, is_safe=True)
    """
    routes = METHODS[method].routes if method in METHODS else ()
    if not routes:
        raise UnavailableModeError(f'{method} is not available over HTTP; use mode="socket".')
    verb, path = routes[0].verb, routes[0].path
    body, rest = None, dict(params)
    if method in (wire.DISPATCH, wire.EXPLAIN):  # the event itself is the body
        event, rest = (rest.pop("event"), rest) if "event" in rest else (rest, {})
        body = _json(event)
    try:
        for name in [part[1:-1] for part in path.split("/") if part.startswith("{")]:
            path = path.replace(f"{{{name}}}", quote(str(rest.pop(name)), safe=""))
        rest = {name: value for name, value in rest.items() if value is not None}
        if verb == "POST" and body is None:
            body, rest = _json(rest), {}
        query = urlencode([(name, _text(value)) for name, given in rest.items() for value in _each(given)])
    except KeyError as error:
        raise invalid_params(f"{method} needs {error}.") from error
    except UnicodeEncodeError as error:
        raise invalid_params(f"{method}: a parameter is no Unicode text: {error}.") from error
    return Exchange(verb, f"{path}?{query}" if query else path, body, METHODS[method].is_retry_safe)


def _json(value: object) -> bytes:
    return json_bytes(value, "A parameter is")


def _each(value: object) -> list[Any]:
    """The values that a query repeats a parameter's name for."""
    return list(value) if isinstance(value, list | tuple) else [value]


def _text(value: object) -> str:
    return str(value).lower() if isinstance(value, bool) else str(value)


def _one(request: Exchange) -> Plan:
    return request.read((yield request))


def _waited(request: Exchange, params: Mapping[str, Any]) -> Plan:
    """A dispatch or replay. The reference system's server does not wait and sends no runs, so they are fetched then."""
    result = yield from _one(request)
    if not isinstance(result, dict):
        raise BadAnswerError(f"The server's answer to {request.verb} {request.target} is no JSON object.")
    if params.get("wait") is not True or "runs" in result:
        return result
    until_s = _until_s(params)
    runs = []
    for run_id in result.get("runIds") or ():
        runs.append((yield from _poll_run(run_id, until_s))["run"])  # noqa: PERF401 - a comprehension cannot yield
    return {**result, "runs": runs, "timedOut": any(run.get("status") in _UNFINISHED for run in runs)}


def _wait_run(request: Exchange, params: Mapping[str, Any]) -> Plan:
    reply = yield request
    if is_missing_route(reply):
        return (yield from _poll_run(params["runId"], _until_s(params)))
    return request.read(reply)


def _poll_run(run_id: str, until_s: float | None) -> Plan:
    while True:
        result = yield from _one(exchange(wire.GET_RUN, {"runId": run_id}))
        run = result.get("run") if isinstance(result, dict) else None
        if not isinstance(run, dict):
            raise BadAnswerError(f"The server's answer about run {run_id} has no run in it.")
        is_late = until_s is not None and time.monotonic() >= until_s
        if is_late or run.get("status") not in _UNFINISHED:
            return {**result, "timedOut": is_late}
        yield Pause(_POLL_S)


def _until_s(params: Mapping[str, Any]) -> float | None:
    timeout_ms = params.get("timeoutMs")
    return None if timeout_ms is None else time.monotonic() + timeout_ms / 1000


def _read_output(request: Exchange, params: Mapping[str, Any]) -> Plan:
    """A part of a stream. The reference system's server has it in the run's record, and only once the run has ended."""
    reply = yield request
    if not is_missing_route(reply):
        return request.read(reply)
    result = yield from _one(exchange(wire.GET_RUN, {"runId": params["runId"]}))
    run = result["run"] if isinstance(result, dict) and isinstance(result.get("run"), dict) else {}
    if params.get("encoding") == "base64":
        raise UnavailableModeError("This server keeps output as text only.")
    data = str(run.get(params.get("stream", "stdout")) or "").encode("utf-8", "replace")
    offset = int(params.get("offset") or 0)
    is_over = run.get("status") not in _UNFINISHED
    if not is_over:
        yield Pause(min(_POLL_S, (params.get("waitMs") or 0) / 1000))
    text = data[offset:].decode("utf-8", "replace")
    return {"text": text, "offset": offset, "nextOffset": max(offset, len(data)), "size": len(data), "eof": is_over}


def backoff_s(attempt: int, reply: Reply | None) -> float:
    """How long to wait before sending again: doubling from 0.1 s, or what the server asks for, 5 s at most.

    >>> backoff_s(0, None), backoff_s(3, None)
    (0.1, 0.8)
    """
    asked = (reply.headers.get("retry-after") or "") if reply is not None else ""
    return min(5.0, float(asked) if asked.isascii() and asked.isdigit() else 0.1 * 2**attempt)
