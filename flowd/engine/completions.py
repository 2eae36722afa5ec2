"""Lets callers wait for runs to end without polling."""

import asyncio
from collections.abc import Callable, Iterable

from flowd.domain.run import Run
from flowd.domain.waiting import KeyWait, goes_by_itself

ANY_EVENT = ""
"""Of those for whom runs of any event matter: whoever holds the key that they wait for."""


class Completions:
    """Tells those who wait that a run has ended, or that they should look again."""

    def __init__(self, on_end: Callable[[Run], None] = lambda _: None) -> None:
        """``on_end`` is told of every run that ends."""
        self._on_end = on_end
        self._waiting: dict[str, set[asyncio.Future[Run | None]]] = {}
        self._event_of: dict[str, str] = {}
        """Of some of the runs that are waited for."""
        self._pending: set[str] = set()
        self._watching: set[asyncio.Future[None]] = set()

    def begin(self, runs: Iterable[Run]) -> None:
        """These runs are not finished, and the end of those that wait for no other will be told, so that who waits for
        such a run need not ask the store."""
        self._pending.update(run.id for run in runs if not run.status.is_final and goes_by_itself(run.waiting_for))

    def is_pending(self, run_id: str) -> bool:
        """Whether the run is known to be unfinished and to go on by itself. False says nothing."""
        return run_id in self._pending

    def expect(self, run_id: str) -> asyncio.Future[Run | None]:
        """A future for the run's end, which the caller gives to `drop` in the end; None where something may keep it
        from ever ending by itself: for a run that waits for others see `belongs`.

        Look at the store after calling this, not before: then no end is missed.
        """
        future: asyncio.Future[Run | None] = asyncio.get_running_loop().create_future()
        self._waiting.setdefault(run_id, set()).add(future)
        return future

    def belongs(self, run: Run) -> None:
        """The run, which somebody expects to end, may wait for others of its event: a question among these is told."""
        if run.id in self._waiting:
            self._event_of[run.id] = ANY_EVENT if isinstance(run.waiting_for, KeyWait) else run.event_id

    def watch(self) -> asyncio.Future[None]:
        """A future for the next end of any run, or the next `stir`. Look at the store after calling this."""
        future: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._watching.add(future)
        future.add_done_callback(self._watching.discard)
        return future

    def tell(self, run: Run) -> None:
        """The run has ended: wake everybody who waits for it, and for others of its event where it asks a person."""
        self._on_end(run)
        self._wake(run)

    def _wake(self, run: Run) -> None:
        self._pending.discard(run.id)
        for future in tuple(self._waiting.get(run.id, ())):
            if not future.done():
                future.set_result(run)
        if run.needs_attention:
            meant = (run.event_id, ANY_EVENT)
            self._look_again([other for other, event_id in self._event_of.items() if event_id in meant])
        self._tell_watching()

    @property
    def is_anybody_waiting(self) -> bool:
        """Whether somebody waits for a run or an event, or takes it that an end will be told."""
        return bool(self._waiting or self._pending or self._watching)

    def heard(self, run: Run) -> None:
        """The run has ended on another host: the same as `tell`, but that it is not this daemon's end to count."""
        self._wake(run)

    def look_again(self) -> None:
        """Ends may have been missed: let everybody look for themselves."""
        self.stir()

    def again(self, run_id: str) -> None:
        """The run is queued once more, and may be kept then: let those who wait for it look again."""
        self._pending.discard(run_id)
        self._look_again([run_id])

    def stir(self) -> None:
        """Any run may wait for a person from now on: let everybody look again."""
        self._pending.clear()
        self._look_again(list(self._waiting))
        self._tell_watching()

    def _look_again(self, run_ids: list[str]) -> None:
        for run_id in run_ids:
            for future in tuple(self._waiting.get(run_id, ())):
                if not future.done():
                    future.set_result(None)

    def _tell_watching(self) -> None:
        for future in tuple(self._watching):
            if not future.done():
                future.set_result(None)

    def drop(self, run_id: str, future: asyncio.Future[Run | None]) -> None:
        """Nobody waits for this future any more."""
        future.cancel()
        waiting = self._waiting.get(run_id)
        if waiting is not None:
            waiting.discard(future)
            if not waiting:
                del self._waiting[run_id]
                self._event_of.pop(run_id, None)
