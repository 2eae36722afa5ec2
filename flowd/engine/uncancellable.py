"""Finishes calls whose caller has gone away, so that no change is left half done."""

import asyncio
import logging
from collections.abc import Coroutine
from typing import Any, TypeVar, cast

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
        loop = asyncio.get_running_loop()
        answer: asyncio.Future[T] = loop.create_future()
        # Not shielded: the task gives the answer itself, a turn of the loop earlier than its done callbacks would.
        task = loop.create_task(self._finish(work, answer))
        self._tasks.add(task)
        return await answer

    def begin(self, work: Coroutine[Any, Any, object]) -> None:
        """Begin work for whose end nobody waits. What goes wrong with it is logged."""
        self._tasks.add(asyncio.get_running_loop().create_task(self._alone(work)))

    async def _alone(self, work: Coroutine[Any, Any, object]) -> None:
        try:
            await work
        except Exception:
            log.exception("something that nobody waited for failed")
        finally:
            self._tasks.discard(cast("asyncio.Task[Any]", asyncio.current_task()))

    async def _finish(self, work: Coroutine[Any, Any, T], answer: "asyncio.Future[T]") -> None:
        try:
            value = await work
        except asyncio.CancelledError:
            answer.cancel()
            raise
        except Exception as error:  # noqa: BLE001 - whatever it is, it is the caller's
            if not answer.done():
                answer.set_exception(error)
            else:
                log.info("refused, but nobody listens any more", extra={"reason": type(error).__name__})
        else:
            if not answer.done():
                answer.set_result(value)
        finally:
            self._tasks.discard(cast("asyncio.Task[Any]", asyncio.current_task()))
