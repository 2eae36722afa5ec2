"""The routes: those of the API's methods, and the few that HTTP has beside them."""

import re
from collections.abc import Awaitable, Callable, Mapping, Sequence
from contextlib import suppress
from typing import Any, TypeVar

from flowd.api import json, params
from flowd.api.http import cloud_events, output, stream
from flowd.api.http.call import Call
from flowd.api.http.hooks import Hooks, IgnoredError
from flowd.api.http.responses import HttpError, Response, Stream, json_response
from flowd.api.http.route import Respond, Route
from flowd.api.method import Method
from flowd.api.metrics.exposition import Exposition
from flowd.api.metrics.family import Measured
from flowd.api.shapes.catalog import Explain
from flowd.api.shapes.daemon import Status, StatusOverHttp
from flowd.api.shapes.events import Dispatch, DispatchView, Replay
from flowd.api.shapes.output import ReadOutput
from flowd.api.shapes.runs import GetRun, WaitRun
from flowd.api.shapes.trees import CancelEvent, GetEvent, WaitEvent
from flowd.domain.errors import FlowdError
from flowd.domain.flow import Snapshot
from flowd.engine.feed import Feed
from flowd_client import methods as names
from flowd_client import wire

P = TypeVar("P", bound=params.Params)

_FOR_PAGES = frozenset({names.SUBSCRIBE, names.READ_OUTPUT})
"""What the script of a page reads by itself. Both only look."""

_TRUE = frozenset({"1", "true", "yes", "on"})


class Routes:
    """All of them, on one table of methods."""

    def __init__(
        self,
        table: Mapping[str, Method],
        *,
        hooks: Hooks,
        measure: Callable[[], Awaitable[Sequence[Measured]]],
        is_ready: Callable[[], bool],
        feed: Feed,
        snapshot: Callable[[], Snapshot],
        is_source_in_id: bool = True,
    ) -> None:
        """``measure()`` gives all figures of the daemon; ``is_source_in_id`` is the configuration's."""
        self._table = table
        self._hooks = hooks
        self._measure = measure
        self._exposition = Exposition()
        self._is_ready = is_ready
        self._is_source_in_id = is_source_in_id
        self._feed = feed
        self._snapshot = snapshot
        self._document: dict[str, Any] | None = None
        self._special: dict[str, Respond] = {
            names.DISPATCH: self._dispatch,
            names.REPLAY: self._replay,
            names.WAIT_RUN: self._wait,
            names.WAIT_EVENT: self._wait_event,
            names.CANCEL_EVENT: self._cancel_event,
            names.READ_OUTPUT: self._output,
            names.SUBSCRIBE: self._stream,
            names.EXPLAIN: self._explain,
            names.STATUS: self._status,
        }
        self.all: list[Route] = [
            *(self._route(name, route) for name, method in names.METHODS.items() for route in method.routes),
            Route(
                "POST",
                "/hooks/{name}",
                None,
                self._hook,
                "A webhook of the configuration.",
                status=202,
                admit=lambda values, headers: hooks.admit(values["name"], headers),
            ),
            Route("GET", "/healthz", None, self._healthz, "Whether the daemon responds at all."),
            Route("GET", "/readyz", None, self._readyz, "Whether it takes work; 503 while it drains."),
            Route("GET", "/metrics", "read", self._prometheus, "Numbers for Prometheus.", media="text/plain"),
            Route("GET", "/openapi.json", None, self._openapi, "This API as an OpenAPI document."),
        ]

    # --- methods as they are -----------------------------------------------------------------------------------------

    def _route(self, name: str, route: names.Route) -> Route:
        method = self._table[name]
        respond = self._special.get(name) or (_reading(method) if route.verb == "GET" else _doing(method))
        # The settings, which daemon.status can tell, are for the daemon's own user on the control socket.
        takes = StatusOverHttp if name == names.STATUS else method.params
        # Who has caught what acts could send it for ever, whatever was done since.
        is_repeatable = names.METHODS[name].is_retry_safe and route.scope != "control"
        return Route(
            route.verb, route.path, route.scope, respond, names.METHODS[name].summary,
            takes, method.view, route.status, route.media, route.note, is_repeatable, name in _FOR_PAGES,
        )  # fmt: skip

    async def _status(self, call: Call) -> Response:
        given = _from_url(call, StatusOverHttp)
        return json_response(await self._table[names.STATUS].call(Status(metrics=given.metrics)))

    # --- methods with more to them -----------------------------------------------------------------------------------

    async def _dispatch(self, call: Call) -> Response | Stream:
        if cloud_events.is_one(call):
            given: dict[str, Any] = {}
            event: Any = await self._cloud_event(call)
        else:
            value = call.json()
            # A wrapper {event, wait?} as on the socket, else the event itself.
            is_wrapped = isinstance(value, dict) and isinstance(value.get("event"), dict) and "type" not in value
            given = value if is_wrapped else {}
            event = await self._known(value["event"] if is_wrapped else value)
        trace = _header_trace(call) or call.query.get("traceparent") or given.get("traceparent")
        asked = {
            "event": {},
            "causedBy": _said(call, given, "causedBy"),
            "traceparent": trace,
            "requireMatch": _is_asked(call, given, "requireMatch"),
            **_waiting(call, given),
        }
        dispatch = params.convert(asked, Dispatch, is_text=True)
        dispatch.event = event
        return json_response(await self._waited(names.DISPATCH, dispatch, call), 202)

    async def _cloud_event(self, call: Call) -> dict[str, Any]:
        """A CloudEvent under its identity.

        One that was stored under its id alone, as flowd once did, keeps that id: its sender's repetition is found.
        """
        event = cloud_events.event(call)
        if not self._is_source_in_id:
            return event
        with suppress(FlowdError):
            stored = await self._table[names.GET_EVENT].call(GetEvent(event_id=event["id"]))
            raw = json.decode(bytes(stored.event.raw))
            if (raw.get("specversion"), raw.get("source")) == (cloud_events.SPEC_VERSION, event["source"]):
                return event
        return {**event, "id": cloud_events.identity(event["source"], event["id"])}

    async def _known(self, event: Any) -> Any:
        """A plain event; one that came as a CloudEvent before has that one's id, and is a duplicate."""
        identity = cloud_events.plain_identity(event) if self._is_source_in_id else None
        if identity is None:
            return event
        with suppress(FlowdError):
            await self._table[names.GET_EVENT].call(GetEvent(event_id=identity))
            return {**event, "id": identity}
        return event

    async def _replay(self, call: Call) -> Response | Stream:
        options = call.json_if_any()
        # Another value than an object says nothing, as in the reference system.
        given = dict(options) if isinstance(options, dict) else {}
        asked = {**given, "causedBy": _said(call, given, "causedBy"), **_waiting(call, given), **call.values}
        replay = params.convert(asked, Replay, is_text=True)
        if replay.steps is not None or replay.from_steps is not None:
            # Whatever their needs ended as, also a question that a person rejected: it counts as a person's word.
            call.sender.demand("control")
        return json_response(await self._waited(names.REPLAY, replay, call), 202)

    async def _waited(self, name: str, given: Dispatch | Replay, call: Call) -> DispatchView:
        """Do it, and wait if asked to. A caller who hangs up ends the waiting; what was begun is done."""
        doing = self._table[name].call(given)
        view: DispatchView = await (call.unless_gone(doing) if given.wait else doing)
        return view

    async def _wait(self, call: Call) -> Response | Stream:
        given = _from_url(call, WaitRun)
        return json_response(await call.unless_gone(self._table[names.WAIT_RUN].call(given)))

    async def _wait_event(self, call: Call) -> Response | Stream:
        given = _from_url(call, WaitEvent)
        return json_response(await call.unless_gone(self._table[names.WAIT_EVENT].call(given)))

    async def _cancel_event(self, call: Call) -> Response | Stream:
        options = _members(call)
        is_tree = call.query.get("tree") or options.get("tree") or False
        given = params.convert({**options, **call.values, "tree": is_tree}, CancelEvent, is_text=True)
        return json_response(await _answer(self._table[names.CANCEL_EVENT], given, call))

    async def _output(self, call: Call) -> Response | Stream:
        given = _from_url(call, ReadOutput)
        read = self._table[names.READ_OUTPUT].call
        is_following = call.query.get("follow", "").lower() in _TRUE
        if "application/json" in (call.header(b"accept") or "") and not is_following:
            return json_response(await call.unless_gone(read(given)))
        if is_following and given.attempt is None:
            # Of one attempt: where it is retried meanwhile, its offsets are not the next one's.
            run = (await self._table[names.GET_RUN].call(GetRun(run_id=given.run_id))).run
            given.attempt = run.attempt_count or None
        return await output.respond(call, given, read, is_following=is_following, may_mask=self._feed.may_mask)

    async def _stream(self, call: Call) -> Response | Stream:
        return await stream.respond(call, self._feed, self._snapshot)

    async def _explain(self, call: Call) -> Response | Stream:
        event = await self._cloud_event(call) if cloud_events.is_one(call) else call.json()
        if isinstance(event, dict) and isinstance(event.get("event"), dict) and "type" not in event:
            event = event["event"]
        return json_response(await self._table[names.EXPLAIN].call(Explain(event=event)))

    async def _hook(self, call: Call) -> Response | Stream:
        try:
            event = self._hooks.event(call)
        except IgnoredError as reason:
            return json_response({"status": "ignored", "reason": str(reason)}, 202)
        dispatch = Dispatch(event=event, traceparent=_header_trace(call))
        view: DispatchView = await self._table[names.DISPATCH].call(dispatch)
        # The sender learns what became of it, and nothing of the workspace.
        told = {"status": view.status, "eventId": view.event_id, "runIds": view.run_ids, "matched": view.matched}
        return json_response({**told, "conflict": True} if view.conflict else told, 202)

    # --- about the daemon --------------------------------------------------------------------------------------------

    async def _healthz(self, _: Call) -> Response | Stream:
        return json_response({"ok": True})

    async def _readyz(self, _: Call) -> Response | Stream:
        if not self._is_ready():
            raise HttpError("not_ready", "The daemon is draining; it starts nothing more.")
        return json_response({"ok": True})

    async def _prometheus(self, call: Call) -> Response | Stream:
        text, kind = await self._exposition.text(await self._measure(), accept=call.header(b"accept") or "")
        return Response(text, kind)

    async def _openapi(self, _: Call) -> Response | Stream:
        if self._document is None:
            from flowd.api.http import openapi  # noqa: PLC0415 - for the few who ask

            self._document = openapi.document(self.all)
        return json_response(self._document)


def _reading(method: Method) -> Respond:
    async def respond(call: Call) -> Response:
        return json_response(await _answer(method, _from_url(call, method.params), call))

    return respond


def _doing(method: Method) -> Respond:
    """The parameters, as far as they are not in the path, are the body."""

    async def respond(call: Call) -> Response:
        asked = params.convert({**_members(call), **call.values}, method.params)
        return json_response(await _answer(method, asked, call))

    return respond


def _members(call: Call) -> dict[str, Any]:
    """Those of the body, of which there may be none."""
    given = call.json_if_any()
    if not isinstance(given, dict | None):
        raise HttpError("bad_request", "The body is a JSON object with the parameters.")
    return given or {}


async def _answer(method: Method, given: params.Params, call: Call) -> Any:
    return await (method.call(given, call.sender.person) if method.needs_person else method.call(given))


def _said(call: Call, options: Mapping[str, Any], name: str) -> Any:
    """What the query says, else the body."""
    return call.query.get(name) or options.get(name)


def _waiting(call: Call, options: Mapping[str, Any]) -> dict[str, Any]:
    """Whether to wait, and how."""
    asked = call.query.get("wait")
    return {
        "wait": bool(options.get("wait")) if asked is None else asked.lower() in _TRUE,
        "timeoutMs": _said(call, options, "timeoutMs"),
        "tree": _is_asked(call, options, "tree"),
    }


def _is_asked(call: Call, options: Mapping[str, Any], name: str) -> bool:
    return str(_said(call, options, name)).lower() in _TRUE


def _from_url(call: Call, kind: type[P]) -> P:
    """Parameters from the path and the query; names that are none of them are ignored, empty values count as absent."""
    given: dict[str, Any] = {name: value for name, value in call.query.items() if value and name in _names(kind)}
    for name in params.lists(kind) & given.keys():
        given[name] = [value for value in call.queries[name] if value]
    return params.convert({**given, **call.values}, kind, is_text=True)


def _names(kind: type[params.Params]) -> tuple[str, ...]:
    return kind.__struct_encode_fields__


def _header_trace(call: Call) -> str | None:
    """The header, where it is one; the caller's framework has put it there, and a bad one is no reason to refuse."""
    said = call.header(b"traceparent") or ""
    return said if re.fullmatch(wire.TRACEPARENT, said) else None
