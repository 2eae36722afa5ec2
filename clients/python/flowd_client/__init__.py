"""A client for flowd, the flow daemon. Standard library only.

>>> from flowd_client import create_flow_client
>>> with create_flow_client() as client:  # doctest: +SKIP
...     answer = client.dispatch_event({"id": "e1", "type": "demo.hello"}, wait=True)
...     print(answer.runs[0].effective_status)

`create_flow_client` gives a blocking client, `create_async_flow_client` one for asyncio. Both have the same verbs, give
the same frozen views and raise the same `FlowClientError` tree. Names are imported on first use, so that
``import flowd_client`` costs a millisecond and the blocking client never loads asyncio.
"""

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from flowd_client._async.client import AsyncFlowClient
    from flowd_client._async.factory import create_async_flow_client
    from flowd_client._async.transport import AsyncTransport
    from flowd_client._sync.client import FlowClient
    from flowd_client._sync.factory import create_flow_client
    from flowd_client._sync.transport import Transport
    from flowd_client.discovery import find_socket, find_workspace
    from flowd_client.errors import (
        BadAnswerError,
        CallError,
        ConflictError,
        ConnectionLostError,
        CursorExpiredError,
        DaemonNotRunningError,
        DaemonRunningError,
        FlowClientError,
        InvalidCallError,
        LocalFlowClientUnsupportedStateError,
        NotFoundError,
        RefusedError,
        TimedOutError,
        UnauthorizedError,
        UnavailableModeError,
    )
    from flowd_client.views.catalog import CatalogView, ExplainView
    from flowd_client.views.event import DispatchView, EventView
    from flowd_client.views.reading import Page
    from flowd_client.views.run import AttemptView, OutputEntry, OutputView, RunView
    from flowd_client.views.update import UpdateView

_HOMES = {
    "_sync.factory": ("create_flow_client",),
    "_async.factory": ("create_async_flow_client",),
    "_sync.client": ("FlowClient",),
    "_async.client": ("AsyncFlowClient",),
    "discovery": ("find_socket", "find_workspace"),
    "_async.transport": ("AsyncTransport",),
    "_sync.transport": ("Transport",),
    "errors": (
        "BadAnswerError",
        "CallError",
        "ConflictError",
        "ConnectionLostError",
        "CursorExpiredError",
        "DaemonNotRunningError",
        "DaemonRunningError",
        "FlowClientError",
        "InvalidCallError",
        "LocalFlowClientUnsupportedStateError",
        "NotFoundError",
        "RefusedError",
        "TimedOutError",
        "UnauthorizedError",
        "UnavailableModeError",
    ),
    "views.reading": ("Page",),
    "views.run": ("AttemptView", "OutputEntry", "OutputView", "RunView"),
    "views.update": ("UpdateView",),
    "views.event": ("DispatchView", "EventView"),
    "views.catalog": ("CatalogView", "ExplainView"),
}

__all__ = [
    "AsyncFlowClient",
    "AsyncTransport",
    "AttemptView",
    "BadAnswerError",
    "CallError",
    "CatalogView",
    "ConflictError",
    "ConnectionLostError",
    "CursorExpiredError",
    "DaemonNotRunningError",
    "DaemonRunningError",
    "DispatchView",
    "EventView",
    "ExplainView",
    "FlowClient",
    "FlowClientError",
    "InvalidCallError",
    "LocalFlowClientUnsupportedStateError",
    "NotFoundError",
    "OutputEntry",
    "OutputView",
    "Page",
    "RefusedError",
    "RunView",
    "TimedOutError",
    "Transport",
    "UnauthorizedError",
    "UnavailableModeError",
    "UpdateView",
    "create_async_flow_client",
    "create_flow_client",
    "find_socket",
    "find_workspace",
]


def __getattr__(name: str) -> object:
    """Import a public name from its home on first use."""
    from importlib import import_module  # noqa: PLC0415 - part of being lazy

    for home, names in _HOMES.items():
        if name in names:
            value: object = getattr(import_module(f"flowd_client.{home}"), name)
            globals()[name] = value
            return value
    raise AttributeError(f"module 'flowd_client' has no attribute {name!r}")
