"""A client for flowd, the flow daemon. Standard library only.

>>> from flowd_client import create_flow_client
>>> with create_flow_client() as client:  # doctest: +SKIP
...     dispatched = client.dispatch_event({"id": "e1", "type": "demo.hello"}, wait=True)
...     print(dispatched.runs[0].effective_status)

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
    from flowd_client.errors import *  # noqa: F403
    from flowd_client.views.catalog import CatalogView, ExplainView
    from flowd_client.views.event import CausedByView, DispatchView, EventStateView, EventView, LeftOutView
    from flowd_client.views.host import HostsView, HostView, PackageDifferenceView
    from flowd_client.views.notice import NoticesView, NoticeView, NotifierView
    from flowd_client.views.output import OutputView, SharedOutputView
    from flowd_client.views.question import QuestionView
    from flowd_client.views.queue import PausedView, PauseView, QueuedRunView, QueueView, ResumedView
    from flowd_client.views.reading import Page
    from flowd_client.views.run import AttemptView, OutputEntry, RunView
    from flowd_client.views.schedule import ScheduleView, SlotView
    from flowd_client.views.tree import TreeEventView, WaitedEventView
    from flowd_client.views.update import UpdateView
    from flowd_client.views.watch import WatchesView, WatchView

# fmt: off
__all__ = [  # noqa: F405
    "AsyncFlowClient", "AsyncTransport", "AttemptView", "BadAnswerError", "CallError", "CatalogView", "CausedByView",
    "ConflictError", "ConnectionLostError", "CursorExpiredError", "DaemonNotRunningError", "DaemonRunningError",
    "DispatchView", "EventStateView", "EventView", "ExplainView", "FlowClient", "FlowClientError", "HostView",
    "HostsView", "InvalidCallError", "LeftOutView", "LocalFlowClientUnsupportedStateError", "NotFoundError",
    "NoticeView", "NoticesView", "NotifierView", "OutputEntry", "OutputView", "PackageDifferenceView", "Page",
    "PauseView", "PausedView", "QuestionView", "QueueView", "QueuedRunView", "RefusedError", "ResumedView", "RunView",
    "ScheduleView", "SharedOutputView", "SlotView", "TimedOutError", "Transport", "TreeEventView", "UnauthorizedError",
    "UnavailableModeError", "UntrustedDaemonError", "UpdateView", "WaitedEventView", "WatchView", "WatchesView",
    "create_async_flow_client", "create_flow_client", "find_socket", "find_workspace",
]
_HOMES = {
    "AsyncFlowClient": "_async.client", "AsyncTransport": "_async.transport", "FlowClient": "_sync.client",
    "Transport": "_sync.transport", "create_async_flow_client": "_async.factory",
    "create_flow_client": "_sync.factory", "find_socket": "discovery", "find_workspace": "discovery",
    "CatalogView": "views.catalog", "ExplainView": "views.catalog", "DispatchView": "views.event",
    "EventView": "views.event", "EventStateView": "views.event", "CausedByView": "views.event",
    "LeftOutView": "views.event", "Page": "views.reading", "QuestionView": "views.question",
    "AttemptView": "views.run", "OutputEntry": "views.run", "OutputView": "views.output", "RunView": "views.run",
    "SharedOutputView": "views.output",
    "TreeEventView": "views.tree", "UpdateView": "views.update", "WaitedEventView": "views.tree",
    "PausedView": "views.queue", "PauseView": "views.queue", "QueuedRunView": "views.queue",
    "QueueView": "views.queue", "ResumedView": "views.queue", "HostView": "views.host", "HostsView": "views.host",
    "WatchView": "views.watch", "WatchesView": "views.watch",
    "PackageDifferenceView": "views.host",
    "NoticeView": "views.notice", "NoticesView": "views.notice", "NotifierView": "views.notice",
    "ScheduleView": "views.schedule", "SlotView": "views.schedule",
}
"""Where a name is defined; all others are errors."""
# fmt: on


def __getattr__(name: str) -> object:
    """Import a public name from its home on first use."""
    from importlib import import_module  # noqa: PLC0415 - part of being lazy

    if name not in __all__:
        raise AttributeError(f"module 'flowd_client' has no attribute {name!r}")
    value: object = getattr(import_module(f"flowd_client.{_HOMES.get(name, 'errors')}"), name)
    globals()[name] = value
    return value
