"""The one thread that writes. Group commit: whoever waits when a commit begins is served by that commit."""

import asyncio
import logging
import queue
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Protocol, TypeVar

from flowd.domain.concurrency import KeyLimits
from flowd.domain.errors import FlowdError, StorageFailedError, StorageFullError
from flowd.domain.notices import NotifyRule
from flowd.domain.queueing import SideEffects
from flowd.domain.tallies import StoreTallies
from flowd.store.sql.connection import Connection, UndoneError, WriteConnection
from flowd.store.sql.database import Database

log = logging.getLogger("flowd.store")

T = TypeVar("T")
_LOOK_EVERY_S = 1.0
_DESCRIBE_EVERY_S = 10.0
MAX_BATCH = 500
"""Operations in one commit. 500 keep a batch under 20 ms, so that nobody waits long behind others."""

MAX_TOGETHER = 100
"""Operations that are done in one go: more cost no less each."""


class Reserve(Protocol):
    """Room on the disk that is put by for a time without any."""

    def make(self) -> bool:
        """Take the room. False where it is not there."""
        ...

    def let_go(self) -> bool:
        """Give the room back. False where none was held."""
        ...


Together = Callable[[Connection, Sequence[Any]], Sequence[Any]]
"""Does in one go what several operations would do one after the other. What each comes to; a `FlowdError` is raised to
its caller."""


@dataclass(slots=True)
class _Job:
    operation: Callable[[Connection], Any]
    future: "asyncio.Future[Any]"
    is_alone: bool = False
    adds: bool = False
    together: "Together | None" = None
    value: Any = None
    error: Exception | None = None
    is_lost: bool = False
    """Its transaction was lost once. A second time it may be at fault itself."""


class Writer:
    """Runs operations on the write connection, many to a transaction.

    An operation is a function of the connection. It may raise a `FlowdError` only before it has written anything; any
    other exception undoes its whole transaction, and the other operations of the batch are done again without it.
    """

    def __init__(
        self,
        database: Database,
        on_failure: Callable[[StorageFailedError], None],
        *,
        tidy: Callable[[WriteConnection], SideEffects | None] = lambda _: None,
        reserve: Reserve | None = None,
    ) -> None:
        """Start the thread.

        Args:
            on_failure: Called once, in the loop, when the disk has failed; every later call is refused.
            tidy: Called in the thread within each transaction, as its last operation; what it returns is told
                to `on_side_effects` when that is committed.
            reserve: Let go when the disk is full, for operations that add nothing; the others are refused until there
                is room for it again.

        Raises:
            StateError: The database cannot be used.
        """
        self._database = database
        self._connection = database.open_writer()
        self._loop = asyncio.get_running_loop()
        self._jobs: queue.SimpleQueue[_Job | None] = queue.SimpleQueue()
        self._unsent: list[_Job] = []
        self._is_open = True
        self.commits = 0
        """Grows with each commit, before anybody is told of it."""
        self.tallies = StoreTallies()
        self._failure: StorageFailedError | None = None
        self._on_failure = on_failure
        self.on_commit: Callable[[], None] = lambda: None
        """Called in the loop after each commit."""
        self.on_side_effects: Callable[[SideEffects], None] = lambda _: None
        """Called in the loop with what a commit did beside what was asked for."""
        self._tidy = tidy
        self._side_effects: list[SideEffects] = []
        """Committed by the thread, and not handed to the loop yet."""
        self._is_failure_told = False
        self._reserve = reserve
        self._is_low = reserve is not None and not reserve.make()
        self._next_look_s = 0.0
        self._described, self._described_until_s = "", 0.0
        self._held: _Job | None = None
        """Came while a batch was collected, and must not be in one."""
        self._thread = threading.Thread(target=self._work, name="flowd-writer", daemon=True)
        self._thread.start()

    def use_key_limits(self, limits: KeyLimits) -> None:
        """Let operations go by these limits, those that wait for their turn, too."""
        self._connection.key_limits = limits

    def use_notify_rules(self, rules: Sequence[NotifyRule]) -> None:
        """Let what ends be told by these rules, from the next transaction's end on."""
        self._connection.notify = rules

    @property
    def connection(self) -> WriteConnection:
        """That writes. For its facts alone: only the thread executes anything on it."""
        return self._connection

    def heard(self) -> None:
        """Somebody else has committed something, or may have: what was read before is old. To be called in the loop."""
        self.commits += 1
        self.on_commit()

    async def do(
        self, operation: Callable[[Connection], T], *, adds: bool = False, together: Together | None = None
    ) -> T:
        """Run an operation and return its value once its commit is on disk.

        Cancelling this call does not undo the operation: it may be committed all the same.

        Args:
            adds: It takes on more work, so that it is refused first when there is little room.
            together: May do it with others that have the same, and come one after the other.

        Raises:
            FlowdError: The operation's own, or a storage error: nothing was written.
        """
        return await self._submit(operation, adds=adds, together=together)

    async def do_alone(self, operation: Callable[[Connection], T]) -> T:
        """Run an operation outside any transaction, with all others waiting until it is done. See `do`."""
        return await self._submit(operation, is_alone=True)

    async def _submit(
        self,
        operation: Callable[[Connection], T],
        *,
        is_alone: bool = False,
        adds: bool = False,
        together: Together | None = None,
    ) -> T:
        if self._failure is not None:
            raise StorageFailedError(self._failure.message)
        future: asyncio.Future[T] = self._loop.create_future()
        if not self._unsent:
            self._loop.call_soon(self._hand_over)
        self._unsent.append(_Job(operation, future, is_alone, adds, together))
        return await future

    def _hand_over(self) -> None:
        """Once in a turn of the loop, so that one wake-up, and mostly one commit, serves all that came up in it."""
        for job in self._unsent:
            self._jobs.put(job)
        self._unsent.clear()

    async def close(self) -> None:
        """Finish what was submitted, then end the thread and close the connection."""
        self._hand_over()
        self._jobs.put(None)
        await asyncio.to_thread(self._thread.join)

    def _work(self) -> None:
        while self._is_open:
            job, self._held = self._held or self._jobs.get(), None
            if job is None:
                break
            batch = [job]
            if job.is_alone:
                self._execute_alone(job)
            else:
                self._commit(batch, is_joinable=True)
            self._loop.call_soon_threadsafe(self._deliver, batch, self._side_effects)
            self._side_effects = []
        self._connection.close()

    def _join(self, batch: list[_Job]) -> None:
        """Take what waits by now into the batch."""
        while self._is_open and self._held is None and len(batch) < MAX_BATCH:
            try:
                job = self._jobs.get_nowait()
            except queue.Empty:
                break
            if job is None:
                self._is_open = False
            elif job.is_alone:
                self._held = job
            else:
                batch.append(job)

    def _commit(self, batch: list[_Job], *, is_joinable: bool = False) -> None:
        """Execute and commit the batch. Jobs that come while others are executed join it: one sync serves them all."""
        if self._failure is not None:
            for job in batch:
                job.error = StorageFailedError(self._failure.message)
            return
        if self._is_low:
            self._look_for_room()
        try:
            began_s = time.perf_counter()
            self._connection.forget()
            self._connection.begin()
            if is_joinable:
                self._join(batch)  # what can be done together
            executed = 0
            while executed < len(batch):
                executed += self._execute_from(batch, executed)
                if is_joinable and executed == len(batch):
                    self._join(batch)
            side_effects = self._tidy(self._connection)
            self._connection.commit()
            if side_effects is not None:
                self._side_effects.append(side_effects)
            self.commits += 1
            self.tallies.commit_s.add(time.perf_counter() - began_s)
            self.tallies.operations += executed
        except Exception as error:  # noqa: BLE001 - whatever it is, it is this batch's answer
            self._roll_back()
            self._answer_failed(batch, error)

    def _execute_alone(self, job: _Job) -> None:
        try:
            job.value = job.operation(self._connection)
        except Exception as error:  # noqa: BLE001 - whatever it is, it is this job's answer
            self._answer_failed([job], error)

    def _execute_from(self, batch: list[_Job], first: int) -> int:
        """Execute the next of a batch, and those behind it that are done together with it. How many these are."""
        together, last = batch[first].together, first + 1
        if together is None or self._is_low:
            self._execute(batch[first])
            return 1
        end = min(len(batch), first + MAX_TOGETHER)
        while last < end and batch[last].together is together:
            last += 1
        jobs = batch[first:last]
        for job, came in zip(jobs, together(self._connection, [job.operation for job in jobs]), strict=True):
            if isinstance(came, FlowdError):
                job.error = came
            else:
                job.value = came
        return len(jobs)

    def _execute(self, job: _Job) -> None:
        if self._is_low and job.adds:
            job.error = StorageFullError(self._full_message())
            return
        try:
            job.value = job.operation(self._connection)
        except FlowdError as error:
            job.error = error

    def _answer_failed(self, batch: list[_Job], error: Exception) -> None:
        if self._database.may_repeat(error) and not batch[0].is_lost:
            for job in batch:
                job.is_lost = True
            self._commit_again(batch)
        elif self._database.is_about_storage(error):
            refusal = self._database.translate(error)
            if isinstance(refusal, StorageFullError):
                if not batch[0].is_alone and self._reserve is not None and self._reserve.let_go():
                    self._is_low = True
                    self._next_look_s = time.monotonic() + _LOOK_EVERY_S
                    self._commit_again(batch)
                    return
                refusal = StorageFullError(self._full_message())
            if isinstance(refusal, StorageFailedError):
                self._failure = refusal
            for job in batch:
                job.error = type(refusal)(refusal.message)
        elif len(batch) == 1:
            batch[0].error = error.refusal if isinstance(error, UndoneError) else error
        else:
            # One of them is at fault: each for itself, so that it harms only itself.
            for job in batch:
                self._commit_again([job])

    def _commit_again(self, batch: list[_Job]) -> None:
        for job in batch:
            job.value = job.error = None
        self._commit(batch)

    def _look_for_room(self) -> None:
        if self._reserve is not None and time.monotonic() >= self._next_look_s:
            self._next_look_s = time.monotonic() + _LOOK_EVERY_S
            self._is_low = not self._reserve.make()

    def _full_message(self) -> str:
        now_s = time.monotonic()
        if now_s >= self._described_until_s:
            self._described, self._described_until_s = self._database.describe_full(), now_s + _DESCRIBE_EVERY_S
        return self._described

    def _roll_back(self) -> None:
        try:
            if self._connection.in_transaction:
                self._connection.roll_back()
        except Exception as error:  # noqa: BLE001 - whatever the database has against it
            log.error("rollback failed", extra={"error": str(error)})

    def _deliver(self, batch: list[_Job], side_effects: list[SideEffects]) -> None:
        for job in batch:
            if job.future.done():  # its caller was cancelled
                continue
            if job.error is not None:
                job.future.set_exception(job.error)
            else:
                job.future.set_result(job.value)
        for happened in side_effects:
            # After those whose calls were just answered: they know then of what they made, and what they started is there.
            self._loop.call_soon(self.on_side_effects, happened)
        self.on_commit()
        if self._failure is not None and not self._is_failure_told:
            self._is_failure_told = True
            self._on_failure(self._failure)
