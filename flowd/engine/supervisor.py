"""One attempt, from the queue to its recorded outcome."""

import asyncio
import logging
import time
from collections.abc import Awaitable, Callable
from dataclasses import replace
from typing import TypeVar

from flowd.domain import excerpt, retry
from flowd.domain.definition import Definition
from flowd.domain.errors import StorageBusyError, StorageFullError
from flowd.domain.ids import parse_attempt_id
from flowd.domain.run import Attempt, Exit, Outcome, ProcessStatus, Reason, Run, decide
from flowd.engine import run_log
from flowd.engine.completions import Completions
from flowd.engine.outputs import CollectedOutput, OutputFiles
from flowd.engine.running_step import ActiveRun, RunningStep
from flowd.engine.storage_waits import StorageWaits
from flowd.ports import (
    Clock,
    Command,
    Keeper,
    KeeperLostError,
    Launch,
    NoRoomError,
    Output,
    Runners,
    SpawnError,
    StartedRun,
    StepContext,
    Store,
)

T = TypeVar("T")

_INLINE_SCAN_BYTES = 1024 * 1024
_NOTE_START_AFTER_S = 0.1
"""Steps that end sooner have their pid and command recorded with their outcome: one commit less for each."""

_STORAGE_RETRY_S = 1.0


class Supervisor:
    """Starts steps through the keeper, and records how they end."""

    def __init__(
        self,
        *,
        store: Store,
        keeper: Keeper,
        runners: Runners,
        outputs: OutputFiles,
        completions: Completions,
        clock: Clock,
        boot_id: str,
        max_output_bytes: int,
        requeue: Callable[[str, float], None],
        mask: Callable[[str], str] = str,
    ) -> None:
        """``requeue(run_id, delay_s)`` puts a run into the scheduler again; ``mask`` takes secrets out of a text."""
        self._store = store
        self._keeper = keeper
        self._runners = runners
        self._outputs = outputs
        self._completions = completions
        self._clock = clock
        self._boot_id = boot_id
        self._max_output_bytes = max_output_bytes
        self._requeue = requeue
        self._mask = mask
        self._waits = StorageWaits(time.monotonic)
        self._active: dict[str, ActiveRun] = {}
        # Runs between the queue and `_active`, each with whether it was canceled meanwhile.
        self._beginning: dict[str, bool] = {}

    @property
    def active(self) -> tuple[str, ...]:
        """Ids of the runs under way, those included whose start is being written down."""
        return (*self._beginning, *self._active)

    @property
    def waiting_for_storage(self) -> int:
        """How many runs have a start or an end that cannot be written down just now."""
        return self._waits.count

    def under_way(self) -> list[RunningStep]:
        """The running steps, oldest first."""
        now_ms = self._clock.now_ms()
        found = [RunningStep.of(active, now_ms=now_ms) for active in self._active.values()]
        return sorted(found, key=lambda step: step.started_at_ms)

    def enrich(self, attempt: Attempt) -> Attempt:
        """An attempt with what is known of it before it is written down."""
        active = self._active.get(attempt.run_id)
        return active.attempt if active is not None and active.attempt.number == attempt.number else attempt

    def is_supervising(self, run_id: str, number: int) -> bool:
        """Whether this attempt is under way, its end not told to anybody yet."""
        active = self._active.get(run_id)
        return active is not None and active.attempt.number == number

    async def supervise(self, run_id: str, release: Callable[[], None]) -> None:
        """Take a queued run through one attempt. Does nothing when the run is not queued any more.

        Cancelling this call leaves the step running; the next start adopts it.
        """
        self._beginning[run_id] = False
        try:
            begun = await self._begin(run_id)
        finally:
            is_canceled = self._beginning.pop(run_id)
        if begun is None:
            self._waits.over(f"start {run_id}")
            return
        active = self._active[run_id] = ActiveRun(begun.attempt, begun.definition, is_canceled=is_canceled)
        try:
            try:
                await self._start(active, begun)
            except NoRoomError as error:
                self._waits.wait(f"start {run_id}", problem=str(error))
                await asyncio.sleep(_STORAGE_RETRY_S)
                await self._put_back(active, str(error))
                return
            except SpawnError as error:
                await self._record(active, Exit(), _refused(active, str(error)), Output())
                return
            except KeeperLostError:
                if not await self._keeper.knows(begun.attempt.id):
                    await self._put_back(active, "its keeper died before it started")
                    return
                active.is_started = True
                if active.wants_cancel():
                    await self.cancel(run_id)
            self._waits.over(f"start {run_id}")
            await self._see_off(active, release)
        finally:
            self._active.pop(run_id, None)

    async def adopt(self, run: Run, attempt: Attempt, definition: Definition, release: Callable[[], None]) -> None:
        """Go on supervising an attempt that an earlier daemon started."""
        active = self._active[run.id] = ActiveRun(attempt, definition, is_started=True)
        try:
            if run.cancel_requested:
                await self.cancel(run.id)
            await self._see_off(active, release)
        finally:
            self._active.pop(run.id, None)

    async def abandon(self, run: Run, attempt: Attempt, definition: Definition) -> None:
        """Record the end of an attempt that nobody can have seen: by its result if it left one, else `interrupted`."""
        active = ActiveRun(attempt, definition, is_started=True)
        said = await self._collect(attempt.id)
        exit_ = Exit(cause="canceled") if run.cancel_requested else Exit()
        await self._record(active, exit_, self._decide(active, exit_, said), said.output)

    async def start_over(self, run_id: str) -> None:
        """Queue a run again whose process was provably never started; its attempt is forgotten."""
        await self._patiently(run_id, lambda: self._store.requeue(run_id, at_ms=self._clock.now_ms()))
        self._requeue(run_id, 0.0)

    async def _put_back(self, active: ActiveRun, why: str) -> None:
        """A start that never happened: queue the run again, unless somebody wants it canceled by now."""
        if active.wants_cancel():
            await self._record(active, Exit(), _refused(active, why), Output())
        else:
            await self.start_over(active.attempt.run_id)

    async def let_go(self, attempt_id: str) -> None:
        """Do what an earlier daemon could not do any more after it had recorded this attempt's outcome."""
        output = await self._store.output(*parse_attempt_id(attempt_id))
        if output is not None:
            self._outputs.remove(attempt_id, output)
        await self._keeper.forget(attempt_id)

    async def cancel(self, run_id: str, *, grace_s: float | None = None) -> None:
        """Ask a run under way to end, at once with ``grace_s=0``. Its outcome comes by itself. Idempotent."""
        if run_id in self._beginning:
            self._beginning[run_id] = True
        active = self._active.get(run_id)
        if active is None:
            return
        active.is_canceled = True
        if active.is_started:
            grace = active.definition.grace_ms / 1000 if grace_s is None else grace_s
            await self._keeper.stop(active.attempt.id, cause="canceled", grace_s=grace)

    async def _begin(self, run_id: str) -> StartedRun | None:
        return await self._patiently(
            run_id,
            lambda: self._store.begin(
                run_id, worker_id=self._keeper.id, boot_id=self._boot_id, at_ms=self._clock.now_ms()
            ),
        )

    async def _patiently(self, run_id: str, write: Callable[[], Awaitable[T]]) -> T:
        """Write, however long the disk is full or the database locked: giving up would lose the run."""
        while True:
            try:
                value = await write()
            except (StorageFullError, StorageBusyError) as error:
                self._waits.wait(run_id, problem=error.message)
                await asyncio.sleep(_STORAGE_RETRY_S)
            else:
                self._waits.over(run_id)
                return value

    async def _start(self, active: ActiveRun, begun: StartedRun) -> None:
        attempt, definition = begun.attempt, begun.definition
        context = StepContext(
            event_id=begun.run.event_id,
            event_json=begun.event_body,
            run_id=begun.run.id,
            attempt_id=attempt.id,
            attempt_number=attempt.number,
            is_replay=begun.run.replay_of is not None,
        )
        command = await self._runners.command(definition, context)
        if active.wants_cancel():
            raise SpawnError("it was canceled before it started")
        active.attempt = replace(attempt, command=command.argv, cwd=command.cwd)
        pid = await self._keeper.start(self._launch(attempt, definition, command))
        active.attempt = replace(active.attempt, pid=pid)
        active.is_started = True
        run_log.tell(logging.INFO, "run started", begun.run, attempt=attempt.number, pid=pid)
        if active.wants_cancel():
            await self.cancel(begun.run.id)

    def _launch(self, attempt: Attempt, definition: Definition, command: Command) -> Launch:
        return Launch(
            attempt_id=attempt.id,
            command=command,
            stdout_path=self._outputs.path(attempt.id, "stdout"),
            stderr_path=self._outputs.path(attempt.id, "stderr"),
            timeout_s=definition.timeout_ms / 1000,
            grace_s=definition.grace_ms / 1000,
            max_output_bytes=self._max_output_bytes,
            detach=definition.detach,
            limits=definition.limits,
        )

    async def _see_off(self, active: ActiveRun, release: Callable[[], None]) -> None:
        exit_ = await self._wait(active)
        release()  # The process is gone: the next one may start while this one's end is written down.
        said = await self._collect(active.attempt.id)
        await self._record(active, exit_, self._decide(active, exit_, said), said.output)

    async def _wait(self, active: ActiveRun) -> Exit:
        waiting = asyncio.ensure_future(self._keeper.wait(active.attempt.id))
        try:
            done, _ = await asyncio.wait([waiting], timeout=_NOTE_START_AFTER_S)
            if not done:
                try:
                    await self._store.note_start(active.attempt)
                except (StorageFullError, StorageBusyError):
                    pass  # It is only for looking at; the keeper's journal has what recovery needs.
            return await waiting
        finally:
            waiting.cancel()

    async def _collect(self, attempt_id: str) -> CollectedOutput:
        sizes = self._outputs.sizes(attempt_id)
        if max(sizes) <= _INLINE_SCAN_BYTES:
            return self._outputs.collect(attempt_id, sizes)
        return await asyncio.to_thread(self._outputs.collect, attempt_id, sizes)

    def _decide(self, active: ActiveRun, exit_: Exit, said: CollectedOutput) -> Outcome:
        definition = active.definition
        outcome = decide(exit_, said.result, label=definition.label, timeout_ms=definition.timeout_ms)
        if outcome.error is None:
            return outcome
        # Masked before it is cut: half a secret would not be recognised.
        end = excerpt.excerpt(self._mask(said.stderr_tail), self._mask(said.stdout_tail))
        return replace(outcome, error=f"{outcome.error}\n{end}")

    async def _record(self, active: ActiveRun, exit_: Exit, outcome: Outcome, output: Output) -> None:
        """Write the outcome down, however long the disk is full, and only then let go of what could tell it again."""
        attempt = active.attempt
        if outcome.error is not None:
            outcome = replace(outcome, error=self._mask(outcome.error))
        delay_ms = retry.delay_before_next_ms(
            active.definition.retry, attempt_number=attempt.number, reason=outcome.reason
        )

        def finish() -> Awaitable[Run]:
            now_ms = self._clock.now_ms()
            retry_at_ms = None if delay_ms is None else now_ms + delay_ms
            return self._store.finish(attempt, outcome, exit_, output, at_ms=now_ms, retry_at_ms=retry_at_ms)

        run = await self._patiently(attempt.run_id, finish)
        self._waits.over(f"start {attempt.run_id}")
        self._outputs.remove(attempt.id, output)
        await self._keeper.forget(attempt.id)
        run_log.tell(
            logging.INFO, "run ended", run, status=outcome.status.value, reason=outcome.reason, attempt=attempt.number
        )
        if run.status.is_final:
            self._completions.tell(run)
        elif delay_ms is not None:
            self._requeue(run.id, delay_ms / 1000)


def _refused(active: ActiveRun, why: str) -> Outcome:
    why = why.removeprefix(f"{active.definition.label}: ")  # the sentence names the step already
    if active.is_canceled:
        return Outcome(ProcessStatus.CANCELED, Reason.CANCELED, f"Step {active.definition.label} was canceled: {why}")
    return Outcome(ProcessStatus.FAILED, Reason.SPAWN, f"Step {active.definition.label} could not start: {why}")
