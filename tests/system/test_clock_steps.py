"""The wall clock is set back and forth by hours under running steps. Only what is shown may notice."""

import os
import signal
import time
from pathlib import Path
from typing import Any

import fault_shims
import pytest
from daemon_rig import Workspace, say, until


def dispatch(place: Workspace, event_id: str, flow: str) -> str:
    (run_id,) = place.call("flow.dispatch", event={"id": event_id, "type": f"{flow}.go", "payload": {}})["runIds"]
    return str(run_id)


def ended(place: Workspace, run_id: str) -> Any:
    return place.call("flow.waitRun", runId=run_id, timeoutMs=50_000)["run"]


def assert_took_what_it_slept(run: Any) -> None:
    """Of a step that sleeps for 1.2 s, and has 20 s."""
    assert 1200 <= run["durationMs"] < 20_000
    assert [attempt["durationMs"] for attempt in run["attempts"]] == [run["durationMs"]]


@pytest.mark.parametrize("hours", [-5, 7])
def test_a_stepped_clock_changes_no_timeout_no_order_and_no_sign(place: Workspace, tmp_path: Path, hours: int) -> None:
    shim = fault_shims.environment(tmp_path, "clock")
    place.flow("late", "sleep 60", step="timeout_ms = 1500\ngrace_ms = 500")
    place.flow("fine", f"sleep 1.2; {say('changed')}", step="timeout_ms = 20000")
    place.start(**shim)
    began_s = time.monotonic()
    late, fine = dispatch(place, "e1", "late"), dispatch(place, "e2", "fine")
    before = place.call("flow.getRun", runId=late)["run"]["createdAt"]
    Path(shim["SHIM_FILE"]).write_text(str(hours * 3600), encoding="ascii")
    after = dispatch(place, "e3", "fine")
    moved = place.call("flow.getRun", runId=after)["run"]["createdAt"]
    assert (moved < before) == (hours < 0), "the clock was not stepped"
    run = ended(place, late)
    assert (run["status"], run["reason"]) == ("failed", "timeout")
    assert time.monotonic() - began_s > 1.4
    for run_id in (fine, after):
        run = ended(place, run_id)
        assert run["status"] == "completed"
        assert_took_what_it_slept(run)
    assert [event["id"] for event in place.call("flow.listEvents")["events"]] == ["e3", "e2", "e1"]
    assert [run["eventId"] for run in place.call("flow.listRuns")["runs"]] == ["e3", "e2", "e1"]
    assert place.stop() == 0


def test_a_retry_that_waits_is_not_put_off_by_a_clock_set_back(place: Workspace, tmp_path: Path) -> None:
    shim = fault_shims.environment(tmp_path, "clock")
    place.flow(
        "again", "echo x >>tries; exit 1", trigger="again.go\"\n[steps.retry]\nmax_attempts = 2\ndelay_ms = 3000 # \""
    )  # fmt: skip
    place.start(**shim)
    run_id = dispatch(place, "e1", "again")
    tries = place.path / "flows/again/tries"
    until(lambda: tries.exists() and place.call("flow.getRun", runId=run_id)["run"]["status"] == "queued")
    place.kill()
    Path(shim["SHIM_FILE"]).write_text(str(-5 * 3600), encoding="ascii")
    place.start(**shim)
    run = ended(place, run_id)
    assert (run["status"], run["attemptCount"]) == ("failed", 2)
    assert place.stop() == 0


@pytest.mark.parametrize("killed", ["daemon", "keeper", "both"])
@pytest.mark.parametrize("hours", [-5, 7])
def test_a_duration_is_right_where_clock_and_processes_change_under_the_step(
    place: Workspace, tmp_path: Path, hours: int, killed: str
) -> None:
    shim = fault_shims.environment(tmp_path, "clock")
    place.flow("fine", f"sleep 1.2; until test -e go; do sleep 0.05; done; {say('changed')}", step="timeout_ms = 20000")
    place.start(**shim)
    run_id = dispatch(place, "e1", "fine")
    until(lambda: any("pid" in one for one in place.call("flow.getRun", runId=run_id)["run"]["attempts"]))
    Path(shim["SHIM_FILE"]).write_text(str(hours * 3600), encoding="ascii")
    if killed != "daemon":
        os.kill(place.keeper_pid(), signal.SIGKILL)
    if killed != "keeper":
        place.kill()
        place.start(**shim)
    (place.path / "flows/fine/go").touch()
    run = ended(place, run_id)
    assert run["status"] == "completed"
    assert_took_what_it_slept(run)
    assert place.stop() == 0
