"""A run's way through the store: accepted, claimed, ended, and what may start next."""

from collections.abc import Sequence
from typing import Protocol

from flowd.domain.awaited import Waiting
from flowd.domain.concurrency import KeyLimits
from flowd.domain.exit import Exit
from flowd.domain.matching import LeftOut
from flowd.domain.outcome import Outcome
from flowd.domain.progress import Progress
from flowd.domain.queueing import Claim, Claimed, Finished, LeftRunning, NewRun
from flowd.domain.run import Attempt, Run
from flowd.domain.slots import Slot
from flowd.domain.stored import Accepted, NewEvent, NewEventRuns, Output
from flowd.domain.waiting import MissedStep, TimeWait


class Queue(Protocol):
    """The changes of runs, and what may start.

    Every writing method returns after its commit is on disk, or raises and has changed nothing. All of them raise
    `StorageFullError`, `StorageBusyError` or `StorageFailedError`.
    """

    @property
    def commits(self) -> int:
        """Grows with each commit, before anybody is told of it; where others commit, too, each time it is asked for."""
        ...

    @property
    def queued(self) -> int:
        """How many runs were queued after the last commit of ours."""
        ...

    async def accept(
        self,
        event: NewEvent,
        runs: Sequence[NewRun],
        *,
        at_ms: int,
        claim: Claim | None = None,
        caused_by: str | None = None,
        slot: Slot | None = None,
    ) -> Accepted:
        """Store an event and its queued runs in one transaction, or find it stored already.

        With ``claim`` the same transaction takes the next runs that may start, as `claim` does; a duplicate takes none.

        Args:
            caused_by: A run whose step dispatches the event. Where that run is running, it is the cause, and known
                events are as with the ``follows`` of `finish`; else the event is nobody's.
            slot: The slot of a schedule that the event tells: it counts from now on, in the same transaction.

        Raises:
            SlotEarlyError: By the store's clock the slot has not come.
            SlotDecidedError: The slot counts already, and its event is forgotten.
            CauseCanceledError: Somebody has asked to cancel that run.
            ChainLimitError: The event would be too deep below the root of its tree, or one too many for it.
            TooManyRunsError: These are more than `MAX_AT_ONCE`, and the event is not known.
            QueueFullError: They are too many beside those that are queued.
        """
        ...

    async def add_runs(
        self,
        event_id: str,
        runs: Sequence[NewRun],
        *,
        at_ms: int,
        left_out: tuple[LeftOut, ...] | None = None,
        waiting: Waiting | None = None,
    ) -> tuple[Run, ...]:
        """Create queued runs for a stored event (replay). A first run that the event has already is left out.

        Args:
            left_out: Remembered instead of what the event says so far; None leaves that as it is.
            waiting: The step that is about to wait for them.

        Raises:
            EventNotFoundError: No such event.
            TooManyRunsError: These are more than `MAX_AT_ONCE`.
            QueueFullError: They are too many beside those that are queued.
            WouldDeadlockError: It could not wait for them; nothing has changed.
        """
        ...

    async def claim(self, ask: Claim) -> Claimed:
        """Take the next runs that may start, in the order in which they became ready, each with a new attempt of the
        definition in force: queued → running, before any process is spawned. All in one transaction.

        A run whose step no package in force has waits for its package from then on; the one after it is taken instead.
        """
        ...

    async def shorten_waits(self, steady_ms: int) -> None:
        """Let no wait for a time last longer from now than it is in whole. For start-up: the steady clock was read from
        the wall clock again, which may have been set back."""
        ...

    async def steps_missed(self) -> list[MissedStep]:
        """The steps of the runs that wait for their package, each once."""
        ...

    async def note_removed(self, flow_name: str, step_name: str, since_ms: int | None) -> None:
        """Remember since when a step is gone for which runs wait, for `steps_missed` of the next daemon, too; None: it
        is not gone."""
        ...

    async def end_package_wait(self, flow_name: str, step_name: str, *, at_ms: int) -> int:
        """Make some of the runs ready that wait for this step; how many they are. 0 when none is left."""
        ...

    async def end_person_waits(self, *, at_ms: int) -> int:
        """Make some of the runs ready that wait for a person; how many they are. 0 when none is left."""
        ...

    async def fail_removed(self, flow_name: str, step_name: str, *, at_ms: int) -> list[Run]:
        """Queued → failed, reason ``step_removed``, for some of the runs that wait for this step. Empty when none is
        left."""
        ...

    async def note_start(self, attempt: Attempt) -> None:
        """Remember what was started: pid, command and working directory."""
        ...

    async def note_progress(self, attempt: Attempt, progress: Progress, *, at_ms: int) -> None:
        """Remember, as long as it runs, how far it says that it is, and journal that."""
        ...

    async def finish(
        self,
        attempt: Attempt,
        outcome: Outcome,
        exit_: Exit,
        output: Output,
        *,
        at_ms: int,
        wait: TimeWait | None = None,
        claim: Claim | None = None,
        follows: Sequence[NewEventRuns] = (),
    ) -> Finished:
        """Running → the outcome's status, with output and journal, in one transaction; or with ``wait`` back to queued
        for another attempt. Doing it twice changes nothing of the run the second time.

        The same transaction stores what the result causes, ``follows``, which there may be without ``wait`` only, and
        queues its runs. A known event is a duplicate; but one that another round of the same flow for the same event
        has caused gets a new round, with the body of this time, once for each causing round. A run whose cancel was
        asked causes nothing. Where that is more than a tree or the queue may have, the run ends ``failed``, reason
        ``chain_limit``, and causes nothing.

        With ``claim`` the same transaction takes the next runs that may start, as `claim` does.
        """
        ...

    async def requeue(self, run_id: str, *, at_ms: int) -> bool:
        """Running → queued, in its old place, dropping an attempt whose process was provably never started. False, and
        nothing is changed, where its cancel was asked."""
        ...

    async def cancel_queued(self, run_id: str, *, at_ms: int) -> Run | None:
        """Queued → canceled. None when it is not queued."""
        ...

    async def request_cancel(self, run_id: str, *, at_ms: int) -> bool:
        """Remember the wish to cancel a running run, so that it outlives the daemon. False when it is not running."""
        ...

    def use_key_limits(self, limits: KeyLimits) -> None:
        """From now on let so many hold a key of each of these groups, whatever was declared when those that come to it
        were accepted. Of other groups that counts."""
        ...

    async def retry(self, run_id: str, *, at_ms: int, waiting: Waiting | None = None) -> Run | None:
        """A final run → queued, for another attempt. None when it is not final.

        Args:
            waiting: The step that is about to wait for it.

        Raises:
            WouldDeadlockError: It could not; nothing has changed.
        """
        ...

    async def left_running(self) -> list[LeftRunning]:
        """Running runs, oldest first, for start-up."""
        ...
