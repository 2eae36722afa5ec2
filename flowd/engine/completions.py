"""Lets callers wait for runs to end without polling."""

import asyncio
from collections.abc import Callable, Iterable

from flowd.domain.run import Run


class Completions:
    """Tells those who wait that a run has ended."""

    def __init__(self, on_end: Callable[[Run], None] = lambda _: None) -> None:
        """``on_end`` is told of every run that ends."""
        self._on_end = on_end
        self._waiting: dict[str, set[asyncio.Future[Run]]] = {}
        self._pending: set[str] = set()

    def begin(self, run_ids: Iterable[str]) -> None:
        """These runs are not finished, and their end will be told: who waits for them need not ask the store."""
        self._pending.update(run_ids)

    def is_pending(self, run_id: str) -> bool:
        """Whether the run is known to be unfinished. False says nothing."""
        return run_id in self._pending

    def expect(self, run_id: str) -> asyncio.Future[Run]:
        """A future for the run's end, which the caller gives to `drop` in the end. Look at the store after calling
        this, not before: then no end is missed."""
        future: asyncio.Future[Run] = asyncio.get_running_loop().create_future()
        self._waiting.setdefault(run_id, set()).add(future)
        return future

    def tell(self, run: Run) -> None:
        """The run has ended: wake everybody who waits for it."""
        self._pending.discard(run.id)
        self._on_end(run)
        for future in tuple(self._waiting.get(run.id, ())):
            if not future.done():
                future.set_result(run)

    def drop(self, run_id: str, future: asyncio.Future[Run]) -> None:
        """Nobody waits for this future any more."""
        future.cancel()
        waiting = self._waiting.get(run_id)
        if waiting is not None:
            waiting.discard(future)
            if not waiting:
                del self._waiting[run_id]
