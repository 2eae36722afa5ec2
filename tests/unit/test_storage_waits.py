"""What is logged while runs wait for storage."""

import logging

import pytest

from flowd.engine.storage_waits import StorageWaits


def lines(caplog: pytest.LogCaptureFixture) -> list[tuple[str, int | None]]:
    return [(record.getMessage(), getattr(record, "runs", None)) for record in caplog.records]


def test_a_hundred_runs_that_wait_for_a_minute_are_told_seven_times_and_their_end_once(
    caplog: pytest.LogCaptureFixture,
) -> None:
    caplog.set_level(logging.INFO)
    now_s = 1000.0
    waits = StorageWaits(lambda: now_s)
    for _ in range(61):
        for run in range(100):
            waits.wait(f"run_{run}", problem="The disk is full.")
        now_s += 1.0
    assert lines(caplog) == [("runs wait for storage", 1), *[("runs wait for storage", 100)] * 6]
    assert [getattr(record, "for_s", None) for record in caplog.records] == [0, 10, 20, 30, 40, 50, 60]
    for run in range(100):
        waits.over(f"run_{run}")
        waits.over("another")
    assert lines(caplog)[7:] == [("storage is back", None)]


def test_a_later_wait_is_told_at_once(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO)
    waits = StorageWaits(lambda: 5.0)
    for _ in range(2):
        waits.wait("run", problem="locked")
        waits.over("run")
    assert [message for message, _ in lines(caplog)] == ["runs wait for storage", "storage is back"] * 2


def test_a_run_that_waits_for_two_things_counts_once() -> None:
    waits = StorageWaits(lambda: 5.0)
    waits.wait("start run_1", problem="no room for its output")
    waits.wait("run_1", problem="The disk is full.")
    waits.wait("run_2", problem="The disk is full.")
    assert waits.count == 2
    waits.over("run_1")
    waits.over("run_2")
    assert waits.count == 1
    waits.over("start run_1")
    assert waits.count == 0
