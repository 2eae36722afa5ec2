"""Finishes calls whose caller has gone away, so that no change is left half done."""

import asyncio
import logging
from collections.abc import Coroutine
from typing import Any, TypeVar

log = logging.getLogger("flowd.engine")

T = TypeVar("T")


class UncancellableCalls:
    """Runs work to its end. Cancelling the call lets go of the answer, not of the work.

    A change is two steps, the commit and telling the rest of the engine: a caller that hangs up between them must not
    leave a run that was claimed and is never started, or one that is queued and nobody rang for.
    """

    def __init__(self) -> None:
        self._tasks: set[asyncio.Task[Any]] = set()

    async def do(self, work: Coroutine[Any, Any, T]) -> T:
        """The work's value, or its exception."""
        task = asyncio.get_running_loop().create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        try:
            return await asyncio.shield(task)
        except asyncio.CancelledError:
            task.add_done_callback(_consume)
            raise


def _consume(task: asyncio.Task[Any]) -> None:
    if not task.cancelled() and task.exception() is not None:
        log.info("refused, but nobody listens any more", extra={"reason": type(task.exception()).__name__})
