"""Tries steps out: runs them in an engine of the caller's own, tells what they write as they write it, and takes what
they send, so that it reaches no daemon."""

import asyncio
import contextlib
import logging
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import aclosing
from dataclasses import dataclass
from typing import Protocol

from flowd.api import json
from flowd.domain import trees
from flowd.domain.errors import FlowdError, RefusedError
from flowd.domain.journal import JOURNALED, EventHead, Interest, JournalEntry
from flowd.domain.run import Run
from flowd.embedded import methods
from flowd.embedded.in_order import in_order
from flowd.embedded.listening import listening_when_called
from flowd.embedded.running import end_steps, running
from flowd.engine.tails import OutputChunk
from flowd.ports import Runners
from flowd.settings.values import Settings
from flowd.state import sockets
from flowd.wiring import Parts
from flowd_client.discovery import rehearsal_socket
from flowd_client.wire import Stream

log = logging.getLogger("flowd.embedded")

_ALL = Interest(topics=JOURNALED | {"output"})

_MAX_NEXT = 1_000
"""Of the events that one result names, as many are told."""


@dataclass(frozen=True, slots=True)
class Sent:
    """An event that a step sent, or named as ``next``, and that no daemon has got.

    Attributes:
        type: None where a daemon would not have taken it.
        by: ``flow/step``; None where whoever sent it did not say.
        is_run: Its steps run right here, as those of a daemon would.
        problem: Why a daemon would not have taken it.
    """

    id: str | None
    type: str | None
    by: str | None
    is_run: bool = False
    problem: str | None = None


class Audience(Protocol):
    """Who looks on. Called in the engine's loop, in the order in which things happen: all that a run has written comes
    after its begin and before its end."""

    def awaits(self, run: Run) -> None:
        """A run was made that has not begun. Told of all runs of an event before any of them begins, of some again."""
        ...

    def begins(self, run: Run) -> None:
        """An attempt of a run has started."""
        ...

    def writes(self, run: Run, stream: Stream, data: bytes) -> None:
        """It has written this."""
        ...

    def goes_on(self, run: Run) -> None:
        """An attempt of it has ended, and another one follows."""
        ...

    def ends(self, run: Run) -> None:
        """It has ended for good, or was not started at all."""
        ...

    def sent(self, event: Sent) -> None:
        """A step has sent an event."""
        ...


class Rehearsal:
    """An open engine that only its caller and the steps it runs know of."""

    def __init__(self, parts: Parts, audience: Audience | None, *, causes: bool) -> None:
        self.parts = parts
        self.engine = parts.engine
        self._audience = audience
        self._causes = causes
        self._runs: dict[str, Run] = {}
        self._known: set[str] = set()
        self._reached = 0
        self._moved = asyncio.Event()
        self._is_silent = False
        self.problem: Exception | None = None
        """Why the audience is told no more: what it raised, for example because nobody reads its output."""

    def knows(self, event_id: str) -> None:
        """An event of the caller's own, which no step has sent."""
        self._known.add(event_id)

    def require_served(self, runs: Sequence[Run]) -> None:
        """Refuse to wait for runs of which none starts here, and warn of the others that do not.

        Raises:
            RefusedError: The labels of this host let none of them start.
        """
        found = [(run, able) for run in runs if (able := self.engine.reads.unserved(run)) is not None]
        for run, able in found:
            sentence = f"Step {_label(run)} cannot be tried here: {able.problem}."
            if len(found) == len(runs):
                raise RefusedError(sentence)
            log.warning("step does not start", extra={"error": sentence})

    @contextlib.asynccontextmanager
    async def silently(self) -> AsyncIterator[None]:
        """Tell nothing of what happens meanwhile."""
        await self.settle()
        self._is_silent = True
        try:
            yield
            await self.settle()
        finally:
            self._is_silent = False

    async def locate(self) -> None:
        """Tell what happens from now on."""
        self._reached = await self.parts.feed.locate(None)

    async def tell(self, work: "asyncio.Task[object]") -> None:
        """Tell the audience. Without end, unless it raises something: then the work that it looks at is cancelled."""
        try:
            await self._tell()
        except Exception as error:  # noqa: BLE001 - it is raised where the work ends
            self.problem = error
            self._moved.set()
            work.cancel()

    async def _tell(self) -> None:
        if self._audience is None:
            return
        following = self.parts.feed.follow(_ALL, self._reached, is_text=False)
        async with aclosing(following), aclosing(in_order(following, self._turns)) as updates:
            async for update in updates:
                if update.chunk is not None:
                    if update.chunk.data and (run := self._runs.get(update.chunk.run_id)) is not None:
                        self._audience.writes(run, update.chunk.stream, update.chunk.data)
                elif update.entry is not None and not self._is_silent:
                    self._take(update.entry, self._audience)
                self._reached = update.cursor
                self._moved.set()

    async def settle(self) -> None:
        """Return when all that has happened by now was told, or nobody is told any more."""
        if self._audience is None:
            return
        newest = await self.parts.feed.locate(None)
        while self._reached < newest and self.problem is None:
            self._moved.clear()
            await self._moved.wait()

    async def _turns(self, chunk: OutputChunk) -> list[tuple[int, int]]:
        where = {"begin": chunk.offset, "end": chunk.next_offset, "attempt_number": chunk.attempt}
        return await self.engine.reads.turns(chunk.run_id, chunk.stream, **where)

    def _take(self, entry: JournalEntry, audience: Audience) -> None:
        if entry.event is not None:
            self._take_event(entry.event, audience)
        elif entry.run is None:
            return
        elif entry.status == "running":
            if entry.attempt is not None:  # else it says how far it is
                self._runs[entry.run.id] = entry.run
                audience.begins(entry.run)
        elif entry.status == "queued":
            (audience.awaits if entry.attempt is None else audience.goes_on)(entry.run)
        elif entry.run.status.is_final and entry.status == entry.run.status:
            audience.ends(entry.run)
            if not self._causes:
                self._take_next(entry.run, audience)

    def _take_event(self, event: EventHead, audience: Audience) -> None:
        if event.id not in self._known:
            cause = None if event.caused_by is None else self._runs.get(event.caused_by.run_id)
            audience.sent(Sent(event.id, event.type, _label(cause), is_run=self._causes and bool(event.run_ids)))

    def _take_next(self, run: Run, audience: Audience) -> None:
        if run.result is None or run.result.status not in trees.GOES_ON or not trees.has_next(run.result):
            return
        now = json.instant(self.parts.feed.now_ms())
        try:
            found = trees.next_events(run.result, first_run_id=run.id, now=now, max_events=_MAX_NEXT)
        except FlowdError as error:
            audience.sent(Sent(None, None, _label(run), problem=error.message))
            return
        for event in found:
            audience.sent(Sent(event.id, event.type, _label(run)))


def _label(run: Run | None) -> str | None:
    return None if run is None else f"{run.flow_name}/{run.step_name}"


@contextlib.asynccontextmanager
async def rehearsing(
    settings: Settings,
    audience: Audience | None,
    *,
    causes: bool,
    is_live: bool = False,
    around_runners: Callable[[Runners], Runners] | None = None,
) -> AsyncIterator[Rehearsal]:
    """An engine on a private state folder, see `flowd.embedded.running.private_settings`.

    Instants that events name are not waited for. At the end, also by a cancellation, steps under way are ended as their
    own grace says, and what they write meanwhile is told. A second cancellation kills them.

    Args:
        causes: What steps send, and name as ``next``, runs here, too; else it is only told.
        is_live: Steps reach a daemon where they would in a shell. In a step that is itself only tried out they do not.
        around_runners: See `flowd.wiring.build`.

    Raises:
        ExceptionGroup: Around whatever the block raises, or the audience, which ends the steps, too.
    """
    is_live = is_live and rehearsal_socket() is None
    path = None if is_live else sockets.socket_path(settings.socket)
    async with contextlib.AsyncExitStack() as stack:
        parts = await stack.enter_async_context(running(settings, rehearsal_socket=path, around_runners=around_runners))
        parts.engine.wait_for_no_instant()
        if not causes:
            parts.engine.cause_nothing()
        rehearsal = Rehearsal(parts, audience, causes=causes)
        if path is not None:
            local = methods.local_methods(parts, settings)
            serving = listening_when_called(path, local, max_frame_bytes=settings.max_frame_bytes)
            await stack.enter_async_context(serving)
        await rehearsal.locate()
        work = asyncio.current_task()
        assert work is not None
        telling = asyncio.create_task(rehearsal.tell(work), name="flowd-rehearsal")
        try:
            yield rehearsal
        except asyncio.CancelledError:
            parts.engine.wind_down()
            try:
                await end_steps(parts)
            except asyncio.CancelledError:  # somebody is in a hurry
                await end_steps(parts, grace_s=0)
            await rehearsal.settle()
            if rehearsal.problem is not None:
                work.uncancel()
                raise rehearsal.problem from None
            raise
        finally:
            telling.cancel()
            await asyncio.gather(telling, return_exceptions=True)
