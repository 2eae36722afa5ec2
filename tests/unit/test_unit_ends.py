"""How the executor ``systemd`` reads and remembers the ends of steps. Needs no systemd."""

from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from flowd.domain.exit import Exit
from flowd.executors.exit_facts import exit_of, facts_of
from flowd.executors.systemd import properties
from flowd.executors.systemd.unit_records import UnitRecord, UnitRecords


def test_a_unit_that_was_stopped_under_its_step_is_told_from_one_that_ended_by_itself_or_by_a_limit() -> None:
    about = {
        "ActiveEnterTimestampMonotonic": 1_000,
        "ActiveExitTimestampMonotonic": 5_000,
        "ExecMainExitTimestampMonotonic": 5_500,
        "ExecMainCode": 2,
        "ExecMainStatus": 15,
        "Result": "success",
        "RuntimeMaxUSec": (1 << 64) - 1,
    }
    assert properties.exit_of(about, None) == Exit(signal=15, cause="canceled")
    assert properties.exit_of({**about, "Result": "timeout"}, None).cause == "canceled"  # its grace was not enough
    assert properties.exit_of(about, "output_limit").cause == "output_limit"
    assert properties.exit_of({**about, "ActiveExitTimestampMonotonic": 5_600}, None).cause is None  # by itself
    assert properties.exit_of({**about, "ActiveExitTimestampMonotonic": 0}, None).cause is None  # it was never active
    assert properties.exit_of({**about, "Result": "oom-kill"}, None).cause is None
    assert properties.exit_of({**about, "Result": "timeout", "RuntimeMaxUSec": 4_000}, None).cause == "timeout"


def test_the_end_of_a_step_is_when_systemd_saw_it_and_goes_through_a_note() -> None:
    about = {"ExecMainExitTimestampMonotonic": 5, "ExecMainCode": 1, "ExecMainStatus": 0, "Result": "success"}
    about |= {"ExecMainExitTimestamp": 1_700_000_000_123_456, "InactiveEnterTimestamp": 0}
    assert properties.exit_of(about, None).ended_at_ms == 1_700_000_000_123
    failed = properties.exit_of({**about, "InactiveEnterTimestamp": 1_700_000_002_000_999}, None)
    assert exit_of(facts_of(failed)).ended_at_ms == 1_700_000_002_000
    gone = {**about, "ExecMainExitTimestampMonotonic": 0, "ExecMainExitTimestamp": 0}
    assert properties.exit_of(gone, None).ended_at_ms is None


def test_threads_may_write_one_note_at_the_same_time(tmp_path: Path) -> None:
    notes = UnitRecords(tmp_path / "units")
    notes.open()
    note = UnitRecord("run_1", "u.service", "boot", "/o", "/e", 5.0, 1024)
    with ThreadPoolExecutor(4) as threads:
        for done in [threads.submit(notes.write, note) for _ in range(100)]:
            done.result()
    assert notes.open() == {"run_1": note}
