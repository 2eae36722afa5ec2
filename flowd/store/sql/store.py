"""`SqlStore`: the store port on a database that speaks SQL. One writer thread, a few readers."""

from collections.abc import Callable, Sequence
from typing import Literal

from flowd.domain.awaited import Waiting
from flowd.domain.concurrency import KeyLimits
from flowd.domain.definition import Definition
from flowd.domain.errors import StorageFailedError
from flowd.domain.exit import Exit
from flowd.domain.filters import EventFilter, RunFilter
from flowd.domain.matching import LeftOut
from flowd.domain.outcome import Outcome
from flowd.domain.queueing import MAX_WAITING, Claim, Claimed, Finished, LeftRunning, NewRun, QueueBounds, SideEffects
from flowd.domain.run import Attempt, Run
from flowd.domain.slots import Slot
from flowd.domain.stored import Accepted, Counts, NewEvent, NewEventRuns, Output, Page, StoredEvent
from flowd.domain.tallies import StoreTallies
from flowd.domain.trees import MAX_EVENTS, TreeBounds
from flowd.domain.waiting import TimeWait
from flowd.ports.clock import Clock
from flowd.ports.output_shelf import OutputShelf
from flowd.store.sql import (
    accepting,
    event_lists,
    journal,
    nonces,
    queue,
    reads,
    retries,
    run_lists,
    trees,
    writes,
)
from flowd.store.sql.connection import Connection, WriteConnection
from flowd.store.sql.database import Database
from flowd.store.sql.depths import Rationed, depths
from flowd.store.sql.journal_store import JournalStore
from flowd.store.sql.keeping_store import KeepingStore
from flowd.store.sql.notice_store import NoticeStore
from flowd.store.sql.pause_store import PauseStore
from flowd.store.sql.people_store import PeopleStore
from flowd.store.sql.readers import Readers
from flowd.store.sql.schedule_store import ScheduleStore
from flowd.store.sql.tree_store import TreeStore
from flowd.store.sql.wait_store import WaitStore
from flowd.store.sql.writer import Reserve, Writer

_PRUNE_AFTER_CHANGES = 100
"""Rows that are written between two looks at the length of the journal."""


class SqlStore(TreeStore, PeopleStore, PauseStore, ScheduleStore, WaitStore, KeepingStore, JournalStore, NoticeStore):
    """Durable memory in a database. See `flowd.ports.Store` for what every method guarantees.

    What is in here, and beside it, is the same for every database; `Database` is what they differ in.
    """

    def __init__(
        self,
        database: Database,
        *,
        max_queued: int,
        max_waiting: int = MAX_WAITING,
        max_tree_events: int = MAX_EVENTS,
        max_journal_rows: int = journal.MAX_ROWS,
        on_failure: Callable[[StorageFailedError], None] = lambda _: None,
        reserve: Reserve | None = None,
        clock: Clock | None = None,
    ) -> None:
        """Open the database; must be called in a running loop.

        Args:
            max_queued: Runs that may be ready. What is owed to a run, such as what it causes, may be as many again.
            max_waiting: Runs that may wait for something, likewise.
            max_tree_events: Of a tree.
            max_journal_rows: Of the journal; the oldest beyond it are dropped.
            on_failure: Called once when the disk has failed.
            reserve: Kept free, for ends and cancels on a full disk.
            clock: Of this host. Without one the store's steady clock is whatever wall clock its callers go by.

        Raises:
            StateError: The database cannot be used; it is left as it is.
        """
        self._database = database
        self._queue_bounds = QueueBounds(max_queued, max_waiting)
        self._tree_bounds = TreeBounds(max_tree_events, self._queue_bounds.doubled)
        self._max_journal_rows = max_journal_rows
        self._queued = 0
        self._changes_when_pruned = 0
        self._writer = Writer(database, on_failure, tidy=self._tidy, reserve=reserve)
        self._writer.connection.host_steady_ms = None if clock is None else clock.steady_ms
        self._depths = Rationed(depths)
        self._step_queues = Rationed(self._count_steps)
        self._readers = Readers(database)

    def _tidy(self, db: WriteConnection) -> SideEffects | None:
        journal.write_told(db)
        if db.total_changes - self._changes_when_pruned >= _PRUNE_AFTER_CHANGES:
            self._changes_when_pruned = db.total_changes
            journal.prune(db, self._max_journal_rows)
        (self._queued,) = db.execute("SELECT n FROM counts WHERE name = 'queued'").fetchone()
        is_due = db.due_ms is not None
        if not (db.also_ended or db.to_end or db.is_any_ready or db.caused or db.has_notices or is_due):
            return None
        to_end = [run.id for run in reads.runs_by_seq(db, db.to_end) if not run.status.is_final]
        ended = tuple(reads.runs_by_seq(db, db.also_ended))
        caused = tuple(db.caused)
        return SideEffects(ended, tuple(to_end), db.is_any_ready, caused, db.has_notices, db.due_ms)

    def tell_commits(self, listener: Callable[[], None]) -> None:
        """See `flowd.ports.OpenStore.tell_commits`."""
        self._writer.on_commit = listener

    def tell_side_effects(self, listener: Callable[[SideEffects], None]) -> None:
        """See `flowd.ports.OpenStore.tell_side_effects`."""
        self._writer.on_side_effects = listener

    async def close(self) -> None:
        """Finish the writes under way and close the file."""
        await self._writer.close()
        await self._readers.close()

    @property
    def commits(self) -> int:
        """See `flowd.ports.Store.commits`."""
        return self._writer.commits

    @property
    def tallies(self) -> StoreTallies:
        """See `flowd.ports.OpenStore.tallies`."""
        return self._writer.tallies

    @property
    def reconnects(self) -> int | None:
        """See `flowd.ports.OpenStore.reconnects`."""
        return None

    @property
    def queued(self) -> int:
        """See `flowd.ports.Store.queued`."""
        return self._queued

    @property
    def output_shelf(self) -> OutputShelf | None:
        """See `flowd.ports.OpenStore.output_shelf`."""
        return None

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
        """See `flowd.ports.Store.accept`."""
        limit = self._queue_bounds
        if slot is not None:
            return await self._accept_slot(slot, event, runs, at_ms=at_ms, claim=claim)
        if caused_by is not None:
            new, bounds = NewEventRuns(event, tuple(runs)), self._tree_bounds
            return await self._writer.do(
                lambda db: trees.accept(
                    db, new, at_ms=at_ms, queue_bounds=limit, within=bounds, claim=claim, caller_run_id=caused_by
                ),
                adds=True,
            )
        if claim is None:
            ask = accepting.Ask(event, runs, at_ms, limit)
            return await self._writer.do(ask, adds=True, together=accepting.accept_all if ask.is_simple else None)
        return await self._writer.do(
            lambda db: writes.accept(db, event, runs, at_ms=at_ms, within=limit, claim=claim), adds=True
        )

    async def add_runs(
        self,
        event_id: str,
        runs: Sequence[NewRun],
        *,
        at_ms: int,
        left_out: tuple[LeftOut, ...] | None = None,
        waiting: Waiting | None = None,
    ) -> tuple[Run, ...]:
        """See `flowd.ports.Store.add_runs`."""
        within = self._queue_bounds
        return await self._writer.do(
            lambda db: writes.add_runs(
                db, event_id, runs, at_ms=at_ms, within=within, left_out=left_out, waiting=waiting
            ),
            adds=True,
        )

    async def claim(self, ask: Claim) -> Claimed:
        """See `flowd.ports.Store.claim`."""
        return await self._writer.do(lambda db: queue.claim(db, ask), adds=True)

    async def shorten_waits(self, steady_ms: int) -> None:
        """See `flowd.ports.Store.shorten_waits`."""
        await self._writer.do(lambda db: queue.shorten_waits(db, steady_ms))

    async def note_start(self, attempt: Attempt) -> None:
        """See `flowd.ports.Store.note_start`."""
        await self._writer.do(lambda db: writes.note_start(db, attempt) if self._holds(db, attempt) else None)

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
        """See `flowd.ports.Store.finish`."""

        def finish(db: Connection) -> Finished:
            if not self._holds(db, attempt):
                return Finished(writes.whole_run(db, attempt.run_id), None if claim is None else queue.claim(db, claim))
            if not follows:
                return writes.finish(db, attempt, outcome, exit_, output, at_ms=at_ms, wait=wait, claim=claim)
            assert wait is None
            bounds = self._tree_bounds
            return trees.finish(
                db, attempt, outcome, exit_, output, at_ms=at_ms, follows=follows, within=bounds, claim=claim
            )

        return await self._writer.do(finish)

    def _holds(self, db: Connection, attempt: Attempt) -> bool:  # noqa: ARG002 - nobody else has any
        """Whether it is for us to say anything of an attempt: another host may have its number by now."""
        return True

    async def requeue(self, run_id: str, *, at_ms: int) -> bool:
        """See `flowd.ports.Store.requeue`."""
        return await self._writer.do(lambda db: queue.requeue(db, run_id, at_ms=at_ms))

    async def cancel_queued(self, run_id: str, *, at_ms: int) -> Run | None:
        """See `flowd.ports.Store.cancel_queued`."""
        return await self._writer.do(lambda db: writes.cancel_queued(db, run_id, at_ms=at_ms))

    async def request_cancel(self, run_id: str, *, at_ms: int) -> bool:
        """See `flowd.ports.Store.request_cancel`."""
        return await self._writer.do(lambda db: writes.request_cancel(db, run_id, at_ms=at_ms))

    def use_key_limits(self, limits: KeyLimits) -> None:
        """See `flowd.ports.Store.use_key_limits`."""
        self._writer.use_key_limits(limits)

    async def retry(self, run_id: str, *, at_ms: int, waiting: Waiting | None = None) -> Run | None:
        """See `flowd.ports.Store.retry`."""
        bounds = self._tree_bounds.queue
        return await self._writer.do(
            lambda db: retries.retry(db, run_id, at_ms=at_ms, within=bounds, waiting=waiting), adds=True
        )

    async def event(self, event_id: str) -> StoredEvent | None:
        """See `flowd.ports.Store.event`."""
        return await self._read(lambda db: reads.event(db, event_id))

    async def events(self, where: EventFilter, *, limit: int, cursor: str | None) -> Page[StoredEvent]:
        """See `flowd.ports.Store.events`."""
        return await self._read(lambda db: event_lists.events(db, where, limit, cursor))

    async def run(self, run_id: str) -> Run | None:
        """See `flowd.ports.Store.run`."""
        return await self._read(lambda db: reads.run(db, run_id))

    async def definition(self, run_id: str) -> Definition | None:
        """See `flowd.ports.Store.definition`."""
        return await self._read(lambda db: reads.definition(db, run_id))

    async def runs(self, where: RunFilter, *, limit: int, cursor: str | None) -> Page[Run]:
        """See `flowd.ports.Store.runs`."""
        return await self._read(lambda db: run_lists.runs(db, where, limit, cursor))

    async def ids(self, of: Literal["run", "event"], prefix: str, *, limit: int) -> list[str]:
        """See `flowd.ports.Store.ids`."""
        return await self._read(lambda db: reads.ids(db, of, prefix, limit))

    async def output(self, run_id: str, number: int) -> Output | None:
        """See `flowd.ports.Store.output`."""
        return await self._read(lambda db: reads.output(db, run_id, number))

    async def left_running(self) -> list[LeftRunning]:
        """See `flowd.ports.Store.left_running`."""
        return await self._read(reads.left_running)

    async def definitions(self) -> list[Definition]:
        """See `flowd.ports.Store.definitions`."""
        return await self._read(reads.all_definitions)

    async def counts(self) -> Counts:
        """See `flowd.ports.Store.counts`."""
        return await self._read(lambda db: reads.counts(db, self._database.free_bytes(db)))

    async def remember_nonce(self, nonce: str, at_ms: int, expires_at_ms: int) -> bool:
        """See `flowd.ports.Nonces.remember_nonce`."""
        return await self._writer.do(lambda db: nonces.remember(db, nonce, at_ms=at_ms, expires_at_ms=expires_at_ms))
