"""What makes runs: an event, its replay, another attempt of a run."""

import logging
import time
from collections.abc import Collection, Sequence
from dataclasses import replace

from flowd.domain.awaited import Waiting
from flowd.domain.errors import FlowdError, NotRetryableError, RunActiveError, SlotDecidedError, SlotEarlyError
from flowd.domain.queueing import Claim, Claimed
from flowd.domain.redaction import Redactor
from flowd.domain.run import Reason, Run
from flowd.domain.slots import Slot
from flowd.domain.stored import Accepted
from flowd.engine import run_log
from flowd.engine.claims import Claims
from flowd.engine.completions import Completions
from flowd.engine.intake import Intake
from flowd.engine.reads import Reads
from flowd.engine.scheduler import Scheduler
from flowd.engine.tallies import Tallies
from flowd.engine.uncancellable import UncancellableCalls
from flowd.ports import Clock, OpenStore


class Sending:
    """Makes runs, and has them started. What was begun is done even if the call is cancelled."""

    def __init__(
        self,
        *,
        store: OpenStore,
        clock: Clock,
        intake: Intake,
        scheduler: Scheduler,
        claims: Claims,
        completions: Completions,
        reads: Reads,
        redactor: Redactor,
        calls: UncancellableCalls,
        tallies: Tallies,
    ) -> None:
        self._store = store
        self._clock = clock
        self._intake = intake
        self._scheduler = scheduler
        self._claims = claims
        self._completions = completions
        self._reads = reads
        self._redactor = redactor
        self._calls = calls
        self._tallies = tallies

    async def dispatch(
        self,
        value: object,
        *,
        only: tuple[str, str] | None = None,
        among: Collection[tuple[str, str]] | None = None,
        caused_by: str | None = None,
        traceparent: str | None = None,
        slot: Slot | None = None,
        must_match: bool = False,
    ) -> Accepted:
        """Accept an event; see `Intake.accept`. Its runs start as places are free, even if this call is cancelled."""
        sent = self._dispatch(value, caused_by, traceparent, slot, only=only, among=among, must_match=must_match)
        return await self._calls.do(sent)

    async def _dispatch(
        self,
        value: object,
        caused_by: str | None,
        traceparent: str | None,
        slot: Slot | None,
        *,
        only: tuple[str, str] | None,
        among: Collection[tuple[str, str]] | None,
        must_match: bool,
    ) -> Accepted:
        places, claimed, began_s = 0, Claimed(), time.perf_counter()

        def claim(runs: int) -> Claim | None:
            nonlocal places
            places = self._scheduler.reserve(runs)
            return self._claims.ask(places) if places else None

        try:
            said = {"caused_by": caused_by, "traceparent": traceparent}
            accepted = await self._intake.accept(
                value, only=only, among=among, claim=claim, slot=slot, must_match=must_match, **said
            )
            self._tallies.accepted(accepted, time.perf_counter() - began_s)
            claimed = accepted.claimed or claimed
            if not accepted.is_duplicate:
                self._completions.begin(accepted.runs)
            run_log.tell_accepted(accepted, caused_by)
        except (SlotDecidedError, SlotEarlyError):
            raise  # nobody has sent anything
        except FlowdError as refusal:
            self._tallies.refused(refusal.slug)
            raise
        finally:
            self._scheduler.start(claimed, places=places)
        if accepted.runs and not accepted.is_duplicate and not places:
            self._scheduler.ring()
        if self._redactor.longest:
            return replace(accepted, runs=tuple(map(self._reads.shown, accepted.runs)))
        return accepted

    async def replay(
        self,
        event_id: str,
        steps: Sequence[str] | None = None,
        *,
        from_steps: Sequence[str] | None = None,
        is_missing: bool = False,
        waiting: Waiting | None = None,
    ) -> Accepted:
        """New runs for a stored event; see `Intake.replay`. They start even if this call is cancelled.

        Returns:
            The event with the runs that it has by now, and the new ones.
        """
        return await self._calls.do(self._replay(event_id, steps, from_steps, is_missing=is_missing, waiting=waiting))

    async def _replay(
        self,
        event_id: str,
        steps: Sequence[str] | None,
        from_steps: Sequence[str] | None,
        *,
        is_missing: bool,
        waiting: Waiting | None,
    ) -> Accepted:
        replayed = await self._intake.replay(
            event_id, steps, from_steps=from_steps, is_missing=is_missing, waiting=waiting
        )
        self._tallies.replays += 1
        self._completions.begin(replayed.runs)
        self._scheduler.ring()
        for run in replayed.runs:
            run_log.tell(logging.DEBUG, "run queued", run, replay_of=run.replay_of)
        run_log.tell_left_out(replayed.event)
        # The runs that it has by now, and what this replay left out.
        event = replace(await self._reads.event(event_id), left_out=replayed.event.left_out)
        return replace(replayed, event=event)

    async def retry_run(self, run_id: str, *, waiting: Waiting | None = None) -> Run:
        """Queue another attempt of a run that ended badly. It starts with the step's definition in force then.

        Args:
            waiting: The step that is about to wait for it.

        Raises:
            RunNotFoundError: No such run.
            RunActiveError: It is queued or running.
            NotRetryableError: It ended well.
            WouldDeadlockError: The step could not wait for it; nothing was done.
        """
        return await self._calls.do(self._retry_run(run_id, waiting))

    async def _retry_run(self, run_id: str, waiting: Waiting | None) -> Run:
        run = await self._reads.run(run_id)
        if not run.status.is_final:
            raise RunActiveError(
                f"Run {run_id} is {run.status}; cancel it first, or wait for its end.", status=run.status
            )
        # Of those that were not run the store says which one to retry.
        if not run.is_retryable and run.reason is not Reason.NEEDS_NOT_MET:
            raise NotRetryableError(
                f"Run {run_id} ended well ({run.effective_status}). To run its step anew, replay event {run.event_id}.",
                status=run.effective_status,
            )
        queued = await self._store.retry(run_id, at_ms=self._clock.now_ms(), waiting=waiting)
        if queued is None:
            raise RunActiveError(f"Run {run_id} was retried by somebody else just now.")
        self._tallies.pulse.goes_on(run)
        self._scheduler.ring()
        run_log.tell(logging.DEBUG, "run queued", queued, attempts_before=run.attempt_count)
        return await self._reads.run(run_id)
