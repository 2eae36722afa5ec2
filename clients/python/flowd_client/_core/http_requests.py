"""HTTP mode as pure functions: where a server is, which requests a call becomes, and what an answer means.

A call is a *plan*: a generator that yields what to do next and is sent what came of it. Both transports drive the same
plans, so that neither knows a route.
"""

import time
from collections.abc import Awaitable, Callable, Generator, Mapping
from typing import TYPE_CHECKING, Any, Literal, NamedTuple
from urllib.parse import quote, urlencode, urlsplit

from flowd_client import wire
from flowd_client._core.http_responses import Reply, is_missing_route, read_json
from flowd_client._core.jsonrpc import json_bytes
from flowd_client._core.signing import signed_v1, signed_v2
from flowd_client.errors import BadAnswerError, DaemonNotRunningError, UnavailableModeError, invalid_params

if TYPE_CHECKING:
    import ssl

Headers = Mapping[str, str] | Callable[[], Mapping[str, str] | Awaitable[Mapping[str, str]]]
"""Or a function that is called for each request; only the asyncio client takes one that must be awaited."""

DEFAULT_URL = f"http://127.0.0.1:{wire.HTTP_PORT}"
_POLL_S = 0.25
"""How often a run is looked at on a server that cannot wait: the reference system's."""


class Server:
    """Where a server is and how to show it who calls. See `flowd_client.factory.HttpOptions`."""

    def __init__(  # noqa: PLR0917 - all by name
        self,
        base_url: str = DEFAULT_URL,
        hmac_secret: str | None = None,
        signature: Literal["v1", "v2"] = "v1",
        bearer_token: str | None = None,
        api_key: str | None = None,
        headers: Headers | None = None,
        ssl_context: "ssl.SSLContext | None" = None,
        retries: int = 2,
    ) -> None:
        """Check the URL; connect to nothing.

        Raises:
            UnavailableModeError: An option makes no sense.
        """
        parts = urlsplit(base_url)
        self.url = base_url
        self.is_tls = parts.scheme == "https"
        self.unix_path = parts.path if parts.scheme == "unix" else None
        if parts.scheme not in ("http", "https", "unix") or not (self.unix_path or parts.hostname):
            raise UnavailableModeError(
                f"base_url must be like {DEFAULT_URL} or unix:///run/flowd.sock, got {base_url!r}."
            )
        if parts.query or parts.fragment or parts.username is not None:
            raise UnavailableModeError(
                "base_url must have no query, fragment or user name; pass secrets by their options."
            )
        if signature not in ("v1", "v2"):
            raise UnavailableModeError(f'signature must be "v1" or "v2", got {signature!r}.')
        try:
            self.port = parts.port or (443 if self.is_tls else 80)
        except ValueError as error:
            raise UnavailableModeError(f"base_url has no such port: {error}.") from error
        self.host = parts.hostname or "localhost"
        host = "localhost" if self.unix_path else parts.netloc
        self.prefix = "" if self.unix_path else parts.path.rstrip("/")
        self._tls = ssl_context
        self.retries = retries
        self._secret = None if hmac_secret is None else hmac_secret.encode()
        self._signature = signature
        self._headers = headers
        self._own = {"host": host, "accept": "application/json", "user-agent": "flowd-client"}
        if bearer_token:
            self._own["authorization"] = f"Bearer {bearer_token}"
        if api_key:
            self._own["x-api-key"] = api_key

    def tls(self) -> "ssl.SSLContext | None":
        """For ``https``, the caller's or Python's default, which verifies; None for the others."""
        if self.is_tls and self._tls is None:
            from ssl import create_default_context  # noqa: PLC0415 - 10 ms

            self._tls = create_default_context()
        return self._tls if self.is_tls else None

    def added_headers(self) -> Mapping[str, str] | Awaitable[Mapping[str, str]]:
        """What the caller adds to the next request."""
        if self._headers is None:
            return {}
        return self._headers() if callable(self._headers) else self._headers

    def headers(self, request: "Exchange", added: Mapping[str, str]) -> dict[str, str]:
        """All headers of a request but Content-Length. To be made anew for each sending: v2 signs once."""
        made = {name.lower(): value for name, value in added.items()} | self._own
        if request.body is not None:
            made["content-type"] = "application/json"
        if self._secret is not None and self._signature == "v2":
            made |= signed_v2(self._secret, request.verb, self.prefix + request.target, request.body or b"")
        elif self._secret is not None and request.body is not None:
            made |= signed_v1(self._secret, request.body)
        for name, value in made.items():
            if any(character in f"{name}{value}" for character in "\r\n\0"):
                raise invalid_params(f"The header {name!r} has a line break in it.")
        return made


class Exchange(NamedTuple):
    """Send this request. `is_safe`: it may be sent again when it is not known whether it arrived."""

    verb: str
    target: str
    body: bytes | None
    is_safe: bool


class Pause(NamedTuple):
    """Wait a moment."""

    seconds: float


Plan = Generator[Exchange | Pause, Reply, Any]

_ROUTES: dict[str, tuple[str, str, tuple[str, ...]]] = {
    # method: verb, path, members of the path; other members go into the query of a GET and the body of a POST.
    wire.REPLAY: ("POST", "/events/{}/replay", ("eventId",)),
    wire.CANCEL_EVENT: ("POST", "/events/{}/cancel", ("eventId",)),
    wire.CANCEL_RUN: ("POST", "/runs/{}/cancel", ("runId",)),
    wire.RETRY_RUN: ("POST", "/runs/{}/retry", ("runId",)),
    wire.LIST_EVENTS: ("GET", "/events", ()),
    wire.GET_EVENT: ("GET", "/events/{}", ("eventId",)),
    wire.LIST_RUNS: ("GET", "/runs", ()),
    wire.GET_RUN: ("GET", "/runs/{}", ("runId",)),
    wire.WAIT_RUN: ("GET", "/runs/{}/wait", ("runId",)),
    wire.READ_OUTPUT: ("GET", "/runs/{}/output", ("runId",)),
    wire.LIST_FLOWS: ("GET", "/flows", ()),
    wire.STATUS: ("GET", "/status", ()),
}


def plan(method: str, params: Mapping[str, Any]) -> Plan:
    """What a call does.

    Raises:
        UnavailableModeError: HTTP has no such call.
        InvalidCallError: A parameter is missing, or no JSON value.
    """
    match method:
        case wire.DISPATCH:
            return _dispatch(params)
        case wire.EXPLAIN:
            return _one(Exchange("POST", "/explain", _json(params.get("event")), is_safe=True))
        case wire.REPLAY:
            return _waited(_exchange(method, params), params)
        case wire.WAIT_RUN:
            return _wait_run(params)
        case wire.READ_OUTPUT:
            return _read_output(params)
        case _:
            return _one(_exchange(method, params))


def _exchange(method: str, params: Mapping[str, Any]) -> Exchange:
    if method not in _ROUTES:
        raise UnavailableModeError(f'{method} is not available over HTTP; use mode="socket".')
    verb, path, names = _ROUTES[method]
    try:
        target = path.format(*(quote(str(params[name]), safe="") for name in names))
        rest = {name: value for name, value in params.items() if name not in names and value is not None}
        body = _json(rest) if verb == "POST" else None
        query = "" if body is not None or not rest else f"?{urlencode({k: _text(v) for k, v in rest.items()})}"
    except KeyError as error:
        raise invalid_params(f"{method} needs {error}.") from error
    except UnicodeEncodeError as error:
        raise invalid_params(f"{method}: a parameter is no Unicode text: {error}.") from error
    return Exchange(verb, target + query, body, is_safe=method in wire.RETRY_SAFE)


def _text(value: Any) -> str:
    return str(value).lower() if isinstance(value, bool) else str(value)


def _json(value: Any) -> bytes:
    return json_bytes(value, "A parameter is")


def _one(exchange: Exchange) -> Plan:
    reply = yield exchange
    return read_json(reply, exchange.verb, exchange.target)


def _dispatch(params: Mapping[str, Any]) -> Plan:
    event = params.get("event", params)
    query = {name: _text(params[name]) for name in ("wait", "timeoutMs") if "event" in params and name in params}
    target = "/events" + (f"?{urlencode(query)}" if query else "")
    return _waited(Exchange("POST", target, _json(event), is_safe=True), params)


def _waited(exchange: Exchange, params: Mapping[str, Any]) -> Plan:
    """A dispatch or replay. The reference system's server does not wait and sends no runs, so they are fetched then."""
    answer = yield from _one(exchange)
    if not isinstance(answer, dict):
        raise BadAnswerError(f"The server's answer to {exchange.verb} {exchange.target} is no JSON object.")
    if params.get("wait") is not True or "runs" in answer:
        return answer
    until = _deadline(params)
    runs = []
    for run_id in answer.get("runIds") or ():
        runs.append((yield from _poll_run(run_id, until))["run"])  # noqa: PERF401 - a comprehension cannot yield
    is_late = any(run.get("status") in ("queued", "running") for run in runs)
    return {**answer, "runs": runs, "timedOut": is_late}


def _wait_run(params: Mapping[str, Any]) -> Plan:
    exchange = _exchange(wire.WAIT_RUN, params)
    reply = yield exchange
    if not is_missing_route(reply):
        return read_json(reply, exchange.verb, exchange.target)
    return (yield from _poll_run(params["runId"], _deadline(params)))


def _poll_run(run_id: str, until: float | None) -> Plan:
    while True:
        answer = yield from _one(_exchange(wire.GET_RUN, {"runId": run_id}))
        run = answer.get("run") if isinstance(answer, dict) else None
        if not isinstance(run, dict):
            raise BadAnswerError(f"The server's answer about run {run_id} has no run in it.")
        is_late = until is not None and time.monotonic() >= until
        if is_late or run.get("status") not in ("queued", "running"):
            return {**answer, "timedOut": is_late}
        yield Pause(_POLL_S)


def _deadline(params: Mapping[str, Any]) -> float | None:
    timeout_ms = params.get("timeoutMs")
    return None if timeout_ms is None else time.monotonic() + timeout_ms / 1000


def _read_output(params: Mapping[str, Any]) -> Plan:
    """A part of a stream. The reference system's server has it in the run's record, and only once the run has ended."""
    exchange = _exchange(wire.READ_OUTPUT, params)
    reply = yield exchange
    if not is_missing_route(reply):
        return read_json(reply, exchange.verb, exchange.target)
    answer = yield from _one(_exchange(wire.GET_RUN, {"runId": params["runId"]}))
    run = answer["run"] if isinstance(answer, dict) and isinstance(answer.get("run"), dict) else {}
    if params.get("encoding") == "base64":
        raise UnavailableModeError("This server keeps output as text only.")
    data = str(run.get(params.get("stream", "stdout")) or "").encode("utf-8", "replace")
    offset = int(params.get("offset") or 0)
    is_over = run.get("status") not in ("queued", "running")
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


RETRY_STATUSES = frozenset({429, 502, 503, 504})
"""Nothing was done, or it may be done again by a request that is safe to repeat."""


def unreachable(server: Server, error: BaseException) -> DaemonNotRunningError:
    """What to raise when no connection came about. Nothing was sent."""
    why = getattr(error, "strerror", None) or error
    return DaemonNotRunningError(
        f"Cannot reach {server.url} ({why}). Start a daemon there with `flowd serve --http`.", url=server.url
    )
