"""Follows the output of several runs at once: of those that are named, and of all runs of an event, later ones too."""

import asyncio
import shutil
from collections.abc import Iterable
from dataclasses import dataclass, field

from flowd.cli import output, printing
from flowd.cli.follow.events import RECONNECT_S
from flowd.cli.follow.lines import LineMultiplexer
from flowd.cli.session import Session
from flowd_client.aio import AsyncFlowClient
from flowd_client.aio_unix import AsyncUnixTransport
from flowd_client.errors import FlowClientError
from flowd_client.views.run import RunView
from flowd_client.wire import Stream


def follow(
    session: Session, run_ids: Iterable[str], event_id: str | None, only: Stream | None, *, is_raw: bool
) -> None:
    """Print the runs' outputs line by line until all of them have ended. Goes on over a restart of the daemon.

    Raises:
        FlowClientError: There is no such run or event, or the daemon did not come back.
    """
    asyncio.run(_follow_all(session, tuple(run_ids), event_id, only, is_raw=is_raw))


async def _follow_all(
    session: Session, run_ids: tuple[str, ...], event_id: str | None, only: Stream | None, *, is_raw: bool
) -> None:
    clean = output.line_cleaner(is_raw=is_raw)
    if printing.is_terminal():
        lines = LineMultiplexer(output.write, live_width=shutil.get_terminal_size().columns, clean=clean)
    else:
        lines = LineMultiplexer(output.write, clean=clean)
    async with AsyncFlowClient(AsyncUnixTransport(lambda: session.socket_path)) as client:
        follower = _LogFollower(client, lines, only)
        try:
            async with asyncio.TaskGroup() as tasks:
                for run in [await client.get_run(run_id) for run_id in run_ids]:
                    follower.take(run, tasks)
                if event_id is not None:
                    await _follow_event(client, follower, event_id, tasks)
        except ExceptionGroup as group:  # and no `except*`: before Python 3.11.4, what that raises is a group again
            known, other = group.split((FlowClientError, OSError))
            if known is None or other is not None:
                raise
            raise known.exceptions[0] from None  # the first reason is the one to tell
        finally:
            lines.close()


async def _follow_event(
    client: AsyncFlowClient, follower: "_LogFollower", event_id: str, tasks: asyncio.TaskGroup
) -> None:
    """Take up each run of the event, until every one that is known has ended."""
    async with client.subscribe(["run"], event_id=event_id, reconnect_s=RECONNECT_S) as updates:
        open_ids: set[str] = set()
        for run in (await client.get_event(event_id)).runs:
            follower.take(run, tasks)
            if not run.is_final:
                open_ids.add(run.id)
        while open_ids:
            update = await anext(updates)
            if update.run is None:
                continue
            follower.take(update.run, tasks)
            if update.run.is_final:
                open_ids.discard(update.run.id)
            else:
                open_ids.add(update.run.id)


@dataclass(slots=True)
class _LogFollower:
    client: AsyncFlowClient
    lines: LineMultiplexer
    only: Stream | None
    followed: dict[str, int] = field(default_factory=dict)
    names: dict[str, str] = field(default_factory=dict)

    def take(self, run: RunView, tasks: asyncio.TaskGroup) -> None:
        """Follow a run, unless that is done already."""
        if run.id not in self.followed:
            self.followed[run.id] = run.attempt_count
            tasks.create_task(self._follow(run.id, self._name(run)))

    def _name(self, run: RunView) -> str:
        """``flow/step``, and the run's id where another run has that name, too."""
        name = printing.clean(f"{run.flow_name}/{run.step_name}")
        if self.names.setdefault(name, run.id) != run.id:
            name = f"{name} {run.id}"
        self.lines.prefix(name)
        return name

    async def _follow(self, run_id: str, name: str) -> None:
        async for stream, data in self.client.follow_output_bytes(run_id):
            if self.only in (None, stream):
                self.lines.feed(name, stream, data)
        self.lines.end(name)
