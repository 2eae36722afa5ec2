"""A state database of the first schema opens and goes on."""

import asyncio
import sqlite3
import subprocess
import sys
from contextlib import closing
from importlib.resources import files
from pathlib import Path

import pytest
from store_rig import FAILED, STEP, claim, ids

from flowd.domain.errors import StateError
from flowd.domain.exit import Exit
from flowd.domain.filters import EventFilter, RunFilter
from flowd.domain.result import FlowResult
from flowd.domain.run import ProcessStatus, Run
from flowd.domain.stored import Output
from flowd.domain.waiting import TimeWait
from flowd.store.sqlite.connection import open_writer
from flowd.store.sqlite.migration import APPLICATION_ID, backup_path
from flowd.store.sqlite.schema import known_schema
from flowd.store.sqlite.store import SqliteStore

DEFINITION = "INSERT INTO definitions (id, body) VALUES (?, ?)"
RUN = (
    "INSERT INTO runs (seq, id, event_seq, definition_id, flow_name, flow_version, step_name, runner, package_hash,"
    " status, attempt_count, not_before_ms, created_at_ms, updated_at_ms, completed_at_ms)"
    " VALUES (?, ?, 1, ?, 'flow', 1, 'step', 'exec', 'sha256:0', ?, ?, ?, 1, ?, ?)"
)
ATTEMPT = (
    "INSERT INTO attempts (run_seq, number, status, worker_id, boot_id, started_at_ms, completed_at_ms)"
    " VALUES (?, ?, ?, 'keeper', 'boot', 5, ?)"
)


def old_database(path: Path) -> None:
    """As the first schema's flowd left it: runs that are queued, delayed, running, retried by a person, and final."""
    schema = (files("flowd.store.sqlite") / "migrations" / "0001_initial.sql").read_text()
    with closing(sqlite3.connect(path, isolation_level=None)) as db:
        db.executescript(f"{schema}; PRAGMA user_version = 1; PRAGMA application_id = {APPLICATION_ID};")
        db.execute(DEFINITION, (STEP.id, STEP.body))
        db.execute(
            "INSERT INTO events (seq, id, type, received_at, created_at_ms, fingerprint, body)"
            " VALUES (1, 'e', 't', 'now', 1, x'00', '{\"payload\":{}}')"
        )
        for seq, run_id, status, attempts, not_before_ms, updated_at_ms, completed_at_ms in (
            (-1, "imported", "failed", 1, 0, 2, 2),
            (1, "final", "failed", 2, 0, 9, 9),
            (2, "running", "running", 1, 0, 5, None),
            (3, "delayed", "queued", 1, 1_090, 1_000, None),
            (4, "retried", "queued", 1, 0, 30, None),
            (5, "queued", "queued", 0, 0, 31, None),
        ):
            db.execute(RUN, (seq, run_id, STEP.id, status, attempts, not_before_ms, updated_at_ms, completed_at_ms))
            for number in range(1, attempts + 1):
                db.execute(ATTEMPT, (seq, number, "running" if status == "running" else "failed", completed_at_ms))


def test_every_kind_of_run_of_the_first_schema_goes_on(tmp_path: Path) -> None:
    old_database(tmp_path / "flowd.db")

    async def run_of(store: SqliteStore, run_id: str) -> Run:
        run = await store.run(run_id)
        assert run is not None
        return run

    async def use() -> None:
        store = SqliteStore(tmp_path / "flowd.db", max_queued=10)
        try:
            (left,) = await store.left_running()
            assert (left.run.id, left.definition) == ("running", STEP)
            assert (await run_of(store, "delayed")).waiting_for == TimeWait(1_090, 90, "retry")
            hashes = [attempt.package_hash for attempt in (await run_of(store, "final")).attempts]
            assert hashes == [None, "sha256:0"]  # which definition an earlier attempt had was not recorded
            assert [a.package_hash for a in (await run_of(store, "retried")).attempts] == [None]
            assert (await store.counts()).runs == {
                "queued": 3,
                "running": 1,
                "completed": 0,
                "failed": 2,
                "canceled": 0,
            }
            first = await store.claim(claim(5, at_ms=1_001))
            assert (ids(first), first.next_due_ms) == (["retried", "queued"], 1_090)
            assert [started.attempt.id for started in first.started] == ["retried:2", "queued"]
            assert ids(await store.claim(claim(5, at_ms=1_090))) == ["delayed"]
            ended = (await store.finish(left.attempt, FAILED, Exit(1), Output(), at_ms=1_100)).run
            assert ended.status is ProcessStatus.FAILED
            assert await store.retry("imported", at_ms=1_101) is not None
            assert await store.retry("final", at_ms=1_102) is not None
            assert ids(await store.claim(claim(5, at_ms=1_103))) == ["imported", "final"]
        finally:
            await store.close()

    asyncio.run(use())
    assert backup_path(tmp_path / "flowd.db", known_schema()).exists()


def test_replays_of_before_rounds_were_numbered_get_their_numbers(tmp_path: Path) -> None:
    old_database(tmp_path / "flowd.db")
    with closing(sqlite3.connect(tmp_path / "flowd.db", isolation_level=None)) as db:
        for seq, flow, created_at_ms in ((6, "flow", 40), (7, "flow", 40), (8, "other", 40), (9, "flow", 50)):
            db.execute(RUN, (seq, f"replay-{seq}", STEP.id, "failed", 1, 0, 60, 60))
            change = "UPDATE runs SET replay_of = 'queued', flow_name = ?, created_at_ms = ? WHERE seq = ?"
            db.execute(change, (flow, created_at_ms, seq))
    with closing(open_writer(tmp_path / "flowd.db")) as db:
        found = db.execute("SELECT seq, round FROM runs WHERE seq > 4 ORDER BY seq").fetchall()
        assert found == [(5, 1), (6, 2), (7, 2), (8, 2), (9, 3)]


def test_runs_of_before_ask_only_where_they_have_ended(tmp_path: Path) -> None:
    old_database(tmp_path / "flowd.db")
    with closing(sqlite3.connect(tmp_path / "flowd.db", isolation_level=None)) as db:
        db.execute(RUN, (6, "asks", STEP.id, "completed", 1, 0, 60, 60))
        db.execute(RUN, (7, "canceled", STEP.id, "canceled", 1, 0, 60, 60))
        for seq in (6, 7):
            db.execute(ATTEMPT, (seq, 1, "failed", 50))
        said = "UPDATE runs SET result_status = 'blocked', result = '{\"status\":\"blocked\"}' WHERE id = ?"
        db.executemany(said, [("asks",), ("canceled",), ("delayed",), ("running",)])

    async def use() -> None:
        store = SqliteStore(tmp_path / "flowd.db", max_queued=10)
        try:
            page = await store.questions(limit=9, cursor=None)
            assert [question.run.id for question in page.items] == ["asks"]
            statuses = {}
            for name in ("delayed", "running", "canceled"):
                run = await store.run(name)
                assert run is not None
                statuses[name] = run.effective_status, run.needs_attention, [a.result for a in run.attempts]
            blocked = FlowResult("blocked", '{"status":"blocked"}')
            assert statuses == {
                "delayed": ("queued", False, [None]),  # its attempt has no instant of its end here
                "running": ("running", False, [None]),
                "canceled": ("canceled", False, [blocked]),
            }
            assert (await store.counts()).waiting == 1
        finally:
            await store.close()

    asyncio.run(use())


def test_a_migration_is_told_with_its_backup_which_only_the_owner_can_read(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    path = tmp_path / "flowd.db"
    old_database(path)
    with caplog.at_level("INFO", logger="flowd.store"):
        open_writer(path).close()
    (told,) = [record.__dict__ for record in caplog.records if record.message == "database upgraded"]
    backup = Path(told["backup"])
    assert (told["from"], told["to"], backup) == (1, known_schema(), backup_path(path, known_schema()))
    assert backup.stat().st_mode & 0o777 == 0o600
    with closing(sqlite3.connect(backup)) as db:
        assert db.execute("PRAGMA user_version").fetchone() == (1,)


def test_a_state_whose_migration_was_rewritten_is_refused_and_left_alone(tmp_path: Path) -> None:
    path = tmp_path / "flowd.db"
    old_database(path)
    with closing(sqlite3.connect(path)) as db:
        db.execute("DROP TABLE nonces")  # as a first schema from before there were any
        db.execute("PRAGMA journal_mode = WAL")
    before = path.read_bytes()
    with pytest.raises(StateError, match="not what schema 1 of flowd is: table nonces is missing"):
        open_writer(path)
    assert path.read_bytes() == before
    assert not backup_path(path, known_schema()).exists()


@pytest.mark.parametrize(
    ("harm", "told"),
    [
        ("ALTER TABLE runs DROP COLUMN wait_why", "table runs is not as it should be"),
        ("DROP INDEX runs_ready", "index runs_ready is missing"),
        ("DROP TRIGGER runs_recounted", "trigger runs_recounted is missing"),
        ("ALTER TABLE journal RENAME TO diary", "table journal is missing"),
    ],
)
def test_a_schema_that_somebody_changed_is_refused(tmp_path: Path, harm: str, told: str) -> None:
    """In a process of its own: in one that had run other tests, SQLite said twice that the new file is no database,
    most likely as a late line of a log had hit it."""
    done = subprocess.run(
        [sys.executable, "-c", _HARMED, str(tmp_path / "flowd.db"), harm], capture_output=True, text=True, timeout=60
    )
    assert (done.returncode, done.stderr) == (0, "")
    assert told in done.stdout


_HARMED = """
import sqlite3, sys
from contextlib import closing
from pathlib import Path
from flowd.domain.errors import StateError
from flowd.store.sqlite.connection import open_writer

path, harm = Path(sys.argv[1]), sys.argv[2]
open_writer(path).close()
with closing(sqlite3.connect(path, isolation_level=None)) as db:
    db.execute(harm)
try:
    open_writer(path)
except StateError as error:
    print(error.message)
"""


def test_what_somebody_added_beside_the_schema_is_no_harm(tmp_path: Path) -> None:
    path = tmp_path / "flowd.db"
    open_writer(path).close()
    with closing(sqlite3.connect(path, isolation_level=None)) as db:
        db.execute("CREATE INDEX mine ON events (source)")
        db.execute("ANALYZE")
    open_writer(path).close()


def test_a_refused_downgrade_names_the_version_and_the_backup(tmp_path: Path) -> None:
    path = tmp_path / "flowd.db"
    open_writer(path).close()
    backup_path(path, known_schema() + 1).write_bytes(path.read_bytes())
    with closing(sqlite3.connect(path, isolation_level=None)) as db:
        db.execute(f"PRAGMA user_version = {known_schema() + 1}")
        db.execute("UPDATE about SET value = '7.8.9' WHERE name = 'flowd_version'")
    with pytest.raises(StateError) as refused:
        open_writer(path)
    assert "a newer flowd (7.8.9)" in refused.value.message
    assert str(backup_path(path, known_schema() + 1)) in refused.value.message


def test_runs_and_events_of_before_are_found_by_their_times(tmp_path: Path) -> None:
    old_database(tmp_path / "flowd.db")
    with closing(sqlite3.connect(tmp_path / "flowd.db", isolation_level=None)) as db:
        db.execute("BEGIN")  # else each statement waits for the disk
        for seq in range(1_000, 3_000):
            db.execute(RUN, (seq, f"run-{seq}", STEP.id, "completed", 1, 0, 60, 60))
            db.execute("UPDATE runs SET created_at_ms = ? WHERE seq = ?", (seq * 10_000, seq))
        db.execute("COMMIT")

    async def use() -> None:
        store = SqliteStore(tmp_path / "flowd.db", max_queued=10)
        try:
            span = RunFilter(since_ms=15_000_000, until_ms=15_020_000)
            page = await store.runs(span, limit=9, cursor=None)
            assert [run.id for run in page.items] == ["run-1501", "run-1500"]
            everything = await store.events(EventFilter(until_ms=10), limit=9, cursor=None)
            assert len(everything.items) == 1
            assert (await store.events(EventFilter(since_ms=10_000_000), limit=9, cursor=None)).items == ()
        finally:
            await store.close()

    asyncio.run(use())
