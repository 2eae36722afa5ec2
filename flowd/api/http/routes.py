"""The routes: each a method of the API, with its path, its scope, and how the request becomes parameters."""

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from typing import Any, TypeVar

import msgspec
from starlette.responses import Response

from flowd.api import params
from flowd.api.codec import View
from flowd.api.http import cloud_events, output, stream
from flowd.api.http.answers import COMMON, HttpError, json_answer
from flowd.api.http.call import Call, Stream
from flowd.api.http.config import Scope
from flowd.api.http.hooks import Hooks, IgnoredError
from flowd.api.http.metrics import CONTENT_TYPE, Metrics
from flowd.api.methods import Method
from flowd.domain.errors import InvalidParamsError
from flowd.domain.flow import Snapshot
from flowd.engine.feed import Feed
from flowd_client import wire

Answer = Response | Stream
P = TypeVar("P", bound=params.Params)

_TRUE = frozenset({"1", "true", "yes", "on"})


@dataclass(frozen=True, slots=True)
class Route:
    """One operation.

    Attributes:
        scope: What a token needs; None is open to everybody who is let in at all (probes, and webhooks, which prove
            themselves in their own way).
        takes: The type whose fields are the parameters, for the description; None has none.
        body: Which of these come in the body.
        shape: Of the answer, for the description.
    """

    method: str
    path: str
    scope: Scope | None
    answer: Callable[[Call], Awaitable[Answer]]
    summary: str
    takes: type[params.Params] | None = None
    body: str = ""
    status: int = 200
    shape: Any = None

    @property
    def name(self) -> str:
        """For the log and the metrics."""
        return f"{self.method} {self.path}"


class Routes:
    """All of them, on one table of methods."""

    def __init__(
        self,
        table: Mapping[str, Method],
        *,
        hooks: Hooks,
        metrics: Metrics,
        is_ready: Callable[[], bool],
        feed: Feed,
        snapshot: Callable[[], Snapshot],
        counts: Callable[[], tuple[int, int]],
    ) -> None:
        """``counts()`` is how many connections and streams there are."""
        self._table = table
        self._hooks = hooks
        self._metrics = metrics
        self._is_ready = is_ready
        self._counts = counts
        self._feed = feed
        self._snapshot = snapshot
        self._document: View | None = None
        self.all: list[Route] = [
            Route("GET", "/healthz", None, self._healthz, "Whether the daemon answers at all."),
            Route("GET", "/readyz", None, self._readyz, "Whether it takes work; 503 while it drains."),
            Route("GET", "/openapi.json", None, self._openapi, "This description."),
            Route("GET", "/metrics", "read", self._prometheus, "Numbers for Prometheus."),
            Route("GET", "/status", "read", self._status, "What the daemon is doing.", shape=wire.StatusShape),
            *(
                Route("POST", path, "dispatch", self._dispatch, "Accept an event and run every step it matches.",
                      params.Dispatch, body="event", status=202, shape=wire.DispatchShape)
                for path in ("/events", "/flow-events")
            ),
            self._reader("/events", wire.LIST_EVENTS),
            self._reader("/events/{eventId}", wire.GET_EVENT),
            Route("POST", "/events/{eventId}/replay", "dispatch", self._replay, "New runs for a stored event.",
                  params.Replay, body="options", status=202, shape=wire.DispatchShape),
            self._actor("/events/{eventId}/cancel", wire.CANCEL_EVENT),
            self._reader("/runs", wire.LIST_RUNS),
            self._reader("/runs/{runId}", wire.GET_RUN),
            Route("GET", "/runs/{runId}/wait", "read", self._wait, "A run when it has ended.", params.WaitRun),
            Route("GET", "/runs/{runId}/output", "read", self._output, "What a step wrote.", params.ReadOutput),
            self._actor("/runs/{runId}/cancel", wire.CANCEL_RUN),
            self._actor("/runs/{runId}/retry", wire.RETRY_RUN),
            self._reader("/flows", wire.LIST_FLOWS, shape=wire.FlowsShape),
            Route("GET", "/stream", "read", self._stream, "What happens, as server-sent events."),
            Route("POST", "/explain", "read", self._explain, table[wire.EXPLAIN].summary, params.Explain, body="event",
                  shape=wire.ExplainShape),
            Route("POST", "/hooks/{name}", None, self._hook, "A webhook of the configuration.", body="hook",
                  status=202),
        ]  # fmt: skip

    # --- methods as they are -----------------------------------------------------------------------------------------

    def _reader(self, path: str, name: str, shape: Any = None) -> Route:
        method = self._table[name]

        async def answer(call: Call) -> Answer:
            return json_answer(await method.call(_from_url(call, method.params)))

        return Route("GET", path, "read", answer, method.summary, method.params, shape=shape)

    def _actor(self, path: str, name: str) -> Route:
        method = self._table[name]

        async def answer(call: Call) -> Answer:
            call.json_if_any()
            return json_answer(await method.call(_from_url(call, method.params, query=False)))

        return Route("POST", path, "control", answer, method.summary, method.params, body="none")

    # --- methods with more to them -----------------------------------------------------------------------------------

    async def _dispatch(self, call: Call) -> Answer:
        if cloud_events.is_one(call):
            given: dict[str, Any] = {}
            event: Any = cloud_events.event(call)
        else:
            value = call.json()
            # A wrapper {event, wait?} as on the socket, else the event itself.
            is_wrapped = isinstance(value, dict) and isinstance(value.get("event"), dict) and "type" not in value
            given = value if is_wrapped else {}
            event = value["event"] if is_wrapped else value
        return json_answer(await self._waited(wire.DISPATCH, params.Dispatch(event=event), given, call), 202)

    async def _replay(self, call: Call) -> Answer:
        options = call.json_if_any()
        given = dict(options) if isinstance(options, dict) else {}
        replay = _convert({"steps": given.get("steps"), **call.values}, params.Replay)
        return json_answer(await self._waited(wire.REPLAY, replay, given, call), 202)

    async def _waited(self, name: str, given: params.Params, options: Mapping[str, Any], call: Call) -> View:
        """Do it, then wait for the runs if asked to; a caller who hangs up ends the waiting and nothing else.

        ``options`` are the body's ``wait`` and ``timeoutMs``; the query's win.
        """
        asked = call.query.get("wait")
        is_waiting = bool(options.get("wait")) if asked is None else asked.lower() in _TRUE
        limit = call.query.get("timeoutMs") or options.get("timeoutMs")
        _convert({"runId": "run_none", "timeoutMs": limit}, params.WaitRun)  # before anything is done
        view: View = await self._table[name].call(given)
        if not is_waiting:
            return view
        calls = [self._ended(run_id, limit) for run_id in view["runIds"]]
        views = await call.unless_gone(asyncio.gather(*calls))
        view["runs"] = [one["run"] for one in views]
        view["timedOut"] = any(one["timedOut"] for one in views)
        return view

    async def _ended(self, run_id: str, timeout_ms: object) -> View:
        given = _convert({"runId": run_id, "timeoutMs": timeout_ms}, params.WaitRun)
        view: View = await self._table[wire.WAIT_RUN].call(given)
        for member in ("output", "outputTruncated"):  # lists never carry output
            view["run"].pop(member, None)
        return view

    async def _wait(self, call: Call) -> Answer:
        given = _from_url(call, params.WaitRun)
        return json_answer(await call.unless_gone(self._table[wire.WAIT_RUN].call(given)))

    async def _output(self, call: Call) -> Answer:
        given = _from_url(call, params.ReadOutput)
        read = self._table[wire.READ_OUTPUT].call
        is_following = call.query.get("follow", "").lower() in _TRUE
        if "application/json" in (call.header(b"accept") or "") and not is_following:
            return json_answer(await call.unless_gone(read(given)))
        if is_following and given.attempt is None:
            # Of one attempt: where it is retried meanwhile, its offsets are not the next one's.
            run = (await self._table[wire.GET_RUN].call(params.RunId(run_id=given.run_id)))["run"]
            given.attempt = run["attemptCount"] or None
        return await output.answer(call, given, read, is_following=is_following)

    async def _stream(self, call: Call) -> Answer:
        return await stream.answer(call, self._feed, self._snapshot)

    async def _explain(self, call: Call) -> Answer:
        event = cloud_events.event(call) if cloud_events.is_one(call) else call.json()
        if isinstance(event, dict) and isinstance(event.get("event"), dict) and "type" not in event:
            event = event["event"]
        return json_answer(await self._table[wire.EXPLAIN].call(params.Explain(event=event)))

    async def _hook(self, call: Call) -> Answer:
        try:
            event = self._hooks.event(call)
        except IgnoredError as reason:
            return json_answer({"status": "ignored", "reason": str(reason)}, 202)
        view: View = await self._table[wire.DISPATCH].call(params.Dispatch(event=event))
        # The sender learns what became of it, and nothing of the workspace.
        told = {name: view[name] for name in ("status", "eventId", "runIds", "matched", "conflict") if name in view}
        return json_answer(told, 202)

    # --- about the daemon --------------------------------------------------------------------------------------------

    async def _healthz(self, _: Call) -> Answer:
        return json_answer({"ok": True})

    async def _readyz(self, _: Call) -> Answer:
        if not self._is_ready():
            raise HttpError("not_ready", "The daemon is draining; it starts nothing more.")
        return json_answer({"ok": True})

    async def _status(self, _: Call) -> Answer:
        return json_answer(await self._table[wire.STATUS].call(params.Status()))

    async def _prometheus(self, _: Call) -> Answer:
        connections, streams = self._counts()
        status = await self._table[wire.STATUS].call(params.Status())
        text = self._metrics.text(status, connections=connections, streams=streams)
        return Response(text, 200, {**COMMON, "content-type": CONTENT_TYPE})

    async def _openapi(self, _: Call) -> Answer:
        if self._document is None:
            from flowd.api.http import openapi  # noqa: PLC0415 - for the few who ask

            self._document = openapi.document(self.all)
        return json_answer(self._document)


def _from_url(call: Call, kind: type[P], *, query: bool = True) -> P:
    """Parameters from the path and the query; names that are none of them are ignored, empty values count as absent."""
    given: dict[str, Any] = {}
    if query:
        given = {name: value for name, value in call.query.items() if value and name in _names(kind)}
    return _convert({**given, **call.values}, kind)


def _names(kind: type[params.Params]) -> tuple[str, ...]:
    return kind.__struct_encode_fields__


def _convert(given: Mapping[str, object], kind: type[P]) -> P:
    try:
        present = {name: value for name, value in given.items() if value is not None}
        return msgspec.convert(present, kind, strict=False)
    except msgspec.ValidationError as error:
        raise InvalidParamsError(f"{error}.".replace("`", "'")) from None
