"""The SQLite store: transactions, transitions, pages, and what it refuses to open."""

import asyncio
import sqlite3
from collections.abc import Awaitable, Callable
from pathlib import Path

import pytest

from flowd.domain.definition import Definition
from flowd.domain.errors import (
    EventNotFoundError,
    InvalidParamsError,
    QueueFullError,
    StateError,
    StorageBusyError,
)
from flowd.domain.journal import Interest
from flowd.domain.result import FlowResult
from flowd.domain.run import Exit, Outcome, ProcessStatus, Reason
from flowd.ports import NewEvent, NewRun, Output, RunFilter, StartedRun
from flowd.store.sqlite.pruning import CHUNK_EVENTS
from flowd.store.sqlite.store import SqliteStore

STEP = Definition("flow", 1, "/flow", "sha256:0", "step", "exec", "run.sh", 1000, 100)
DONE = Outcome(ProcessStatus.COMPLETED, result=FlowResult("changed", '{"status":"changed"}'), exit_code=0)
FAILED = Outcome(ProcessStatus.FAILED, Reason.EXIT, "exited with 1", exit_code=1)


def new_event(event_id: str, *, kind: str = "t", fingerprint: bytes = b"0") -> NewEvent:
    return NewEvent(event_id, kind, None, None, "2026-01-01T00:00:00.000Z", b'{"payload":{}}', fingerprint)


def with_store(path: Path, use: Callable[[SqliteStore], Awaitable[None]], *, max_queued: int = 1000) -> None:
    async def run() -> None:
        store = SqliteStore(path / "flowd.db", max_queued=max_queued)
        try:
            await use(store)
        finally:
            await store.close()

    asyncio.run(run())


async def accept(store: SqliteStore, name: str, *, kind: str = "t") -> str:
    await store.accept(new_event(f"event-{name}", kind=kind), [NewRun(f"run-{name}", STEP)], at_ms=1)
    return f"run-{name}"


async def begin(store: SqliteStore, run_id: str) -> StartedRun:
    begun = await store.begin(run_id, worker_id="keeper", boot_id="boot", at_ms=2)
    assert begun is not None
    return begun


def test_accepting_twice_creates_once_and_tells_a_conflict(tmp_path: Path) -> None:
    async def use(store: SqliteStore) -> None:
        first = await store.accept(new_event("e"), [NewRun("r", STEP)], at_ms=1)
        again = await store.accept(new_event("e"), [NewRun("other", STEP)], at_ms=2)
        other = await store.accept(new_event("e", fingerprint=b"1"), [], at_ms=2)
        assert (first.is_duplicate, again.is_duplicate, again.is_conflict, other.is_conflict) == (
            False,
            True,
            False,
            True,
        )
        assert again.event.run_ids == ("r",)
        counts = await store.counts()
        assert (counts.events, counts.runs["queued"]) == (1, 1)

    with_store(tmp_path, use)


def test_what_was_acknowledged_is_there_after_a_reopening(tmp_path: Path) -> None:
    async def fill(store: SqliteStore) -> None:
        await asyncio.gather(*(accept(store, str(n)) for n in range(300)))

    async def look(store: SqliteStore) -> None:
        assert len(await store.unfinished()) == 300

    with_store(tmp_path, fill)
    with_store(tmp_path, look)


def test_one_bad_operation_of_a_batch_undoes_only_itself(tmp_path: Path) -> None:
    async def use(store: SqliteStore) -> None:
        def bad(db: sqlite3.Connection) -> None:
            db.execute("INSERT INTO journal (at_ms, kind, event_seq) VALUES (1, 'half done', 1)")
            db.execute("INSERT INTO no_such_table VALUES (1)")

        done = await asyncio.gather(
            accept(store, "a"), store._writer.do(bad), accept(store, "b"), return_exceptions=True
        )
        assert done[0] == "run-a"
        assert isinstance(done[1], Exception)
        assert done[2] == "run-b"
        assert (await store.counts()).events == 2

    with_store(tmp_path, use)
    with sqlite3.connect(tmp_path / "flowd.db") as db:
        assert db.execute("SELECT count(*) FROM journal WHERE kind = 'half done'").fetchone() == (0,)
    db.close()


def test_a_run_begins_once_and_finishes_once(tmp_path: Path) -> None:
    async def use(store: SqliteStore) -> None:
        run_id = await accept(store, "a")
        begun = await begin(store, run_id)
        assert await store.begin(run_id, worker_id="keeper", boot_id="boot", at_ms=2) is None
        first = await store.finish(begun.attempt, DONE, Exit(0), Output(b"out", b"", 3, 0), at_ms=3)
        again = await store.finish(begun.attempt, FAILED, Exit(1), Output(), at_ms=4)
        assert first.status is again.status is ProcessStatus.COMPLETED
        assert await store.output(run_id, 1) == Output(b"out", b"", 3, 0)
        assert (await store.counts()).runs == {"queued": 0, "running": 0, "completed": 1, "failed": 0, "canceled": 0}

    with_store(tmp_path, use)


def test_a_late_outcome_of_an_earlier_attempt_does_not_touch_the_run(tmp_path: Path) -> None:
    async def use(store: SqliteStore) -> None:
        run_id = await accept(store, "a")
        first = await begin(store, run_id)
        await store.finish(first.attempt, FAILED, Exit(1), Output(), at_ms=3)
        await store.retry(run_id, None, at_ms=4)
        second = await begin(store, run_id)
        late = await store.finish(first.attempt, DONE, Exit(0), Output(), at_ms=5)
        assert (late.status, late.attempt_count) == (ProcessStatus.RUNNING, 2)
        assert second.attempt.id == "run-a:2"

    with_store(tmp_path, use)


def test_requeueing_forgets_the_attempt_that_never_was(tmp_path: Path) -> None:
    async def use(store: SqliteStore) -> None:
        run_id = await accept(store, "a")
        await begin(store, run_id)
        await store.requeue(run_id, at_ms=3)
        run = await store.run(run_id)
        assert run is not None
        assert (run.status, run.attempt_count, run.attempts, run.started_at_ms) == (ProcessStatus.QUEUED, 0, (), None)
        assert (await begin(store, run_id)).attempt.number == 1

    with_store(tmp_path, use)


def test_cancel_reaches_queued_runs_only(tmp_path: Path) -> None:
    async def use(store: SqliteStore) -> None:
        queued, running = await accept(store, "a"), await accept(store, "b")
        await begin(store, running)
        canceled = await store.cancel_queued(queued, at_ms=3)
        assert canceled is not None
        assert canceled.status is ProcessStatus.CANCELED
        assert await store.cancel_queued(running, at_ms=3) is None
        await store.request_cancel(running, at_ms=3)
        (unfinished,) = await store.unfinished()
        assert unfinished.run.cancel_requested

    with_store(tmp_path, use)


def test_a_full_queue_refuses_and_stores_nothing_but_still_knows_duplicates(tmp_path: Path) -> None:
    async def use(store: SqliteStore) -> None:
        await accept(store, "a")
        with pytest.raises(QueueFullError, match="max_queued is 1"):
            await accept(store, "b")
        assert await store.event("event-b") is None
        assert (await store.accept(new_event("event-a"), [NewRun("x", STEP)], at_ms=1)).is_duplicate
        with pytest.raises(EventNotFoundError):
            await store.add_runs("event-b", [NewRun("r", STEP)], at_ms=1)

    with_store(tmp_path, use, max_queued=1)


def test_pages_stay_right_while_rows_are_added(tmp_path: Path) -> None:
    async def use(store: SqliteStore) -> None:
        for n in range(6):
            await accept(store, str(n))
        first = await store.runs(RunFilter(), limit=4, cursor=None)
        await accept(store, "new")
        second = await store.runs(RunFilter(), limit=4, cursor=first.next_cursor)
        assert [run.id for run in (*first.items, *second.items)] == [f"run-{n}" for n in range(5, -1, -1)]
        assert second.next_cursor is None
        with pytest.raises(InvalidParamsError):
            await store.runs(RunFilter(), limit=4, cursor="e3")

    with_store(tmp_path, use)


def test_a_page_of_large_events_ends_early_and_goes_on(tmp_path: Path) -> None:
    async def use(store: SqliteStore) -> None:
        for n in range(5):
            large = NewEvent(f"e{n}", "t", None, None, "now", b'{"payload":"%b"}' % (b"x" * 1_500_000), b"")
            await store.accept(large, [], at_ms=1)
        page = await store.events(event_type=None, limit=50, cursor=None)
        assert [event.id for event in page.items] == ["e4", "e3"]
        rest = await store.events(event_type=None, limit=50, cursor=page.next_cursor)
        assert [event.id for event in rest.items] == ["e2", "e1"]

    with_store(tmp_path, use)


def test_a_locked_database_refuses_writes_and_answers_reads(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("flowd.store.sqlite.connection.BUSY_TIMEOUT_S", 0.2)

    async def use(store: SqliteStore) -> None:
        await accept(store, "a")
        other = sqlite3.connect(tmp_path / "flowd.db", isolation_level=None)
        other.execute("BEGIN EXCLUSIVE")
        with pytest.raises(StorageBusyError):
            await accept(store, "b")
        assert await store.event("event-a") is not None
        other.execute("ROLLBACK")
        other.close()
        assert await accept(store, "b") == "run-b"

    with_store(tmp_path, use)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda path: path.write_bytes(b"x" * 4096), "does not start over state that it cannot read"),
        (lambda path: _pragma(path, "user_version = 999"), "newer flowd"),
        (lambda path: _pragma(path, "application_id = 7"), "not flowd's"),
    ],
)
def test_state_that_is_not_ours_is_refused_and_left_alone(
    tmp_path: Path, change: Callable[[Path], object], message: str
) -> None:
    async def nothing(_: SqliteStore) -> None:
        pass

    with_store(tmp_path, nothing)
    path = tmp_path / "flowd.db"
    change(path)
    before = path.read_bytes()
    with pytest.raises(StateError, match=message):
        with_store(tmp_path, nothing)
    assert path.read_bytes() == before


def _pragma(path: Path, pragma: str) -> None:
    db = sqlite3.connect(path)
    db.execute(f"PRAGMA {pragma}")
    db.close()


def test_what_is_old_and_has_ended_is_forgotten_and_nothing_else(tmp_path: Path) -> None:
    removed: list[str] = []

    async def prune(store: SqliteStore, *, dry_run: bool = False) -> tuple[int, int, int]:
        done = await store.prune(before_ms=100, after_seq=0, dry_run=dry_run, remove_output=removed.append)
        return done.events, done.runs, done.output_bytes

    async def end(store: SqliteStore, run_id: str, *, at_ms: int, output: Output) -> None:
        begun = await begin(store, run_id)
        await store.finish(begun.attempt, FAILED, Exit(1), output, at_ms=at_ms)

    async def use(store: SqliteStore) -> None:
        for name in ("inline", "files", "queued", "late", "retried", "newest"):
            await accept(store, name)
        await end(store, "run-inline", at_ms=3, output=Output(b"out", b"", 3, 0))
        for name, at_ms in (("files", 3), ("late", 500), ("retried", 3), ("newest", 3)):
            await end(store, f"run-{name}", at_ms=at_ms, output=Output(None, b"", 70_000, 0))
        await store.accept(new_event("unmatched"), [], at_ms=1)
        await store.accept(new_event("young"), [], at_ms=500)
        await store.retry("run-retried", None, at_ms=4)
        before = await store.journal(Interest(), after=0, limit=100)

        assert await prune(store, dry_run=True) == (3, 2, 70_003)
        assert (await store.counts()).events == 8
        assert removed == []
        assert await prune(store) == (3, 2, 70_003)
        assert await prune(store) == (0, 0, 0)

        assert removed == ["run-files"]
        page = await store.events(event_type=None, limit=50, cursor=None)
        kept = ["young", "event-newest", "event-retried", "event-late", "event-queued"]
        assert [event.id for event in page.items] == kept
        counts = await store.counts()
        assert (counts.events, counts.runs["failed"], counts.runs["queued"]) == (5, 2, 2)
        assert await store.run("run-inline") is None
        after = await store.journal(Interest(), after=0, limit=100)
        assert [entry.cursor for entry in after.entries] == [
            entry.cursor
            for entry in before.entries
            if (entry.event.id if entry.event else entry.run.event_id if entry.run else "") in kept
        ]
        again = await store.accept(new_event("event-files"), [NewRun("run-files", STEP)], at_ms=600)
        assert not again.is_duplicate

    with_store(tmp_path, use)


def test_forgetting_goes_on_through_many_events_and_never_gives_a_number_twice(tmp_path: Path) -> None:
    async def use(store: SqliteStore) -> None:
        for n in range(2 * CHUNK_EVENTS + 1):
            await store.accept(new_event(str(n)), [], at_ms=1)
            if n == 0:  # a clock that was ahead for some time
                for ahead in range(CHUNK_EVENTS):
                    await store.accept(new_event(f"ahead {ahead}"), [], at_ms=10_000)
        after_seq: int | None = 0
        events = 0
        while after_seq is not None:
            done = await store.prune(before_ms=100, after_seq=after_seq, dry_run=False, remove_output=print)
            events, after_seq = events + done.events, done.next_seq
        assert events == 2 * CHUNK_EVENTS
        cursor = (await store.journal(Interest(), after=None, limit=1)).newest
        await accept(store, "new")
        page = await store.journal(Interest(), after=cursor, limit=10)
        assert [(entry.kind, entry.event and entry.event.id) for entry in page.entries if entry.kind == "event"] == [
            ("event", "event-new")
        ]

    with_store(tmp_path, use)


def test_events_with_more_runs_than_a_statement_takes_values_are_forgotten(tmp_path: Path) -> None:
    count = 1_500

    async def use(store: SqliteStore) -> None:
        await store._writer.do(lambda db: db.setlimit(sqlite3.SQLITE_LIMIT_VARIABLE_NUMBER, count - 1))
        await store.accept(new_event("old"), [NewRun(f"run-{n}", STEP) for n in range(count)], at_ms=1)
        await store._writer.do(lambda db: db.execute("UPDATE runs SET status = 'completed', completed_at_ms = 3"))
        await accept(store, "newest")
        done = await store.prune(before_ms=100, after_seq=0, dry_run=False, remove_output=print)
        assert (done.events, done.runs) == (1, count)
        assert (await store.counts()).runs["completed"] == 0

    with_store(tmp_path, use, max_queued=count + 1)
