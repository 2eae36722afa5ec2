"""Runs that nothing can let go of are found, in a database that somebody has changed by hand."""

import asyncio
import sqlite3
from contextlib import closing
from pathlib import Path

import pytest
from doctor_rig import doctor
from store_rig import new_event

from flowd.domain.concurrency import WantedKey
from flowd.domain.definition import Definition
from flowd.domain.queueing import NewRun
from flowd.store.sql import stuck
from flowd.store.sqlite.schema import known_schema
from flowd.store.sqlite.store import SqliteStore


def new(name: str, *needs: str, key: WantedKey | None = None, round_key: WantedKey | None = None) -> NewRun:
    flow = "flow" if round_key is None else f"flow-of-{name}"
    step = Definition(flow, 1, "/flow", "sha256:0", name, "exec", "run.sh", 1000, 100)
    return NewRun(f"run-{name}", step, needs=needs, key=key, round_key=round_key)


@pytest.fixture
def database(tmp_path: Path) -> Path:
    folder = tmp_path / ".codex" / "flowd"
    folder.mkdir(parents=True, mode=0o700)

    async def fill() -> None:
        store = SqliteStore(folder / "flowd.db", max_queued=100)
        await store.accept(new_event("e"), [new("a"), new("b", "a"), new("c", "a", "b")], at_ms=1)
        one, other = WantedKey("g", "[1]"), WantedKey("g", "[2]")
        keyed = [new("k1", key=one), new("k2", key=one), new("r1", round_key=other), new("r2", round_key=other)]
        await store.accept(new_event("keyed"), keyed, at_ms=1)
        await store.close()

    asyncio.run(fill())
    return folder / "flowd.db"


@pytest.mark.parametrize(
    ("change", "expected"),
    [
        ("SELECT 1", []),
        ("UPDATE runs SET needs_left = 3 WHERE id = 'run-c'", [("counts other needs than have not ended", "run-c")]),
        (
            "UPDATE runs SET status = 'completed' WHERE id = 'run-a'",
            [
                ("waits for steps, all of which have ended", "run-b"),
                ("counts other needs than have not ended", "run-c"),
            ],
        ),
        (
            "UPDATE runs SET waits_for = 'question' WHERE id = 'run-c'",
            [("waits for a person's answer, and none of what it needs asks", "run-c")],
        ),
        (
            "UPDATE runs SET waits_for = 'pause', waits_on = 'flow' WHERE id = 'run-c'",
            [("waits for the end of a pause that there is not", "run-c")],
        ),
        (
            """INSERT INTO pauses SELECT 'flow', '', '{}', 1, 0 UNION SELECT 'flow', 'c', '{}', 1, 1;
            UPDATE runs SET waits_for = 'pause', waits_on = 'flow' WHERE id = 'run-b';
            UPDATE runs SET waits_for = 'pause', waits_on = 'flow/c' WHERE id = 'run-c'""",
            [],
        ),
        (
            "DELETE FROM lane_members WHERE has = 0",
            [("waits for a key, and stands in no line for it", "run-k2")],
        ),
        ("UPDATE lanes SET used = 0 WHERE kind = 'step'", [("waits for a key that is free", "run-k2")]),
        (
            "UPDATE runs SET status = 'completed' WHERE id = 'run-k1'",
            [("waits for a key that nobody holds who has not ended", "run-k2")],
        ),
        (
            "UPDATE runs SET status = 'completed' WHERE id = 'run-r1'",
            [("waits for a key that nobody holds who has not ended", "run-r2")],
        ),
        (
            "UPDATE runs SET waits_for = 'rain' WHERE id = 'run-c'",
            [("waits for something that this flowd does not know", "run-c")],
        ),
    ],
)
def test_each_way_to_be_stuck_is_found(database: Path, change: str, expected: list[tuple[str, str]]) -> None:
    with closing(sqlite3.connect(database)) as db:
        db.executescript(change)
        assert [(found.why, found.run_ids[0]) for found in stuck.find(db, known_schema())] == expected


def test_the_doctor_tells_of_stuck_runs_and_of_packages_that_are_missed(tmp_path: Path, database: Path) -> None:
    with closing(sqlite3.connect(database)) as db:
        db.execute("UPDATE runs SET status = 'completed' WHERE id = 'run-a'")
        db.execute("UPDATE runs SET waits_for = 'package' WHERE id = 'run-c'")
        db.commit()
    found = [finding for finding in doctor(tmp_path, code=1)["findings"] if finding["check"] == "waits"]
    assert [finding["level"] for finding in found] == ["fail", "warn"]
    assert found[0]["found"] == "nothing lets 1 run start (run-b): it waits for steps, all of which have ended"
    assert found[1]["found"] == "1 run waits for a step of flow flow that no package has"
