"""The handlers of the methods about the queue as a whole."""

from collections.abc import Awaitable, Callable
from typing import Any

from flowd.api.shapes import daemon
from flowd.engine.engine import Engine
from flowd_client import methods as names


class QueueMethods:
    """They show what waits, and hold it up or let it go."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine
        self.handlers: dict[str, Callable[..., Awaitable[Any]]] = {
            names.PARALLEL: self._parallel,
        }

    async def _parallel(self, given: daemon.Parallel) -> daemon.ParallelView:
        self._engine.set_max_parallel(given.max)
        return daemon.ParallelView(max_parallel=self._engine.max_parallel, running=len(self._engine.active))
