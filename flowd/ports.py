"""What the engine needs from the outside, as protocols. Adapters implement them; the composition root chooses."""

from collections.abc import Callable, Collection, Sequence
from typing import Protocol

from flowd.domain.definition import Definition
from flowd.domain.flow import SchemaSource, Snapshot
from flowd.domain.journal import FlowState, Interest, JournalPage
from flowd.domain.launching import Command, KeeperRecord, Launch, StepContext
from flowd.domain.matching import Answers, LeftOut
from flowd.domain.pauses import Pause, Paused
from flowd.domain.people import Answer, Person, Resolution
from flowd.domain.questions import Question
from flowd.domain.queue_view import QueueView
from flowd.domain.queueing import Beside, Claim, Claimed, Finished, LeftRunning, NewRun
from flowd.domain.run import Attempt, Exit, Outcome, Run
from flowd.domain.stored import (
    Accepted,
    Counts,
    EventState,
    NewEvent,
    NewEventRuns,
    Output,
    Page,
    Pruned,
    RunFilter,
    StoredEvent,
    TreeEvent,
)
from flowd.domain.waiting import TimeWait


class Clock(Protocol):
    """The time."""

    def now_ms(self) -> int:
        """Milliseconds since the epoch by the wall clock, for records."""
        ...

    def steady_ms(self) -> int:
        """Milliseconds since the epoch as they were at the start of this process, plus what has passed since then: a
        clock that nobody sets, for how long something is to wait."""
        ...


class Catalog(Protocol):
    """The flow packages in force."""

    @property
    def snapshot(self) -> Snapshot:
        """The catalog now. Never touches the disk."""
        ...

    async def reload(self) -> Snapshot:
        """Look at the disk now and return the snapshot that came of it."""
        ...


class PayloadChecks(Protocol):
    """Makes the checks that may take long, where they hold nobody up and can be ended."""

    async def check(self, sources: Sequence[SchemaSource], body: bytes) -> Answers:
        """The answers to these checks of the payload of an event, each of them once.

        Args:
            body: The event as JSON.
        """
        ...


class PackageHashes(Protocol):
    """What packages are like now."""

    async def now(self, root: str, script: str) -> str | None:
        """A hash over all files of the package in this folder; None where it is gone."""
        ...


# --- starting and ending processes ---------------------------------------------------------------------------------


class Runners(Protocol):
    """Turns definitions into commands."""

    async def command(self, definition: Definition, context: StepContext) -> Command:
        """The command of a step.

        Raises:
            SpawnError: The script, its interpreter or the working directory is missing or unusable.
        """
        ...


class Keeper(Protocol):
    """The parent of all steps."""

    @property
    def id(self) -> str:
        """Names this keeper process in attempts (``workerId``)."""
        ...

    @property
    def pid(self) -> int | None:
        """Its process id while it is alive."""
        ...

    async def start(self, launch: Launch) -> int:
        """Start a step and return its pid. The start is journaled before this returns.

        Raises:
            NoRoomError: The disk is full, and nothing runs.
            SpawnError: It could not be started, and nothing runs.
            KeeperLostError: The keeper died; ask `knows` once it is back.
        """
        ...

    async def wait(self, attempt_id: str) -> Exit:
        """How the attempt ended. Returns at once when it has ended already. Survives the keeper's death: a new keeper
        takes over, and an exit that nobody saw comes as an `Exit` with neither code nor signal."""
        ...

    async def knows(self, attempt_id: str) -> bool:
        """Whether this attempt was ever begun: False means that no process of it was ever started."""
        ...

    def remembers(self, worker_id: str) -> bool:
        """Whether its memory reaches back to the keeper of this id, so that an attempt of that one which it does not
        know was never started. False: that memory was taken away, and nobody can say."""
        ...

    async def end_strays(self, attempt_id: str) -> None:
        """End the processes of an attempt whose end nobody saw, if there are any, and return when they are gone."""
        ...

    def records(self) -> Sequence[KeeperRecord]:
        """What it knew of every attempt when it was last connected to."""
        ...

    async def stop(self, attempt_id: str, *, cause: str, grace_s: float) -> None:
        """Ask for the end of an attempt: SIGTERM to all of it, SIGKILL after ``grace_s``. Idempotent; unknown or ended
        attempts are left alone. `wait` tells how it went."""
        ...

    async def forget(self, attempt_id: str) -> None:
        """The attempt's outcome is on disk: drop its record."""
        ...


# --- remembering -----------------------------------------------------------------------------------------------------


class Store(Protocol):
    """Durable memory. Every writing method returns after its commit is on disk, or raises and has changed nothing.

    All of them raise `StorageFullError`, `StorageBusyError` or `StorageFailedError`.
    """

    @property
    def commits(self) -> int:
        """Grows with each commit, before anybody is told of it."""
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
    ) -> Accepted:
        """Store an event and its queued runs in one transaction, or find it stored already.

        With ``claim`` the same transaction takes the next runs that may start, as `claim` does; a duplicate takes none.

        Args:
            caused_by: A run whose step dispatches the event. Where that run is running, it is the cause, and known
                events are as with the ``follows`` of `finish`; else the event is nobody's.

        Raises:
            CauseCanceledError: Somebody has asked to cancel that run.
            ChainLimitError: The event would be too deep below the root of its tree, or one too many for it.
        """
        ...

    async def add_runs(
        self, event_id: str, runs: Sequence[NewRun], *, at_ms: int, left_out: tuple[LeftOut, ...] | None = None
    ) -> tuple[Run, ...]:
        """Create queued runs for a stored event (replay). A first run that the event has already is left out.

        Args:
            left_out: Remembered instead of what the event says so far; None leaves that as it is.

        Raises:
            EventNotFoundError: No such event.
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

    async def steps_missed(self) -> list[tuple[str, str]]:
        """Flow and step of the runs that wait for their package, each once."""
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

    async def retry(self, run_id: str, *, at_ms: int) -> Run | None:
        """A final run → queued, for another attempt. None when it is not final."""
        ...

    async def event(self, event_id: str) -> StoredEvent | None:
        """One event."""
        ...

    async def events(self, *, event_type: str | None, limit: int, cursor: str | None) -> Page[StoredEvent]:
        """Events, newest first.

        Raises:
            InvalidParamsError: The cursor is none of ours.
        """
        ...

    async def run(self, run_id: str) -> Run | None:
        """One run with its attempts."""
        ...

    async def runs(self, where: RunFilter, *, limit: int, cursor: str | None) -> Page[Run]:
        """Runs without attempts' output, newest first.

        Raises:
            InvalidParamsError: The cursor is none of ours.
        """
        ...

    async def output(self, run_id: str, number: int) -> Output | None:
        """The stored output of a finished attempt. None when there is none (yet)."""
        ...

    async def left_running(self) -> list[LeftRunning]:
        """Running runs, oldest first, for start-up."""
        ...

    async def definitions(self) -> list[Definition]:
        """Every definition that an attempt was made with, for start-up."""
        ...

    async def counts(self) -> Counts:
        """How many events, and runs by status."""
        ...

    async def prune(
        self, *, before_ms: int, after_seq: int, dry_run: bool, remove_output: Callable[[str], None]
    ) -> Pruned:
        """Forget events from before an instant whose runs have all ended before it and ask nobody, with their runs and
        attempts. A tree is forgotten once this is true of all of it.

        One call looks at some events only, in the order of their acceptance; ``after_seq`` is below all of them, then
        the ``next_seq`` of the last answer. The newest event and the event of the newest run are kept. The id of an
        event that is forgotten is a new one from then on.

        Args:
            dry_run: Only count.
            remove_output: Called for each attempt that has files, before its id can be given again: within the
                transaction, in another thread.
        """
        ...

    async def give_back(self, *, compact: bool) -> int:
        """Give the disk back the room that forgotten events took; how many bytes that was.

        Args:
            compact: Write the whole database anew. Nothing else is written meanwhile, and it takes as much room again
                for that time. Needed once for one from before it could shrink otherwise.
        """
        ...


class TreeStore(Protocol):
    """What is asked of a store about an event alone, or, with ``is_tree``, about it and all below it in its tree: what
    its runs caused, theirs, and so on. Each method raises `EventNotFoundError` where there is no such event."""

    async def call_off(self, event_id: str, *, is_tree: bool) -> None:
        """Note that it is canceled: what waits for needs does not start for their ends any more. A step with ``when =
        "finally"`` does, until this is asked a second time."""
        ...

    async def cancel_waiting(self, event_id: str, *, is_tree: bool, at_ms: int) -> list[Run]:
        """Queued → canceled for at most 500 runs of what was called off, the oldest first; empty when none is left."""
        ...

    async def running_of(self, event_id: str, *, is_tree: bool) -> list[str]:
        """The running runs that a cancel of it means."""
        ...

    async def tree(self, event_id: str, *, limit: int, cursor: str | None) -> Page[TreeEvent]:
        """The event and all below it, oldest first: every event after the one whose run caused it.

        Raises:
            InvalidParamsError: The cursor is none of ours.
        """
        ...

    async def is_going_on(self, event_id: str, *, is_tree: bool) -> bool:
        """Whether any run has not ended and goes on without a person."""
        ...

    async def is_round_going_on(self, run_id: str) -> bool:
        """Whether any run of this one's round has not ended and goes on without a person."""
        ...

    async def is_of(self, run_id: str, event_id: str, *, is_tree: bool) -> bool:
        """Whether the run is one of it; False also where there is no such event."""
        ...

    async def keep_from_starting(self, run_ids: Collection[str], event_id: str, *, is_tree: bool) -> bool:
        """Whether anything of it cannot start before one of these runs ends, or its round: they hold all of a key that
        it takes. False also where there is no such event."""
        ...

    async def event_state(self, event_id: str, *, is_tree: bool, limit: int) -> EventState:
        """How its runs are; of those that have not ended or ask a person, at most ``limit``."""
        ...


class Questions(Protocol):
    """Runs that ask for a person, and what people say to them. A question is answered once: who comes second is told
    who did, and nothing changes."""

    async def resolve(
        self, run_id: str, attempt: int | None, resolution: Resolution, follows: Sequence[NewEventRuns] = ()
    ) -> Run:
        """Let a person's word stand in the place of a run's question. What waited for it goes on, or ends, in the same
        transaction.

        Args:
            attempt: The number of the attempt whose question it is about; None for the last one.
            follows: What its result causes now that it counts, in the same transaction.

        Raises:
            ChainLimitError: It would cause too much; nothing was changed.
            RunNotFoundError: No such run.
            AlreadyAnsweredError: Somebody has answered.
            RunActiveError: It has not ended.
            NotAskingError: It ended otherwise, or another attempt of it asks.
        """
        ...

    async def answer(self, run_id: str, attempt: int | None, answer: Answer) -> Run:
        """Queue a run that asks for another attempt, which is told the answer. Raises as `resolve`."""
        ...

    async def close_questions(self, event_id: str, by: Person, *, is_tree: bool, at_ms: int) -> list[str]:
        """Close some of the open questions of an event, with ``is_tree`` of all below it, too; the runs that asked,
        none when none is left. What waited for an answer is let go, and nothing that was called off starts for it."""
        ...

    async def open_questions(self) -> int:
        """How many runs ask."""
        ...

    async def questions(self, *, limit: int, cursor: str | None) -> Page[Question]:
        """Runs that ask, in the order of their acceptance.

        Raises:
            InvalidParamsError: The cursor is none of ours.
        """
        ...


class Pauses(Protocol):
    """What people hold up, and the queue as they look at it."""

    async def pauses(self) -> list[Pause]:
        """The pauses in force."""
        ...

    async def ending_pauses(self) -> list[Pause]:
        """Pauses that are over, some of whose runs may not have been let go yet. For start-up."""
        ...

    async def begin_pause(self, what: Paused, by: Person, *, at_ms: int) -> Pause:
        """Let nothing of this start that comes to be ready from now on. One that is in force stays as it is."""
        ...

    async def take_back(self, what: Paused, after_seq: int, *, at_ms: int) -> tuple[int, int | None]:
        """Take some of the runs back that a pause in force means and that could start: how many, and where to go on;
        None where all were looked at."""
        ...

    async def end_pause(self, what: Paused) -> bool:
        """Keep nothing for this pause any more. False where it is not in force."""
        ...

    async def let_go(self, what: Paused, after_seq: int, *, at_ms: int) -> tuple[int, int | None]:
        """Let some of the runs go on that a pause which is over has kept: how many, and where to go on; None where none
        is left."""
        ...

    async def queue(self, flow: str | None, *, limit: int, cursor: str | None) -> QueueView:
        """What is queued, the runs that are ready first, in the order in which they start.

        Raises:
            InvalidParamsError: The cursor is none of ours.
        """
        ...


class Nonces(Protocol):
    """Words that count once."""

    async def remember_nonce(self, nonce: str, at_ms: int, expires_at_ms: int) -> bool:
        """Whether the nonce is new; it is on disk until it expires when this returns."""
        ...


class Journal(Protocol):
    """The record of what happened, as far back as it is kept."""

    async def journal(self, interest: Interest, *, after: int | None, limit: int) -> JournalPage:
        """Entries of interest after a cursor, at most ``limit``; ``after=None`` gives none, only the span."""
        ...

    async def running(self, interest: Interest) -> list[tuple[str, int]]:
        """Id and attempt number of every running run of interest."""
        ...

    async def note_flows(self, flows: Sequence[FlowState], *, at_ms: int) -> None:
        """Add an entry for each flow that differs from what was noted last; those missing here were removed."""
        ...


class OpenStore(Store, TreeStore, Questions, Pauses, Journal, Nonces, Protocol):
    """A store with a life of its own: all that one adapter of a database offers."""

    def tell_commits(self, listener: Callable[[], None]) -> None:
        """Call this after each commit, in the loop."""
        ...

    def tell_beside(self, listener: Callable[[Beside], None]) -> None:
        """Call this, in the loop, with what a commit did beside what was asked for: after those who asked have gone on,
        and before anybody hears of a later commit."""
        ...

    async def close(self) -> None:
        """Finish the writes under way and let go of the database."""
        ...
