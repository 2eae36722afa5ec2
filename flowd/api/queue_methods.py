"""The handlers of the methods about the queue as a whole."""

from collections.abc import Awaitable, Callable
from typing import Any

from flowd.api import filters, params
from flowd.api.shapes import daemon, queue
from flowd.domain.pauses import Paused
from flowd.domain.people import Person
from flowd.engine.engine import Engine
from flowd_client import methods as names


class QueueMethods:
    """They show what waits, and hold it up or let it go."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine
        self.handlers: dict[str, Callable[..., Awaitable[Any]]] = {
            names.QUEUE: self._queue,
            names.PAUSE: self._pause,
            names.RESUME_FLOWS: self._resume,
            names.PARALLEL: self._parallel,
        }

    async def _queue(self, given: queue.Queue) -> queue.QueuedView:
        where = filters.of_named(given.flow, given.step, given.label)
        queued = await self._engine.pauses.queue(where, limit=params.page_limit(given.limit), cursor=given.cursor)
        return queue.queued_view(queued)

    async def _pause(self, given: queue.Paused, by: Person) -> queue.PausedView:
        pause, runs = await self._engine.pauses.pause(Paused(given.flow, given.step), by=by)
        return queue.PausedView(pause=queue.pause_view(pause), runs=runs)

    async def _resume(self, given: queue.Paused, by: Person) -> queue.ResumedView:
        what = Paused(given.flow, given.step)
        was_paused, runs = await self._engine.pauses.resume(what, by=by)
        if what == Paused():
            runs += await self._engine.resume()
        return queue.ResumedView(what=str(what), was_paused=was_paused, runs=runs)

    async def _parallel(self, given: daemon.Parallel) -> daemon.ParallelView:
        self._engine.set_max_parallel(given.max)
        return daemon.ParallelView(max_parallel=self._engine.max_parallel, running=len(self._engine.active))
