"""One attempt of a run, from the moment when it is written down as running to its recorded outcome."""

import asyncio
import errno
import logging
import random
from collections.abc import Awaitable, Callable
from contextlib import suppress
from dataclasses import replace
from typing import TypeVar

from flowd.domain import retry
from flowd.domain.definition import Definition
from flowd.domain.errors import RefusedError, StorageFullError
from flowd.domain.exit import Exit
from flowd.domain.launching import Command, KeeperLostError, Launch, NoRoomError, SpawnError, StepContext
from flowd.domain.outcome import Outcome
from flowd.domain.progress import Progress
from flowd.domain.queueing import Claim, Finished, StartedRun
from flowd.domain.run import Attempt, ProcessStatus, Run
from flowd.domain.stored import Output
from flowd.domain.waiting import TimeWait
from flowd.engine import attempt_outcome, run_log
from flowd.engine.attempt_tools import Tools
from flowd.engine.new_rounds import how_many_start
from flowd.engine.progress import ProgressReader
from flowd.engine.scheduler import TASK_PREFIX, Again, Done
from flowd.engine.storage_waits import STORAGE_RETRY_S

T = TypeVar("T")

_NOTE_START_AFTER_S = 0.1
"""Steps that end sooner have their pid and command recorded with their outcome: one commit less for each."""


class ActiveAttempt:
    """An attempt under way: `start`, `exited`, `record`, in this order, each once; then `close`.

    Cancelling one of them leaves the step running; the next daemon adopts it.
    """

    def __init__(
        self,
        tools: Tools,
        attempt: Attempt,
        definition: Definition,
        *,
        on_close: Callable[["ActiveAttempt"], None],
        run: Run,
        started: StartedRun | None = None,
    ) -> None:
        """Nothing is started yet.

        Args:
            on_close: Called by `close`.
            run: As it is when the attempt begins.
            started: What is to be started; None where its process runs, or ran, already.
        """
        self._tools = tools
        self.attempt = attempt
        """Grows its pid, command and working directory as they become known."""
        self.definition = definition
        self.is_canceled = False
        self._on_close = on_close
        self._first_run_id = run.replay_of or attempt.run_id
        self._is_linked = run.is_linked
        self._started = started
        self._attempts_before = run.attempts_before
        self._has_process = started is None
        """Whether the keeper may have a process for it."""
        self._exit: Exit | None = None
        self._obstacle: str | None = None
        """Why it could not start."""
        self._is_unstarted = False
        """It never happened: nobody has failed, so its run is queued again."""
        self._noting: asyncio.Task[None] | None = None
        self._seen_from_ms = tools.clock.steady_ms()
        self._age_then_ms = 0 if started else max(0, tools.clock.now_ms() - attempt.started_at_ms)

    @property
    def age_ms(self) -> int:
        """How long ago it began. For one that an earlier daemon began, the wall clock says how old it was when we took
        it over."""
        return self._age_then_ms + self._tools.clock.steady_ms() - self._seen_from_ms

    @property
    def run_id(self) -> str:
        """The run's."""
        return self.attempt.run_id

    def withdraw(self, why: str) -> None:
        """It never happened: its run is to be queued again, unless somebody wants it canceled."""
        self._obstacle, self._is_unstarted = why, True

    def end_unseen(self, exit_: Exit) -> None:
        """Its process is gone, and nobody can have seen its exit."""
        self._exit = exit_

    async def cancel(self, *, grace_s: float | None = None) -> None:
        """Ask it to end, at once with ``grace_s=0``. Its outcome comes by itself. Idempotent."""
        self.is_canceled = True
        if self._has_process:
            grace = self.definition.grace_ms / 1000 if grace_s is None else grace_s
            await self._tools.keeper.stop(self.attempt.id, cause="canceled", grace_s=grace)

    # --- start -------------------------------------------------------------------------------------------------------

    async def start(self) -> None:
        """Start its process, unless it has one or never will; and ask it to end where it was canceled."""
        if self._started is not None and not self._is_unstarted:
            await self._try_to_start(self._started)
        if self._has_process and self.is_canceled:
            await self.cancel()

    async def _try_to_start(self, started: StartedRun) -> None:
        try:
            await self._spawn(started)
        except NoRoomError as error:
            self._tools.waits.wait(f"start {self.run_id}", problem=str(error))
            await asyncio.sleep(STORAGE_RETRY_S)
            self.withdraw(str(error))
        except SpawnError as error:
            if error.is_fenced:
                self.end_unseen(Exit(cause="fenced"))
            else:
                self._obstacle = str(error)
        except KeeperLostError:
            keeper = self._tools.keeper
            self._has_process = await keeper.knows(self.attempt.id)
            if not self._has_process and not keeper.remembers(self.attempt.worker_id):
                self.end_unseen(Exit())
            elif not self._has_process:
                self.withdraw("its keeper died before it started")
        if self._has_process:
            self._tools.waits.over(f"start {self.run_id}")

    async def _spawn(self, started: StartedRun) -> None:
        context = StepContext(
            event_id=started.run.event_id,
            event_json=started.event_body,
            run_id=self.run_id,
            attempt_id=self.attempt.id,
            attempt_number=self.attempt.number,
            is_replay=started.run.replay_of is not None,
            needs=started.needs,
            round_dir=self._round_folder(started),
            answer=started.run.answer,
            traceparent=started.traceparent,
            fence=started.fence,
            burst=started.burst,
        )
        command = await self._tools.runners.command(self.definition, context)
        if self.is_canceled:
            raise SpawnError("it was canceled before it started")
        # As late as can be: what is hashed is what is started, but for an edit in this very moment.
        package_hash = await self._tools.packages.now(self.definition.flow_root, self.definition.script)
        with suppress(OSError):  # of which the keeper tells, too, for that is where it writes
            self._tools.outputs.make_folder()
        pid: int | None = None
        try:
            pid = await self._tools.keeper.start(self._launch(command, started.lease_until_s))
        finally:
            self.attempt = replace(
                self.attempt,
                pid=pid,
                command=command.argv,
                cwd=command.cwd,
                package_hash=package_hash or self.attempt.package_hash,
            )
        self._has_process = True
        run_log.tell(logging.INFO, "run started", started.run, attempt=self.attempt.number, pid=pid)

    def _round_folder(self, started: StartedRun) -> str | None:
        if not self.definition.has_round_dir:
            return None
        folders, run = self._tools.round_folders, started.run
        if started.needs and folders.was_removed(run):  # what needs nothing makes what is in it
            raise SpawnError(
                "the folder of its round was removed, and with it what other steps had left there. Replay event "
                f"{run.event_id} from the step that makes it: `flowd replay {run.event_id} --from STEP`"
            )
        try:
            return folders.make(run)
        except OSError as error:
            kind = NoRoomError if error.errno in (errno.ENOSPC, errno.EDQUOT) else SpawnError
            raise kind(f"the folder of its round cannot be made: {error}") from None

    def _launch(self, command: Command, lease_until_s: float | None) -> Launch:
        outputs, definition = self._tools.outputs, self.definition
        return Launch(
            attempt_id=self.attempt.id,
            command=command,
            stdout_path=outputs.path(self.attempt.id, "stdout"),
            stderr_path=outputs.path(self.attempt.id, "stderr"),
            timeout_s=definition.timeout_ms / 1000,
            grace_s=definition.grace_ms / 1000,
            max_output_bytes=self._tools.max_output_bytes,
            detach=definition.detach,
            limits=definition.limits,
            lease_until_s=lease_until_s,
        )

    # --- exited ------------------------------------------------------------------------------------------------------

    async def exited(self) -> None:
        """Return when its process has ended; at once where it has none."""
        if self._exit is None and self._obstacle is None:
            self._exit = await self._wait()
        if self._exit is not None and self._exit.is_unseen and not self.definition.detach:
            # Nobody watches what may be left of it, and a retry must not run beside it.
            await self._tools.keeper.end_strays(self.attempt.id)

    async def _wait(self) -> Exit:
        timer = asyncio.get_running_loop().call_later(_NOTE_START_AFTER_S, self._note_start_soon)
        try:
            return await self._tools.keeper.wait(self.attempt.id)
        finally:
            timer.cancel()
            if self._noting is not None:
                self._noting.cancel()

    def _note_start_soon(self) -> None:
        self._tools.shelving.follow(self.attempt.id)
        self._noting = asyncio.create_task(self._note_life(), name=f"{TASK_PREFIX}{self.run_id} start")

    async def _note_life(self) -> None:
        with suppress(RefusedError):  # It is only for looking at; the keeper's journal has what recovery needs.
            await self._tools.store.note_start(self.attempt)
        await ProgressReader(self._tools.outputs, self.attempt.id, self._tools.mask).follow(self._note_progress)

    async def _note_progress(self, said: Progress) -> None:
        await self._tools.store.note_progress(self.attempt, said, at_ms=self._tools.clock.now_ms())

    # --- record ------------------------------------------------------------------------------------------------------

    async def record(self, claim: Callable[[int], Claim | None]) -> Done | Again:
        """Write down how it ended, however long the disk is full, and say what follows."""
        if self._obstacle is None:
            return await self._record_exit(self._exit or Exit(), claim)
        if self._is_unstarted and not self.is_canceled and await self._queue_again():
            return Again(self._tools.clock.steady_ms())
        outcome = attempt_outcome.of_obstacle(self._obstacle, self.definition, is_canceled=self.is_canceled)
        return await self._finish(Exit(duration_ms=self.age_ms), outcome, Output(), claim)

    def close(self) -> None:
        """It is over, or left to the next daemon."""
        self._tools.shelving.leave(self.attempt.id)
        self._on_close(self)

    async def _record_exit(self, exit_: Exit, claim: Callable[[int], Claim | None]) -> Done | Again:
        said = await self._tools.outputs.collected(self.attempt.id)
        output = run_log.told_losses(self.run_id, exit_, said.output)
        if exit_.duration_ms is None and self._started is not None and not exit_.is_unseen:
            exit_ = replace(exit_, duration_ms=self.age_ms)  # of a keeper that does not measure it
        outcome = attempt_outcome.of_exit(exit_, said, self.definition, mask=self._tools.mask)
        return await self._finish(exit_, outcome, output, claim)

    async def _queue_again(self) -> bool:
        """False where somebody asked to cancel it at the last moment."""
        tools = self._tools
        is_queued = await self._patiently(lambda: tools.store.requeue(self.run_id, at_ms=tools.clock.now_ms()))
        self.is_canceled = not is_queued
        return is_queued

    async def _finish(
        self, exit_: Exit, outcome: Outcome, output: Output, claim: Callable[[int], Claim | None]
    ) -> Done | Again:
        """Commit the outcome, and only then let go of what could tell it again."""
        tools, attempt, label = self._tools, self.attempt, self.definition.label
        delay_ms, first = self._delay_before_next_ms(outcome), self._first_run_id
        is_last = delay_ms is None
        outcome, follows = await tools.follows.of_outcome(outcome, is_last=is_last, label=label, first_run_id=first)
        if is_last:  # a next that cannot be taken has made another outcome of it
            delay_ms = self._delay_before_next_ms(outcome)
        if outcome.error is not None:
            outcome = replace(outcome, error=tools.mask(outcome.error))
        more = sum(how_many_start(new.runs) for new in follows) + self._is_linked

        async def finish() -> Finished:
            nonlocal output
            now_ms, wait = tools.clock.now_ms(), None if delay_ms is None else self._wait_for_next(delay_ms)
            try:
                await tools.shelving.complete(attempt.id, output)
                return await tools.store.finish(
                    attempt, outcome, exit_, output, at_ms=now_ms, wait=wait, claim=claim(more), follows=follows
                )
            except StorageFullError:
                # What it printed may be what fills the disk. Its end is worth more.
                output = await asyncio.to_thread(tools.outputs.cut, attempt.id, output)
                raise

        finished = await self._patiently(finish)
        due_ms = tools.clock.steady_ms() + (delay_ms or 0)
        run = finished.run
        tools.waits.over(f"start {self.run_id}")
        tools.outputs.let_go(attempt.id, await tools.shelving.ended(attempt.id, output))
        await tools.keeper.forget(attempt.id)
        ended = finished.outcome or outcome
        tools.tallies.attempt_ended(ended.status, exit_.duration_ms, output)
        run_log.tell_attempt_ended(run, ended, attempt.number, retry_in_ms=None if run.status.is_final else delay_ms)
        if ended.status is ProcessStatus.COMPLETED:
            run_log.tell_conflict(run)
            for new in follows:
                run_log.tell_left_out(new.event)
        if run.status.is_final:
            tools.completions.tell(run)
        elif isinstance(run.waiting_for, TimeWait):
            tools.completions.again(run.id)
            return Again(due_ms, finished.claimed)
        return Done(finished.claimed)

    def _delay_before_next_ms(self, outcome: Outcome) -> int | None:
        if self.is_canceled:
            return None
        policy, number = self.definition.retry, self.attempt.number - self._attempts_before
        return retry.delay_before_next_ms(policy, attempt_number=number, outcome=outcome, random=random.random)

    def _wait_for_next(self, delay_ms: int) -> TimeWait | None:
        policy = self.definition.retry
        if self.is_canceled or policy is None:
            return None
        return TimeWait(self._tools.clock.steady_ms() + delay_ms, delay_ms, "retry", policy.max_attempts)

    async def _patiently(self, write: Callable[[], Awaitable[T]]) -> T:
        return await self._tools.waits.patiently(self.run_id, write)
