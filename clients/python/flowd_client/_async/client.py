"""The client. Its verbs are generated from `flowd_client.requests`; what takes several requests is here."""

from __future__ import annotations

import time
from collections.abc import AsyncIterator, Callable, Sequence
from typing import TYPE_CHECKING, Self, TypeVar

from flowd_client import wire
from flowd_client._async.net import sleep
from flowd_client._async.updates import AsyncUpdates
from flowd_client._async.verbs import AsyncVerbs
from flowd_client._core.reconnect import RECONNECT_S, REPEAT_S, ReconnectPolicy
from flowd_client.errors import FlowClientError, InvalidCallError, UnavailableModeError
from flowd_client.follow import Follower
from flowd_client.ordered import Places, followed
from flowd_client.request import Request, Stream
from flowd_client.subscription import Subscription

if TYPE_CHECKING:
    from flowd_client._async.transport import AsyncTransport
    from flowd_client.views.run import RunView

T = TypeVar("T")


class AsyncFlowClient(AsyncVerbs):
    """Verbs of a daemon, any number at once. Every verb raises the `FlowClientError` tree.

    A verb that only reads or waits, or that hands in an event, outlives a restart of the daemon under it: it is asked
    again for up to 10 s, or ``timeout_s`` where that is less. What was never sent is not waited for.

    A context manager: leaving it closes the connection. One client belongs to one event loop; cancelling a verb
    leaves the others alone, and does not undo what was asked.
    """

    def __init__(self, transport: AsyncTransport, *, timeout_s: float = 30.0) -> None:
        """Speak through a transport.

        Args:
            timeout_s: Limit of each call; a verb that waits on purpose adds its own time to it.
        """
        self._transport = transport
        self._timeout_s = timeout_s

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.close()

    async def close(self) -> None:
        """Let go of the connection. May be called twice."""
        await self._transport.close()

    async def _do(self, request: Request[T], policy: ReconnectPolicy | None = None) -> T:
        policy = policy or ReconnectPolicy(min(REPEAT_S, self._timeout_s), request.method)
        left_s = request.timeout_s(self._timeout_s)
        while True:
            begun_s = time.monotonic()
            try:
                result = await self._transport.call(request.method, request.params, timeout_s=left_s)
            except FlowClientError as error:
                if request.method not in wire.RETRY_SAFE:
                    raise
                await sleep(policy.pause_s(error, begun_s, time.monotonic(), left_s=left_s))
            else:
                policy.succeeded()
                return request.read(result)
            spent_s = time.monotonic() - begun_s
            request = request.after(spent_s)
            left_s = None if left_s is None else left_s - spent_s

    async def follow_output(self, run_id: str, *, attempt: int | None = None) -> AsyncIterator[tuple[Stream, str]]:
        """Output as ``(kind, text)`` from its beginning, as it is written, until the run has ended.

        Begins with the latest attempt and goes on with those after it; with ``attempt`` it gives just that one. Goes on
        after a restart of the daemon: nothing is missed and nothing comes twice.
        """
        follower = Follower(run_id, "utf-8", attempt=attempt)
        policy = ReconnectPolicy(RECONNECT_S, wire.READ_OUTPUT)
        while True:
            if (request := follower.next_part()) is not None:
                part = await self._do(request, policy)
                if (kind := follower.take_part(part)) is not None:
                    yield kind, part.text
            elif (look := follower.next_look()) is not None:
                follower.take_look(await self._do(look, policy))
            else:
                return

    async def follow_output_bytes(
        self,
        run_id: str,
        *,
        attempt: int | None = None,
        after: Places | None = None,
        on_look: Callable[[RunView], None] | None = None,
    ) -> AsyncIterator[tuple[Stream, bytes]]:
        """As `follow_output`, with the exact bytes, in the order in which both streams were printed.

        Args:
            after: The number of an attempt, and offsets in its stdout and stderr: begin behind these.
            on_look: Called with the run whenever it is looked at while no attempt of it is under way, ten times a
                second or less.
        """
        plan = followed(run_id, attempt=attempt, after=after)
        policy = ReconnectPolicy(RECONNECT_S, wire.READ_OUTPUT)
        step = next(plan, None)
        while step is not None:
            if not isinstance(step, Request):
                yield step
                step = next(plan, None)
                continue
            try:
                view = await self._do(step, policy)
            except InvalidCallError as error:
                step = plan.throw(error)
                continue
            if on_look is not None and step.method == wire.WAIT_RUN:
                on_look(view)
            try:
                step = plan.send(view)
            except StopIteration:
                return

    def subscribe(
        self,
        topics: Sequence[str] | None = None,
        *,
        run_id: str | None = None,
        event_id: str | None = None,
        after: str | None = None,
        reconnect_s: float = RECONNECT_S,
    ) -> AsyncUpdates:
        """What happens, from now on or behind the cursor ``after``: an endless iterator of `UpdateView`.

        Has a connection of its own; several may be open at once, beside other calls.
        ``async with`` connects; so does the first update.

        Args:
            topics: Of ``event``, ``run``, ``flow`` and ``output``; None is all but output.
            run_id: Only this run's.
            event_id: Only this event's and its runs'. The event may be yet to come.
            after: Cursor of the last update that was heard: nothing after it is missed. ``oldest`` begins with the
                oldest update that the daemon keeps.
            reconnect_s: How long the daemon may be gone before `ConnectionLostError`. What happens meanwhile is told.

        Raises:
            CursorExpiredError: The daemon's journal does not reach back to ``after``.
        """
        open_stream = getattr(self._transport, "stream", None)
        if open_stream is None:
            raise UnavailableModeError('subscribe needs mode "socket": nothing else can be pushed to.')
        return AsyncUpdates(
            lambda params: open_stream(wire.SUBSCRIBE, params, timeout_s=self._timeout_s),
            Subscription(topics=topics, run_id=run_id, event_id=event_id, after=after),
            reconnect_s=reconnect_s,
        )
