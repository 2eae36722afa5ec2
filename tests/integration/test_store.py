"""The SQLite store itself: its one file, its transactions, the index of the queue, and what it refuses to open."""

import asyncio
import re
import sqlite3
from collections.abc import Awaitable, Callable
from pathlib import Path

import pytest
from store_rig import STEP, accept, forget_before, new_event

from flowd.domain.errors import StateError, StorageBusyError
from flowd.domain.journal import Interest
from flowd.domain.queueing import NewRun
from flowd.store.sql import expiring, imports, queue
from flowd.store.sql.pruning import LOOKED_AT
from flowd.store.sqlite.connection import open_writer
from flowd.store.sqlite.store import SqliteStore


def with_store(path: Path, use: Callable[[SqliteStore], Awaitable[None]], *, max_queued: int = 1000) -> None:
    async def run() -> None:
        store = SqliteStore(path / "flowd.db", max_queued=max_queued)
        try:
            await use(store)
        finally:
            await store.close()

    asyncio.run(run())


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


def test_forgetting_goes_on_through_many_events_and_never_gives_a_number_twice(tmp_path: Path) -> None:
    async def use(store: SqliteStore) -> None:
        for n in range(2 * LOOKED_AT + 1):
            await store.accept(new_event(str(n)), [], at_ms=1)
            if n == 0:  # a clock that was ahead for some time
                for ahead in range(LOOKED_AT):
                    await store.accept(new_event(f"ahead {ahead}"), [], at_ms=10_000)
        assert (await forget_before(store, 100)).events == 2 * LOOKED_AT
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
        await store.accept(new_event("old"), [NewRun(f"run-{n}", STEP) for n in range(count)], at_ms=1)
        await store._writer.do(lambda db: db.setlimit(sqlite3.SQLITE_LIMIT_VARIABLE_NUMBER, count - 1))
        await store._writer.do(lambda db: db.execute("UPDATE runs SET status = 'completed', completed_at_ms = 3"))
        await accept(store, "newest")
        done = await forget_before(store, 100)
        assert (done.events, done.runs) == (1, count)
        assert (await store.counts()).runs["completed"] == 0

    with_store(tmp_path, use, max_queued=count + 1)


def test_a_claim_reads_the_index_of_ready_runs_alone(tmp_path: Path) -> None:
    db = open_writer(tmp_path / "flowd.db")
    try:
        plan = [row[3] for row in db.execute(f"EXPLAIN QUERY PLAN {queue.NEXT}", (1,))]
        assert plan[0].startswith("SCAN r USING INDEX runs_ready"), plan
        assert not any("TEMP B-TREE" in line for line in plan), plan
        for question, indices in (
            (queue.DUE, ["runs_timed"]),
            (queue.AT_INSTANT, ["runs_at_instant"]),
            (queue.NEXT_DUE, ["runs_timed", "runs_at_instant", "runs_expiring"]),
            (expiring.EXPIRED, ["runs_expiring"]),
        ):
            plan = [row[3] for row in db.execute(f"EXPLAIN QUERY PLAN {question}", (1,) * question.count("?"))]
            found = [line for line in plan if " runs " in line]
            assert len(found) == len(indices), plan
            assert all(f"INDEX {index} " in f"{line} " for line, index in zip(found, indices, strict=True)), plan
            assert not any("TEMP B-TREE" in line for line in plan), plan
    finally:
        db.close()


def test_no_statement_names_parameters_that_are_bound_by_position() -> None:
    # Python 3.12 warns of `?1` bound by position, and a caller of local mode may make warnings errors.
    sources = Path(queue.__file__).parent.rglob("*.py")
    assert [path.name for path in sources if re.search(r"\?[0-9]", path.read_text(encoding="utf-8"))] == []


def test_places_that_the_journal_names_are_not_given_to_the_next_import(tmp_path: Path) -> None:
    db = open_writer(tmp_path / "flowd.db")
    try:
        db.execute("INSERT INTO journal (at_ms, kind, event_seq, run_seq) VALUES (1, 'run', -4, -7)")  # of a retry
        places = imports.Places(db, ["r"])
        assert (places.next_event(), places.of_run("r")) == (-5, -8)
    finally:
        db.close()
