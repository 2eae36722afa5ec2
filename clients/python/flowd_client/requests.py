"""Every verb as a pure request: method, params, how long it may take, and how to read its answer.

Both clients send these and nothing else, so a verb is written once. Views are imported by the first answer that needs
them: their classes take longer to build (20 ms) than most calls take to answer.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from importlib import import_module
from typing import TYPE_CHECKING, Any, Generic, Literal, NamedTuple, TypeVar

from flowd_client import wire

if TYPE_CHECKING:
    from flowd_client.views.catalog import CatalogView, ExplainView
    from flowd_client.views.event import DispatchView, EventView
    from flowd_client.views.reading import Page
    from flowd_client.views.run import OutputView, RunView

T = TypeVar("T")
Stream = Literal["stdout", "stderr"]
Encoding = Literal["utf-8", "base64"]

CANCEL_S = 120.0
"""A cancel is answered when the step has ended, which its grace may delay."""


class Request(NamedTuple, Generic[T]):
    """A call to make.

    Attributes:
        read: The answer as a view.
        wait_s: How long the daemon may take on purpose, on top of the client's own limit; infinite for no limit.
    """

    method: str
    params: Mapping[str, Any]
    read: Callable[[Any], T]
    wait_s: float = 0.0

    def timeout_s(self, margin_s: float) -> float | None:
        """The deadline of the whole call, None for none."""
        return None if math.isinf(self.wait_s) else self.wait_s + margin_s


def _params(**members: Any) -> dict[str, Any]:
    return {name: value for name, value in members.items() if value is not None}


def _wait_s(timeout_ms: int | None) -> float:
    return math.inf if timeout_ms is None else timeout_ms / 1000


def _itself(answer: Any) -> Any:
    return answer


def _members(answer: Any) -> dict[str, Any]:
    return answer if isinstance(answer, dict) else {}


def _reader(module: str, name: str) -> Callable[[Any], Any]:
    """A reader of `flowd_client.views` that is imported by its first use."""

    def read(answer: Any) -> Any:
        return getattr(import_module(f"flowd_client.views.{module}"), name)(answer)

    return read


_read_run = _reader("run", "read_run")
_read_runs = _reader("run", "read_runs")
_read_event = _reader("event", "read_event")
_read_events = _reader("event", "read_events")
_read_dispatch = _reader("event", "read_dispatch")
_read_catalog = _reader("catalog", "read_catalog")
_read_explain = _reader("catalog", "read_explain")
_PART_READERS = {"utf-8": _reader("run", "read_output"), "base64": _reader("run", "read_output_bytes")}


def dispatch_event(event: Mapping[str, Any], *, wait: bool, timeout_ms: int | None) -> Request[DispatchView]:
    """Hand in an event."""
    waiting = _params(wait=True, timeoutMs=timeout_ms) if wait else {}
    params = {"event": event, **waiting}
    return Request(wire.DISPATCH, params, _read_dispatch, _wait_s(timeout_ms) if wait else 0.0)


def replay_event(
    event_id: str, *, wait: bool, timeout_ms: int | None, steps: Sequence[str] | None
) -> Request[DispatchView]:
    """New runs for a stored event."""
    waiting = _params(wait=True, timeoutMs=timeout_ms) if wait else {}
    params = _params(eventId=event_id, steps=None if steps is None else list(steps), **waiting)
    return Request(wire.REPLAY, params, _read_dispatch, _wait_s(timeout_ms) if wait else 0.0)


def cancel_run(run_id: str) -> Request[RunView]:
    """End a run."""
    return Request(wire.CANCEL_RUN, {"runId": run_id}, _read_run, CANCEL_S)


def cancel_event(event_id: str) -> Request[Page[RunView]]:
    """End all runs of an event."""
    return Request(wire.CANCEL_EVENT, {"eventId": event_id}, _read_runs, CANCEL_S)


def retry_run(run_id: str) -> Request[RunView]:
    """Another attempt of a run."""
    return Request(wire.RETRY_RUN, {"runId": run_id}, _read_run)


def list_runs(
    *, event_id: str | None, status: str | None, flow: str | None, limit: int | None, cursor: str | None
) -> Request[Page[RunView]]:
    """Runs, newest first."""
    params = _params(eventId=event_id, status=status, flow=flow, limit=limit, cursor=cursor)
    return Request(wire.LIST_RUNS, params, _read_runs)


def get_run(run_id: str) -> Request[RunView]:
    """One run."""
    return Request(wire.GET_RUN, {"runId": run_id}, _read_run)


def wait_run(run_id: str, *, timeout_ms: int | None) -> Request[RunView]:
    """One run, once it has ended or the time is up."""
    return Request(wire.WAIT_RUN, _params(runId=run_id, timeoutMs=timeout_ms), _read_run, _wait_s(timeout_ms))


def list_events(*, event_type: str | None, limit: int | None, cursor: str | None) -> Request[Page[EventView]]:
    """Events, newest first."""
    return Request(wire.LIST_EVENTS, _params(type=event_type, limit=limit, cursor=cursor), _read_events)


def get_event(event_id: str) -> Request[EventView]:
    """One event with its runs."""
    return Request(wire.GET_EVENT, {"eventId": event_id}, _read_event)


def read_part(
    run_id: str,
    *,
    stream: Stream,
    offset: int,
    wait_ms: int,
    attempt: int | None,
    encoding: Encoding,
    other_offset: int | None = None,
) -> Request[OutputView]:
    """A part of a run's output."""
    params = _params(
        runId=run_id,
        stream=stream,
        offset=offset,
        waitMs=wait_ms or None,
        attempt=attempt,
        encoding=None if encoding == "utf-8" else encoding,
        otherOffset=other_offset,
    )
    return Request(wire.READ_OUTPUT, params, _PART_READERS[encoding], wait_ms / 1000)


def list_flows() -> Request[CatalogView]:
    """The flow packages."""
    return Request(wire.LIST_FLOWS, {}, _read_catalog)


def explain(event: Mapping[str, Any]) -> Request[ExplainView]:
    """What every step would say to an event."""
    return Request(wire.EXPLAIN, {"event": event}, _read_explain)


def status() -> Request[dict[str, Any]]:
    """How the daemon is."""
    return Request(wire.STATUS, {}, _members)


def reload() -> Request[CatalogView]:
    """The flow packages, looked at anew."""
    return Request(wire.RELOAD, {}, _read_catalog)


def drain() -> Request[dict[str, Any]]:
    """Let the daemon start no more runs."""
    return Request(wire.DRAIN, {}, _members)


def call(method: str, params: Mapping[str, Any] | None) -> Request[Any]:
    """Any method."""
    return Request(method, params or {}, _itself)
