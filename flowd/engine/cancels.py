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
                hint = (
                    f" It asks a person: `flowd reject {run_id}` says no, and a cancel of event {run.event_id} closes"
                    " the question."
                )
                raise RunFinishedError(
                    f"Run {run_id} has ended already ({run.effective_status}); there is nothing to cancel."
                    f"{hint if run.needs_attention else ''}",
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

        It means what there is when it is asked: nothing of that starts any more, nor causes anything, whatever becomes
        of this daemon. What people retry or replay meanwhile goes on. Answers when what ran has ended, or soon after
        its grace. A step that completes all the same stands. Goes on to its end even if this call is cancelled.

        Raises:
            EventNotFoundError: No such event.
        """
        return await self._calls.do(self._event(event_id, is_tree=is_tree, by=by))

    async def _event(self, event_id: str, *, is_tree: bool, by: Person) -> list[str]:
        try:
            called_off = await self._store.call_off(event_id, by, is_tree=is_tree, at_ms=self._clock.now_ms())
        except RefusedError:  # such as a full disk: what runs is ended all the same
            running = await self._store.running_of(event_id, is_tree=is_tree)
            await asyncio.gather(*map(self._run, running), return_exceptions=True)
            raise
        # At once: what runs under these names a moment later may be what a person has retried.
        ends = {run_id: self._completions.expect(run_id) for run_id in called_off.running}
        try:
            graces_s = await asyncio.gather(*map(self._attempts.cancel, ends))
            await self._end_called_off()
            still = await self._store.running_of(event_id, is_tree=is_tree)
            if left := [ends[run_id] for run_id in still if run_id in ends]:
                await asyncio.wait(left, timeout=max(graces_s) + _MARGIN_S)
        finally:
            for run_id, end in ends.items():
                self._completions.drop(run_id, end)
        return list(called_off.runs)

    async def open(self) -> None:
        """Go on with what an earlier daemon had begun, before anything starts."""
        await self._end_called_off()

    async def _end_called_off(self) -> None:
        while some := await self._store.end_called_off(at_ms=self._clock.now_ms()):
            for run in some:
                if run.resolution is None:  # else its question was closed, and it had ended before
                    self._completions.tell(run)
        self._ring()  # steps that run finally may start now

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
