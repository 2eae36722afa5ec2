"""Follows the output of several runs at once: of those that are named, and of all runs of an event, later ones too."""

import asyncio
import time
from collections.abc import Awaitable, Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

from flowd.cli import output, printing
from flowd.cli.follow.ends import EndTeller
from flowd.cli.follow.events import RECONNECT_S
from flowd.cli.follow.lines import LineMultiplexer
from flowd.cli.follow.progress import WithoutProgress
from flowd.cli.session import Session
from flowd_client.aio import AsyncFlowClient
from flowd_client.aio_unix import AsyncUnixTransport
from flowd_client.aio_updates import AsyncUpdates
from flowd_client.errors import ConnectionLostError, DaemonNotRunningError, FlowClientError
from flowd_client.views.run import RunView
from flowd_client.views.tree import WaitedEventView
from flowd_client.wire import Stream

_PAGE = 500
_LOOK_S = 2.0
"""A step may have dispatched what nobody has told us of: then we look for it."""

_RECONNECT_S = 0.2
_SHARE = 5
"""A look at a large tree takes time: the next one comes no sooner than five times that later."""


class Begun(NamedTuple):
    """What is to be shown of a run so far, and the places behind that: an attempt, offsets in stdout and stderr."""

    pieces: Sequence[tuple[Stream, bytes]]
    places: tuple[int, int, int]


def follow(
    session: Session,
    run_ids: Iterable[str],
    event_id: str | None,
    only: Stream | None,
    *,
    is_raw: bool,
    is_alone: bool,
    tails: Mapping[str, Begun] | None = None,
    ends: EndTeller | None = None,
) -> tuple[RunView, ...]:
    """Print the runs' outputs line by line until all of them have ended, and nothing of the event goes on without a
    person. Goes on over a restart of the daemon.

    Args:
        tails: What to print of runs that have begun, and where to go on with those; of all others, all of it.
        ends: Is told of each run that ends, and of each attempt behind which another one comes.

    Returns:
        The runs of the event that ask a person, or wait for one; some of them where they are many.

    Raises:
        FlowClientError: There is no such run or event, or the daemon did not come back.
    """
    left: tuple[RunView, ...] = ()

    async def take_up(follower: "_LogFollower", tasks: asyncio.TaskGroup) -> None:
        nonlocal left
        for run in [await follower.client.get_run(run_id) for run_id in run_ids]:
            follower.take(run, tasks)
        if event_id is not None:
            left = await _follow_event(follower.client, follower, event_id, tasks, is_alone=is_alone)

    asyncio.run(_follow_all(session, take_up, only, is_raw=is_raw, tails=tails or {}, ends=ends))
    return left


def follow_flow(session: Session, flow: str, only: Stream | None, *, is_raw: bool, tails: Mapping[str, Begun]) -> None:
    """Print what a flow's runs print, of those under way and of all that come, until Ctrl-C; otherwise as `follow`."""

    async def take_up(follower: "_LogFollower", tasks: asyncio.TaskGroup) -> None:
        async with follower.client.subscribe(["run"], reconnect_s=RECONNECT_S) as updates:
            cursor = None
            while True:
                page = await follower.client.list_runs(flow=flow, status="running", limit=_PAGE, cursor=cursor)
                for run in page.items:
                    follower.take(run, tasks)
                if (cursor := page.next_cursor) is None:
                    break
            async for update in updates:
                if update.run is not None and update.run.flow_name == flow and update.run.attempt_count:
                    follower.take(update.run, tasks)

    asyncio.run(_follow_all(session, take_up, only, is_raw=is_raw, tails=tails))


async def _follow_all(
    session: Session,
    take_up: "Callable[[_LogFollower, asyncio.TaskGroup], Awaitable[None]]",
    only: Stream | None,
    *,
    is_raw: bool,
    tails: Mapping[str, Begun],
    ends: EndTeller | None = None,
) -> None:
    clean = output.line_cleaner(is_raw=is_raw)
    lines = LineMultiplexer(output.write, live_width=printing.screen_columns() or 0, clean=clean)
    async with AsyncFlowClient(AsyncUnixTransport(lambda: session.socket_path)) as client:
        follower = _LogFollower(client, lines, only, is_raw or not printing.is_terminal(), dict(tails), ends)
        try:
            async with asyncio.TaskGroup() as tasks:
                await take_up(follower, tasks)
        except ExceptionGroup as group:  # and no `except*`: before Python 3.11.4, what that raises is a group again
            known, other = group.split((FlowClientError, OSError))
            if known is None or other is not None:
                raise
            raise known.exceptions[0] from None  # the first reason is the one to tell
        finally:
            lines.close()


async def _follow_event(
    client: AsyncFlowClient, follower: "_LogFollower", event_id: str, tasks: asyncio.TaskGroup, *, is_alone: bool
) -> tuple[RunView, ...]:
    """Take up each run of the event, or of its tree, until nothing of it goes on without a person, and tell what is
    left."""
    known: set[str] = set()
    changed = asyncio.Event()
    async with client.subscribe(["run"], reconnect_s=RECONNECT_S) as updates:
        listening = asyncio.create_task(_note_changes(updates, known, changed))
        try:
            while True:
                begun_s = time.monotonic()
                changed.clear()
                waited = await _over_restarts(
                    lambda: _take_event(client, follower, event_id, known, tasks, is_alone=is_alone)
                )
                if not waited.timed_out:
                    follower.leave(run.id for run in waited.state.open if not run.is_final)
                    return waited.state.open
                await asyncio.sleep(_SHARE * (time.monotonic() - begun_s))
                await _change(changed, listening)
        finally:
            listening.cancel()


async def _note_changes(updates: AsyncUpdates, known: set[str], changed: asyncio.Event) -> None:
    async for update in updates:
        if update.run is not None and update.run.event_id in known:
            changed.set()


async def _change(changed: asyncio.Event, listening: "asyncio.Task[None]") -> None:
    """Return at a change of a known run, or after a while. Raises what has ended the listening."""
    look = asyncio.ensure_future(changed.wait())
    try:
        await asyncio.wait([listening, look], timeout=_LOOK_S, return_when=asyncio.FIRST_COMPLETED)
    finally:
        look.cancel()
    if listening.done():
        listening.result()


async def _over_restarts(look: Callable[[], Awaitable[WaitedEventView]]) -> WaitedEventView:
    """Look, and look again where the daemon is gone for less than a minute."""
    give_up_s = time.monotonic() + RECONNECT_S
    while True:
        try:
            return await look()
        except (DaemonNotRunningError, ConnectionLostError):
            if time.monotonic() >= give_up_s:
                raise
            await asyncio.sleep(_RECONNECT_S)


async def _take_event(
    client: AsyncFlowClient,
    follower: "_LogFollower",
    event_id: str,
    known: set[str],
    tasks: asyncio.TaskGroup,
    *,
    is_alone: bool,
) -> WaitedEventView:
    """Take up the runs that have begun, and note all events that count. How it all was before."""
    waited = await client.wait_event(event_id, tree=not is_alone, timeout_ms=0)
    cursor: str | None = None
    while True:
        page = await client.get_tree(event_id, limit=1 if is_alone else _PAGE, cursor=cursor)
        ended = [run.id for event in page for run in event.runs if run.is_final]
        for event in page:
            known.add(event.id)
            for run in event.runs:
                if run.attempt_count:
                    follower.take(run, tasks, behind=ended)
        cursor = page.next_cursor
        if cursor is None or is_alone:
            return waited


@dataclass(slots=True)
class _LogFollower:
    client: AsyncFlowClient
    lines: LineMultiplexer
    only: Stream | None
    tells_progress: bool
    tails: dict[str, Begun]
    ends: EndTeller | None = None
    followed: dict[str, asyncio.Task[None]] = field(default_factory=dict)
    attempts: dict[str, int] = field(default_factory=dict)
    """The last one of each run that was followed."""
    latest: dict[str, RunView] = field(default_factory=dict)
    """How each run was at the last look at it."""
    names: dict[str, str] = field(default_factory=dict)

    def take(self, run: RunView, tasks: asyncio.TaskGroup, *, behind: Iterable[str] = ()) -> None:
        """Follow a run, unless that is done already: another attempt that comes after its end is followed, too.

        Args:
            behind: Runs that have ended; what they printed comes first.
        """
        known = self.followed.get(run.id)
        if known is None or (known.done() and run.attempt_count > self.attempts.get(run.id, run.attempt_count)):
            first = [task for one in behind if one != run.id and (task := self.followed.get(one))]
            self.followed[run.id] = tasks.create_task(self._follow(run.id, self._name(run), first))

    def _note(self, run: RunView) -> None:
        self.attempts[run.id], self.latest[run.id] = run.attempt_count, run
        if self.ends is not None and (said := self.ends.look(run)):
            self._say(run, said)

    def _say(self, run: RunView, said: str) -> None:
        self.lines.end(self._name(run))
        self.lines.say(lambda: printing.note(f"flowd: {said}"))

    def leave(self, run_ids: Iterable[str]) -> None:
        """Follow these no further: no attempt of them is under way, and none begins without a person."""
        for run_id in run_ids:
            if run_id in self.followed:
                self.followed[run_id].cancel()

    def _name(self, run: RunView) -> str:
        """``flow/step``, and the run's id where another run has that name, too."""
        name = printing.clean(f"{run.flow_name}/{run.step_name}")
        if self.names.setdefault(name, run.id) != run.id:
            name = f"{name} {run.id}"
        self.lines.prefix(name)
        return name

    async def _follow(self, run_id: str, name: str, first: Collection[asyncio.Task[None]]) -> None:
        if first:
            await asyncio.wait(first)
        stdout = None if self.tells_progress else WithoutProgress()
        begun = self.tails.pop(run_id, None)
        for stream, data in () if begun is None else begun.pieces:
            self.lines.feed(name, stream, data)
        after = None if begun is None else begun.places
        async for stream, data in self.client.follow_output_bytes(run_id, after=after, on_look=self._note):
            if self.only in (None, stream):
                self.lines.feed(name, stream, data if stdout is None or stream == "stderr" else stdout.feed(data))
        if stdout is not None:
            self.lines.feed(name, "stdout", stdout.end())
        self.lines.end(name)
        if self.ends is not None and (run := self.latest.get(run_id)) and (said := self.ends.end(run)):
            self._say(run, said)
