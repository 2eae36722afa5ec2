"""How lists are read: by which indexes, and which part of them where a time is asked for. Nothing is read whole."""

import random
import sqlite3
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from flowd.domain.filters import EventFilter, RunFilter
from flowd.domain.run import BAD_RESULTS
from flowd.store.sql import event_lists, people, queue_reads, reads, run_lists, spans, ways
from flowd.store.sql.run_lists import statement
from flowd.store.sql.spans import Part
from flowd.store.sqlite.connection import open_writer

EVERYTHING = Part(-reads.NEWEST, reads.NEWEST)
HOUR_MS = 3_600_000


@pytest.fixture
def db(tmp_path: Path) -> Iterator[sqlite3.Connection]:
    connection = open_writer(tmp_path / "flowd.db")
    yield connection
    connection.close()


def add_runs(db: sqlite3.Connection, instants_ms: list[int], *, first_seq: int = 1) -> None:
    """An event with a run for each instant, the numbers in the order of the list."""
    with_seq = [(seq, at_ms) for seq, at_ms in enumerate(instants_ms, first_seq)]
    db.execute("BEGIN")
    db.executemany(
        "INSERT INTO events (seq, id, type, received_at, created_at_ms, fingerprint, body)"
        " VALUES (?, ?, 't', '', ?, x'', '{\"payload\":{}}')",
        [(seq, f"e{seq}", at_ms) for seq, at_ms in with_seq],
    )
    db.executemany(
        "INSERT INTO runs (seq, id, event_seq, flow_name, flow_version, step_name, runner, package_hash, status,"
        " created_at_ms, updated_at_ms) VALUES (?, ?, ?, 'f', 1, 's', 'exec', '', 'completed', ?, ?)",
        [(seq, f"r{seq}", seq, at_ms, at_ms) for seq, at_ms in with_seq],
    )
    db.execute("COMMIT")


def plan(db: sqlite3.Connection, sql: str, values: list[object]) -> str:
    """What SQLite does, in its words; its versions call the number of a row by either name."""
    found = "; ".join(row[3] for row in db.execute(f"EXPLAIN QUERY PLAN {sql}", values))
    return found.replace("rowid", "seq")


@pytest.mark.parametrize(
    ("where", "indexes"),
    [
        (RunFilter(event_id="e"), ["r USING INDEX runs_by_event (event_seq=? AND seq>? AND seq<?)"]),
        (RunFilter(flow="f"), ["r USING INDEX runs_by_flow (flow_name=? AND seq>? AND seq<?)"]),
        (RunFilter(step="s"), ["r USING INDEX runs_by_step (step_name=? AND seq>? AND seq<?)"]),
        (RunFilter(reason="exit"), ["r USING INDEX runs_by_reason (reason=? AND seq>? AND seq<?)"]),
        (RunFilter(labels=(("a", "b"),)), ["l USING PRIMARY KEY (name=? AND value=? AND run_seq>? AND run_seq<?)"]),
        (RunFilter(host="h"), ["a USING INDEX attempts_by_host (host=? AND run_seq>? AND run_seq<?)"]),
        (RunFilter(status="queued"), ["r USING INDEX runs_active (status=? AND seq>? AND seq<?)"]),
        (RunFilter(status="blocked"), ["r USING INDEX runs_by_result (result_status=? AND seq>? AND seq<?)"]),
        (
            RunFilter(status="failed"),
            [
                "r USING INDEX runs_ended_badly (status=? AND seq>? AND seq<?)",
                "r USING INDEX runs_by_result (result_status=? AND seq>? AND seq<?)",
            ],
        ),
        (
            RunFilter(flow="f", status="canceled"),
            [
                "r USING INDEX runs_of_flow_ended_badly (flow_name=? AND status=? AND seq>? AND seq<?)",
                "r USING INDEX runs_of_flow_by_result (flow_name=? AND result_status=? AND seq>? AND seq<?)",
            ],
        ),
    ],
)
def test_every_filter_has_an_index_that_gives_its_runs_in_order(
    db: sqlite3.Connection, where: RunFilter, indexes: list[str]
) -> None:
    (asked,) = ways.asked(where)
    plans = [plan(db, *_with_limit(*statement(way, [], EVERYTHING))) for way in asked.ways]
    for found, index in zip(plans, indexes, strict=True):
        assert found.startswith(f"SEARCH {index}"), found
        assert not {"SCAN r", "SCAN l", "SCAN e"} & set(found.split("; "))
        assert "TEMP B-TREE" not in found


def _with_limit(sql: str, values: list[object]) -> tuple[str, list[object]]:
    return sql, [*values, 51]


@pytest.mark.parametrize("status", ["queued", "running", "failed", "canceled", "blocked", "skipped", "changed"])
def test_how_far_a_way_reaches_is_told_by_its_index_alone(db: sqlite3.Connection, status: str) -> None:
    traced: list[str] = []
    filters = [
        *ways.asked(RunFilter(flow="f", step="s", reason="exit", labels=(("a", "b"),))),
        *ways.asked(RunFilter(status=status)),
        *ways.asked(RunFilter(flow="f", status=status)),
    ]
    db.set_trace_callback(traced.append)
    ways.choose(db, filters, EVERYTHING)
    db.set_trace_callback(None)
    assert len(traced) >= len(filters)
    for sql in traced:
        found = plan(db, sql, [])
        assert "COVERING INDEX" in found or "l USING PRIMARY KEY" in found, found


def test_a_list_of_everything_and_one_by_text_go_along_the_table(db: sqlite3.Connection) -> None:
    found = plan(db, *_with_limit(*statement(ways.ALL, [], EVERYTHING)))
    assert found.startswith("SEARCH r USING INTEGER PRIMARY KEY (seq>? AND seq<?)")
    assert "TEMP B-TREE" not in found


@pytest.mark.parametrize(
    ("where", "index"),
    [
        (EventFilter(), "e USING INTEGER PRIMARY KEY (seq>? AND seq<?)"),
        (EventFilter(type="t"), "e USING INDEX events_by_type (type=? AND seq>? AND seq<?)"),
    ],
)
def test_events_are_read_in_their_order(db: sqlite3.Connection, where: EventFilter, index: str) -> None:
    found = plan(db, *event_lists.statement(where, [], EVERYTHING))
    assert found == f"SEARCH {index}"


@pytest.mark.parametrize(
    "where", [RunFilter(), RunFilter(flow="f"), RunFilter(step="s"), RunFilter(flow="f", labels=(("a", "b"),))]
)
def test_the_queue_and_the_questions_are_read_by_the_indexes_of_what_waits_and_asks(
    db: sqlite3.Connection, where: RunFilter
) -> None:
    traced: list[str] = []
    db.set_trace_callback(traced.append)
    queue_reads.queue(db, where, limit=50, cursor=None)
    people.open_questions(db, where, limit=50, cursor=None)
    db.set_trace_callback(None)
    plans = [found for sql in traced if " runs r " in sql and not (found := plan(db, sql, [])).startswith("SEARCH e ")]
    assert len(plans) >= 3
    for found in plans:
        index = found.partition(" (")[0].partition("; ")[0].replace("COVERING ", "")
        assert index in {f"SEARCH r USING INDEX {name}" for name in ("runs_active", "runs_wanting", "runs_ready")} | {
            "SCAN r USING INDEX runs_ready"
        }, found
        assert "TEMP B-TREE" not in found


def test_times_find_all_of_their_rows_and_few_others_however_the_clock_steps(db: sqlite3.Connection) -> None:
    dice = random.Random(3)
    now_ms, instants_ms = 1_700_000_000_000, []
    for _ in range(20_000):
        now_ms += dice.choice([1, 500, 2000])
        if dice.random() < 0.0005:
            now_ms += dice.choice([-3, -1, 1, 3]) * HOUR_MS
        instants_ms.append(now_ms)
    add_runs(db, instants_ms[10_000:], first_seq=1)
    add_runs(db, instants_ms[:10_000], first_seq=-9_999)  # as an import does: later, and below everything
    last_of_blocks = [at_ms for seq, at_ms in enumerate(instants_ms, -9_999) if seq % 512 == 511]
    for since_ms in [*last_of_blocks, *(dice.choice(instants_ms) + dice.choice([0, 1]) for _ in range(200))]:
        until_ms = since_ms + dice.choice([1, 60_000, HOUR_MS])
        meant = {seq for seq, at_ms in enumerate(instants_ms, -9_999) if since_ms <= at_ms < until_ms}
        for kind in ("run", "event"):
            low, high = spans.part(db, "run" if kind == "run" else "event", EVERYTHING, since_ms, until_ms)
            assert meant <= set(range(low, high))
        where = RunFilter(since_ms=since_ms, until_ms=until_ms)
        found = run_lists.runs(db, where, 500, None)
        assert [run.id for run in found.items] == [f"r{seq}" for seq in sorted(meant, reverse=True)][:500]


def test_a_span_of_time_is_a_few_blocks_of_a_steady_clock(db: sqlite3.Connection) -> None:
    add_runs(db, [1_700_000_000_000 + number * 1000 for number in range(20_000)])
    since_ms = 1_700_000_000_000 + 10_000 * 1000
    low, high = spans.part(db, "run", EVERYTHING, since_ms, since_ms + 60_000)
    assert high - low <= 2 * 512
    assert spans.part(db, "run", EVERYTHING, since_ms + HOUR_MS * 1000, None) == Part(reads.NEWEST, reads.NEWEST)
    low, high = spans.part(db, "run", EVERYTHING, None, 1_600_000_000_000)
    assert low == high
    (blocks,) = db.execute("SELECT count(*) FROM spans WHERE kind = 'run'").fetchone()
    assert blocks == 20_000 // 512 + 1


def test_rows_of_a_steady_clock_write_little_beside_themselves(db: sqlite3.Connection) -> None:
    before = db.total_changes
    add_runs(db, [1_700_000_000_000 + number for number in range(4_000)])
    counted = 4_000 * 2 + 4_000 * 3  # the rows; of triggers the counts of both, and the number of what is ready
    assert db.total_changes - before - counted < 60


def test_a_filter_among_others_is_asked_of_what_the_best_index_leads_to(db: sqlite3.Connection) -> None:
    add_runs(db, [1_700_000_000_000] * 3_000)
    db.execute("UPDATE runs SET reason = 'exit' WHERE seq % 1000 = 0")
    filters = ways.asked(RunFilter(flow="f", step="s", reason="exit"))
    chosen = ways.choose(db, filters, EVERYTHING)
    assert chosen.by is not None
    assert filters[chosen.by].term.sql == "r.reason = ?"
    assert (chosen.floor, chosen.count) == (None, 3)
    none = replace(RunFilter(), flow="f", step="none")
    assert run_lists.runs(db, none, 50, None).next_cursor is None


def test_of_two_that_are_frequent_the_one_that_reaches_further_back_is_read(db: sqlite3.Connection) -> None:
    add_runs(db, [1_700_000_000_000] * 3_000)
    db.execute("UPDATE runs SET reason = 'exit' WHERE seq % 2 = 0")
    filters = ways.asked(RunFilter(flow="f", reason="exit", step="s"))
    chosen = ways.choose(db, filters, EVERYTHING)
    assert chosen.by is not None
    assert filters[chosen.by].term.sql == "r.reason = ?"
    assert (chosen.floor, chosen.count) == (1_002, ways.MAX_LOOKED_AT)


def test_a_canceled_run_that_had_said_it_failed_is_none_that_failed(db: sqlite3.Connection) -> None:
    add_runs(db, [1_700_000_000_000] * 3)
    db.execute("UPDATE runs SET status = 'canceled', result_status = 'failed', result = '{}' WHERE seq = 2")
    db.execute("UPDATE runs SET status = 'failed', result_status = 'failed', result = '{}' WHERE seq = 3")
    for where in (RunFilter(status="failed"), RunFilter(flow="f", status="failed")):
        assert [run.id for run in run_lists.runs(db, where, 9, None).items] == ["r3"]


def test_what_ended_badly_is_counted_by_an_index_and_up_to_a_bound(db: sqlite3.Connection) -> None:
    beyond = reads.COUNTED + 5
    add_runs(db, list(range(beyond + 1)))
    db.execute(f"UPDATE runs SET result_status = 'failed' WHERE seq <= {beyond}")
    db.execute("UPDATE runs SET result_status = 'canceled' WHERE seq = 1")
    traced: list[str] = []
    db.set_trace_callback(traced.append)
    counts = reads.counts(db, 0)
    db.set_trace_callback(None)
    assert (counts.said["failed"], counts.said["canceled"], counts.uncounted) == (reads.COUNTED, 1, ("failed",))
    plans = [plan(db, sql, []) for sql in traced if "FROM runs" in sql]
    assert len(plans) == len(BAD_RESULTS)
    for found in plans:
        assert "SEARCH r USING INDEX runs_by_result (result_status=?)" in found
        assert "TEMP B-TREE" not in found
