"""The blocking client. Each verb is one line: its request is in `flowd_client.requests`, its view in ``views``."""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping, Sequence
from types import TracebackType
from typing import TYPE_CHECKING, Any, Self, TypeVar

from flowd_client import requests, wire
from flowd_client.errors import FlowClientError, UnavailableModeError
from flowd_client.follow import Follower
from flowd_client.patience import RECONNECT_S, Patience
from flowd_client.requests import Encoding, Request, Stream
from flowd_client.subscription import Subscription
from flowd_client.transport import Transport
from flowd_client.updates import Updates

if TYPE_CHECKING:
    from flowd_client.views.catalog import CatalogView, ExplainView
    from flowd_client.views.event import DispatchView, EventView
    from flowd_client.views.reading import Page
    from flowd_client.views.run import OutputView, RunView

T = TypeVar("T")


class FlowClient:
    """Verbs of a daemon. May be used from several threads. Every verb raises the `FlowClientError` tree.

    A context manager: leaving it closes the connection.
    """

    def __init__(self, transport: Transport, *, timeout_s: float = 30.0) -> None:
        """Speak through a transport.

        Args:
            timeout_s: Limit of each call; a verb that waits on purpose adds its own time to it.
        """
        self._transport = transport
        self._timeout_s = timeout_s

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Let go of the connection. May be called twice."""
        self._transport.close()

    def _do(self, request: Request[T]) -> T:
        timeout_s = request.timeout_s(self._timeout_s)
        return request.read(self._transport.call(request.method, request.params, timeout_s=timeout_s))

    def dispatch_event(
        self, event: Mapping[str, Any], *, wait: bool = False, timeout_ms: int | None = None
    ) -> DispatchView:
        """Hand in an event. When this returns, the event and a run per matching step are on the daemon's disk.

        Sent again once when the connection is lost: the event's id makes that safe, and the answer may then say
        ``duplicate`` with the runs that the first sending made.

        Args:
            wait: Return when every run has ended or ``timeout_ms`` has passed (then ``timed_out`` is set).
            timeout_ms: Of the waiting; None waits without limit.
        """
        return self._do(requests.dispatch_event(event, wait=wait, timeout_ms=timeout_ms))

    def replay_event(
        self, event_id: str, *, wait: bool = False, timeout_ms: int | None = None, steps: Sequence[str] | None = None
    ) -> DispatchView:
        """New runs for a stored event, against the packages of now. ``steps`` are ``step`` or ``flow/step`` names."""
        return self._do(requests.replay_event(event_id, wait=wait, timeout_ms=timeout_ms, steps=steps))

    def cancel_run(self, run_id: str) -> RunView:
        """End a run. Returns when it has ended, or soon after its step's grace with the run as it is then."""
        return self._do(requests.cancel_run(run_id))

    def cancel_event(self, event_id: str) -> Page[RunView]:
        """End every unfinished run of an event; all its runs as they are then."""
        return self._do(requests.cancel_event(event_id))

    def retry_run(self, run_id: str) -> RunView:
        """Another attempt of a run that ended badly."""
        return self._do(requests.retry_run(run_id))

    def list_runs(
        self,
        *,
        event_id: str | None = None,
        status: str | None = None,
        flow: str | None = None,
        limit: int | None = None,
        cursor: str | None = None,
    ) -> Page[RunView]:
        """Runs, newest first, without their output. ``status`` is a process status or an effective one."""
        return self._do(requests.list_runs(event_id=event_id, status=status, flow=flow, limit=limit, cursor=cursor))

    def get_run(self, run_id: str) -> RunView:
        """One run with its attempts and the last 64 KiB of each stream."""
        return self._do(requests.get_run(run_id))

    def wait_run(self, run_id: str, *, timeout_ms: int | None = None) -> RunView:
        """One run, once it has ended (``is_final``) or ``timeout_ms`` has passed; None waits without limit."""
        return self._do(requests.wait_run(run_id, timeout_ms=timeout_ms))

    def list_events(
        self,
        *,
        type: str | None = None,  # noqa: A002 - the wire's name
        limit: int | None = None,
        cursor: str | None = None,
    ) -> Page[EventView]:
        """Events, newest first."""
        return self._do(requests.list_events(event_type=type, limit=limit, cursor=cursor))

    def get_event(self, event_id: str) -> EventView:
        """One event with its runs."""
        return self._do(requests.get_event(event_id))

    def read_output(
        self,
        run_id: str,
        *,
        stream: Stream = "stdout",
        offset: int = 0,
        wait_ms: int = 0,
        attempt: int | None = None,
        encoding: Encoding = "utf-8",
    ) -> OutputView:
        """A part of a run's output from ``offset`` in bytes; waits up to ``wait_ms`` while there is none yet.

        Args:
            attempt: Which one; None is the latest.
            encoding: ``base64`` gives the exact bytes in ``data``, ``utf-8`` what is no text as U+FFFD.
        """
        part = requests.read_part(
            run_id, stream=stream, offset=offset, wait_ms=wait_ms, attempt=attempt, encoding=encoding
        )
        return self._do(part)

    def follow_output(self, run_id: str, *, attempt: int | None = None) -> Iterator[tuple[Stream, str]]:
        """Output as ``(kind, text)`` from its beginning, as it is written, until the run has ended.

        Begins with the latest attempt and goes on with those after it; with ``attempt`` it gives just that one. Goes on
        after a restart of the daemon: nothing is missed and nothing comes twice.
        """
        return ((kind, part.text) for kind, part in self._follow(run_id, "utf-8", attempt))

    def follow_output_bytes(self, run_id: str, *, attempt: int | None = None) -> Iterator[tuple[Stream, bytes]]:
        """As `follow_output`, with the exact bytes."""
        return ((kind, part.data) for kind, part in self._follow(run_id, "base64", attempt))

    def _follow(self, run_id: str, encoding: Encoding, attempt: int | None) -> Iterator[tuple[Stream, OutputView]]:
        follower = Follower(run_id, encoding, attempt=attempt)
        patience = Patience(RECONNECT_S, wire.READ_OUTPUT)
        while True:
            if (request := follower.next_part()) is not None:
                part = self._do_patiently(request, patience)
                if (kind := follower.take_part(part)) is not None:
                    yield kind, part
            elif (look := follower.next_look()) is not None:
                follower.take_look(self._do_patiently(look, patience))
            else:
                return

    def _do_patiently(self, request: Request[T], patience: Patience) -> T:
        while True:
            try:
                answer = self._do(request)
                patience.answered()
                return answer
            except FlowClientError as error:
                time.sleep(patience.pause_s(error, time.monotonic()))

    def subscribe(
        self,
        topics: Sequence[str] | None = None,
        *,
        run_id: str | None = None,
        event_id: str | None = None,
        after: str | None = None,
        reconnect_s: float = RECONNECT_S,
    ) -> Updates:
        """What happens, from now on or behind the cursor ``after``: an endless iterator of `UpdateView`.

        Has a connection of its own; several may be open at once, beside other calls.
        Close it, or leave it as a context manager.

        Args:
            topics: Of ``event``, ``run``, ``flow`` and ``output``; None is all but output.
            run_id: Only this run's.
            event_id: Only this event's and its runs'. The event may be yet to come.
            after: Cursor of the last update that was heard: nothing after it is missed.
            reconnect_s: How long the daemon may be gone before `ConnectionLostError`. What happens meanwhile is told.

        Raises:
            CursorExpiredError: The daemon's journal does not reach back to ``after``.
        """
        open_stream = getattr(self._transport, "stream", None)
        if open_stream is None:
            raise UnavailableModeError('subscribe needs mode "socket": nothing else can be pushed to.')
        return Updates(
            lambda params: open_stream(wire.SUBSCRIBE, params, timeout_s=self._timeout_s),
            Subscription(topics=topics, run_id=run_id, event_id=event_id, after=after),
            reconnect_s=reconnect_s,
        )

    def list_flows(self) -> CatalogView:
        """The flow packages: in force, broken and shadowed."""
        return self._do(requests.list_flows())

    def explain(self, event: Mapping[str, Any]) -> ExplainView:
        """What every step would say to an event. Stores and starts nothing."""
        return self._do(requests.explain(event))

    def status(self) -> dict[str, Any]:
        """How the daemon is, as ``daemon.status`` tells it."""
        return self._do(requests.status())

    def reload(self) -> CatalogView:
        """The flow packages, after the daemon has looked at the disk anew."""
        return self._do(requests.reload())

    def drain(self) -> dict[str, Any]:
        """Let the daemon start no more runs; it goes on accepting events, and their runs stay queued."""
        return self._do(requests.drain())

    def call(self, method: str, params: Mapping[str, Any] | None = None) -> Any:
        """Any method, and its result as it came."""
        return self._do(requests.call(method, params))
