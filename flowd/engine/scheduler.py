"""What starts now: a bounded number of runs at a time, the rest in order."""

import asyncio
import logging
from collections import OrderedDict
from collections.abc import Awaitable, Callable, Iterable

log = logging.getLogger("flowd.engine")

Release = Callable[[], None]


class Scheduler:
    """Starts queued runs in the order of their acceptance, at most ``max_parallel`` at once.

    It holds ids only; whether a run is still queued is decided by the store when it begins.
    """

    def __init__(self, supervise: Callable[[str, Release], Awaitable[None]], *, max_parallel: int) -> None:
        """``supervise(run_id, release)`` takes a run through an attempt, and frees its place once its process ended."""
        self._supervise = supervise
        self._max_parallel = max_parallel
        self._queue: OrderedDict[str, None] = OrderedDict()
        self._occupied = 0
        self._is_paused = True
        self._tasks: asyncio.TaskGroup | None = None
        self._timers: dict[str, asyncio.TimerHandle] = {}

    def open(self, tasks: asyncio.TaskGroup) -> None:
        """Begin to start runs, as tasks of this group."""
        self._tasks = tasks
        self._is_paused = False
        self._pump()

    def pause(self) -> None:
        """Start nothing more. What is queued stays queued, on disk."""
        self._is_paused = True
        for timer in self._timers.values():
            timer.cancel()
        self._timers.clear()

    @property
    def waiting(self) -> int:
        """How many runs wait for a place or for their time."""
        return len(self._queue) + len(self._timers)

    def submit(self, run_ids: Iterable[str]) -> None:
        """Queue runs. One that is queued already, as a run that was canceled and retried may be, keeps its place."""
        for run_id in run_ids:
            self._queue.setdefault(run_id)
            if timer := self._timers.pop(run_id, None):
                timer.cancel()
        self._pump()

    def submit_later(self, run_id: str, delay_s: float) -> None:
        """Queue a run after a delay."""
        if delay_s <= 0:
            self.submit([run_id])
        else:
            loop = asyncio.get_running_loop()
            if timer := self._timers.get(run_id):
                timer.cancel()
            self._timers[run_id] = loop.call_later(delay_s, self._due, run_id)

    def occupy(self) -> Release:
        """Take a place without queueing, for a run that was adopted; returns what gives it back."""
        self._occupied += 1
        is_held = True

        def release() -> None:
            nonlocal is_held
            if is_held:
                is_held = False
                self._occupied -= 1
                self._pump()

        return release

    def _due(self, run_id: str) -> None:
        self._timers.pop(run_id, None)
        self.submit([run_id])

    def _pump(self) -> None:
        while self._queue and not self._is_paused and self._occupied < self._max_parallel and self._tasks is not None:
            run_id, _ = self._queue.popitem(last=False)
            self._tasks.create_task(self._run(run_id, self.occupy()), name=f"run {run_id}")

    async def _run(self, run_id: str, release: Release) -> None:
        try:
            await self._supervise(run_id, release)
        except Exception:
            # One run's trouble must not end the others; the store still has it, and the next start reconciles it.
            log.exception("supervision failed", extra={"run_id": run_id})
        finally:
            release()
