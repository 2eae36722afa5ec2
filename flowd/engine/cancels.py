"""Cancels runs, events and trees."""

import asyncio
from collections.abc import Awaitable, Callable

from flowd.domain.errors import RefusedError, RunFinishedError
from flowd.domain.people import Person
from flowd.domain.run import ProcessStatus, Run
from flowd.engine.attempts import Attempts
from flowd.engine.completions import Completions
from flowd.engine.uncancellable import UncancellableCalls
from flowd.ports import Clock, OpenStore

_MARGIN_S = 3.0
"""How long, beyond its grace, a cancel waits to answer with the run as it ended."""


class Cancels:
    """Ends runs because somebody asks for it."""

    def __init__(
        self,
        *,
        store: OpenStore,
        attempts: Attempts,
        completions: Completions,
        clock: Clock,
        calls: UncancellableCalls,
        read: Callable[[str], Awaitable[Run]],
        ring: Callable[[], None],
    ) -> None:
        """``read`` reads a run, and raises `RunNotFoundError`; ``ring`` is told that runs may be ready."""
        self._store = store
        self._attempts = attempts
        self._completions = completions
        self._clock = clock
        self._calls = calls
        self._read = read
        self._ring = ring

    async def run(self, run_id: str) -> Run:
        """End a run. Answers when it has ended, or soon after its grace with the run as it is then.

        Canceling a canceled run changes nothing. Goes on to its end even if this call is cancelled.

        Raises:
            RunNotFoundError: No such run.
            RunFinishedError: It has ended in another way.
        """
        return await self._calls.do(self._run(run_id))

    async def _run(self, run_id: str) -> Run:
        canceled = None
        if run_id not in self._attempts.active:  # else it is not queued, and its end needs no room on the disk
            canceled = await self._store.cancel_queued(run_id, at_ms=self._clock.now_ms())
        if canceled is not None:
            self._completions.tell(canceled)
            self._ring()  # what needs it may start now, where it asks for no good end
            return await self._read(run_id)
        ended = self._completions.expect(run_id)
        try:
            run = await self._read(run_id)
            if run.status is ProcessStatus.CANCELED:
                return run
            if run.status.is_final:
                raise RunFinishedError(
                    f"Run {run_id} has ended already ({run.effective_status}); there is nothing to cancel.",
                    status=run.effective_status,
                )
            grace_s = await self.end_running(run_id)
            await asyncio.wait([ended], timeout=grace_s + _MARGIN_S)
        finally:
            self._completions.drop(run_id, ended)
        return await self._read(run_id)

    async def event(self, event_id: str, *, is_tree: bool = False, by: Person) -> list[str]:
        """End every unfinished run of an event, with ``is_tree`` of all below it, too; the ids of these runs. Its
        questions are closed.

        First all ends that has not started, then what runs, until nothing is left. Answers when it has ended, or soon
        after its grace. A step that completes all the same stands, and causes nothing. Goes on to its end even if this
        call is cancelled.

        Raises:
            EventNotFoundError: No such event.
        """
        return await self._calls.do(self._event(event_id, is_tree=is_tree, by=by))

    async def _event(self, event_id: str, *, is_tree: bool, by: Person) -> list[str]:
        ended: list[str] = []
        asked: dict[str, None] = {}
        problem = await self._call_off(event_id, is_tree)
        while True:
            problem = await self._end_waiting(event_id, is_tree, by, ended) or problem
            running = [one for one in await self._store.running_of(event_id, is_tree=is_tree) if one not in asked]
            if not running:
                break
            asked.update(dict.fromkeys(running))
            await asyncio.gather(*map(self._run, running), return_exceptions=True)
        if problem is not None:
            raise problem
        return [*ended, *asked]

    async def _call_off(self, event_id: str, is_tree: bool) -> RefusedError | None:
        """What kept it from being written down, such as a full disk: running steps are ended all the same."""
        try:
            await self._store.call_off(event_id, is_tree=is_tree)
        except RefusedError as problem:
            return problem
        return None

    async def _end_waiting(self, event_id: str, is_tree: bool, by: Person, ended: list[str]) -> RefusedError | None:
        try:
            while some := await self._store.cancel_waiting(event_id, is_tree=is_tree, at_ms=self._clock.now_ms()):
                ended += [run.id for run in some]
                for run in some:
                    self._completions.tell(run)
            while closed := await self._store.close_questions(
                event_id, by, is_tree=is_tree, at_ms=self._clock.now_ms()
            ):
                ended += closed
            self._ring()  # steps that run finally may start now
        except RefusedError as problem:
            return problem
        return None

    async def end_running(self, run_id: str, *, grace_s: float | None = None) -> float:
        """Note the wish to cancel a running run, for the next daemon, and end it, even if nothing can be noted.

        Returns:
            How many seconds it has for its end; 0 where it does not run.
        """
        try:
            is_running = await self._store.request_cancel(run_id, at_ms=self._clock.now_ms())
        except RefusedError:
            is_running = run_id in self._attempts.active
            if not is_running:
                raise
        return await self._attempts.cancel(run_id, grace_s=grace_s) if is_running else 0.0
