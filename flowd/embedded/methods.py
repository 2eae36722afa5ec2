"""The API's methods on an engine in this process, for local clients. JSON values in and out."""

import contextlib
import os
from collections.abc import Awaitable, Callable, Iterator, Mapping
from typing import Any, Final, NamedTuple

import flowd
from flowd.api import json, params, people
from flowd.api.event_methods import bare_event
from flowd.api.failures import error_from
from flowd.api.method import Method
from flowd.api.methods import Methods
from flowd.api.shapes.daemon import Drain, DrainView, OutcomesView, Status, StatusView
from flowd.api.subscriptions import Subscriptions
from flowd.domain.errors import FlowdError
from flowd.domain.people import Person
from flowd.engine.engine import Engine
from flowd.settings.values import Settings
from flowd.wiring import Parts
from flowd_client import wire
from flowd_client.errors import FlowClientError, of_answer
from flowd_client.transport import decode, encode

HOST: Final = "client"
"""``daemon.status`` says so of an engine inside a client; a daemon does not say ``host``."""

_LOOKING = frozenset(
    {wire.DISPATCH, wire.REPLAY, wire.RETRY_RUN, wire.RESOLVE_RUN, wire.ANSWER_RUN, wire.LIST_FLOWS, wire.EXPLAIN}
)
"""These look at the packages on disk first: nobody watches them, and a caller who has just written one expects it."""


class LocalMethods(NamedTuple):
    """What an engine in this process can be asked, and what it tells by itself."""

    methods: dict[str, Method]
    subscriptions: Subscriptions


def local_methods(parts: Parts, settings: Settings) -> LocalMethods:
    """The methods and subscriptions of an open engine."""
    return LocalMethods(table(parts.engine, settings), Subscriptions(parts.feed, parts.engine.snapshot))


def table(engine: Engine, settings: Settings) -> dict[str, Method]:
    """The methods of the API on an engine in this process."""

    async def status(asked: Status) -> StatusView:
        counts = await engine.reads.counts()
        return StatusView(
            version=flowd.__version__,
            protocol=wire.PROTOCOL_VERSION,
            host=HOST,
            pid=os.getpid(),
            state="ready",
            workspace=str(settings.workspace),
            state_dir=str(settings.state_dir),
            events=counts.events,
            runs=dict(counts.runs),
            outcomes=OutcomesView(**counts.outcomes, more=list(counts.uncounted)),
            settings=list(settings.table) if asked.settings else None,
        )

    async def drain(asked: Drain) -> DrainView:
        if asked.off:
            await engine.undrain()
        else:
            engine.drain()
        return DrainView(state="draining" if engine.is_draining else "ready", running=list(engine.active))

    def looking(call: Callable[..., Awaitable[Any]]) -> Callable[..., Awaitable[Any]]:
        async def look_first(given: Any, *who: Person) -> Any:
            await engine.reload()
            return await call(given, *who)

        return look_first

    methods = Methods(engine, status=status, drain=drain)
    return {
        name: method._replace(call=looking(method.call)) if name in _LOOKING else method
        for name, method in methods.table.items()
    }


def plain(method: str, given: Mapping[str, Any]) -> dict[str, Any]:
    """Parameters as they would arrive over a socket.

    Raises:
        FlowClientError: ``invalid_params``: one is no JSON value.
    """
    members: dict[str, Any] = decode(encode(0, method, given))["params"]
    if method == wire.DISPATCH:
        members = bare_event(members)  # type: ignore[assignment]
    # A step's run is another engine's.
    return {name: value for name, value in members.items() if name != "causedBy"}


async def call(methods: Mapping[str, Method], name: str, given: Mapping[str, Any]) -> Any:
    """One call's result, as it would come over a socket.

    Raises:
        FlowClientError: As a client raises it.
    """
    method = methods.get(name)
    if method is None or method.needs_connection:
        data = {"slug": "method_not_found"}
        raise of_answer({"code": -32601, "message": f"There is no method {name!r} in local mode.", "data": data})
    with as_clients_see_them(name):
        who = (await people.of_this_process(),) if method.needs_person else ()
        view = await method.call(params.read(method.params, (), plain(name, given)), *who)
        return json.decode(json.encode(view))


@contextlib.contextmanager
def as_clients_see_them(method: str) -> Iterator[None]:
    """Turn refusals and faults of the engine into what a socket client raises for them."""
    try:
        yield
    except FlowClientError:
        raise
    except FlowdError as error:
        raise of_answer(error_from(error, method=method)) from None
    except Exception as error:
        raise of_answer(error_from(error, method=method)) from error
