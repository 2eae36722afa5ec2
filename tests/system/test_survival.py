"""kill -9 of the daemon, the keeper, or both: nothing lost, nothing doubled, every exit and output true."""

import os
import signal
from concurrent.futures import ThreadPoolExecutor

import pytest
from daemon_rig import Workspace, about_the_file, say, until

from flowd_client.errors import FlowClientError

SCRIPT = "echo $CODEX_FLOW_EVENT_ID >>starts; echo begin; while [ ! -e go ]; do sleep 0.05; done; echo end"


def dispatch_many(place: Workspace, count: int) -> list[str]:
    runs = []
    with place.client() as client:
        for n in range(count):
            answer = client.call("flow.dispatch", {"event": {"id": f"e{n}", "type": "work.go", "payload": {"n": n}}})
            runs += answer["runIds"]
    return runs


def test_kill_9_of_the_daemon_under_a_hundred_steps_loses_and_doubles_nothing(place: Workspace) -> None:
    place.flow("work", f"{SCRIPT}; {say('changed')}; exit ${{CODEX_FLOW_EVENT_ID#e}}0")
    place.start(FLOWD_MAX_PARALLEL="20")
    runs = dispatch_many(place, 100)
    starts = place.path / "flows/work/starts"
    until(lambda: starts.exists() and len(starts.read_text().split()) >= 20, what="20 started steps")
    steps = place.processes(str(place.path / "flows/work"))
    assert len(steps) >= 20
    place.kill()
    (place.path / "flows/work/go").touch()
    # They end while nobody is there to see it.
    until(lambda: not any(step.is_running() for step in steps), what="the end of the twenty")
    place.start(FLOWD_MAX_PARALLEL="20")
    for n, run_id in enumerate(runs):
        run = place.call("flow.waitRun", runId=run_id, timeoutMs=60_000)["run"]
        assert run["attemptCount"] == 1
        assert run["exitCode"] == (n * 10) % 256
        assert run["output"][0]["text"].startswith("begin\nend\nFLOW_RESULT")
        assert run["status"] == ("completed" if (n * 10) % 256 == 0 else "failed")
    assert sorted(starts.read_text().split()) == sorted(f"e{n}" for n in range(100))
    assert len(place.call("flow.listEvents", limit=500)["events"]) == 100


def test_kill_9_of_the_keeper_leaves_running_steps_and_their_exits(place: Workspace) -> None:
    place.flow("work", f"{SCRIPT}; {say('changed')}; exit 7")
    place.start(FLOWD_MAX_PARALLEL="4")
    runs = dispatch_many(place, 8)
    starts = place.path / "flows/work/starts"
    until(lambda: starts.exists() and len(starts.read_text().split()) >= 4, what="4 started steps")
    old = place.keeper_pid()
    os.kill(old, signal.SIGKILL)
    until(lambda: place.call("daemon.status")["keeper"].get("pid") not in (old, None), what="the next keeper")
    (place.path / "flows/work/go").touch()
    for run_id in runs:
        run = place.call("flow.waitRun", runId=run_id, timeoutMs=50_000)["run"]
        assert run["output"][0]["text"].startswith("begin\nend\n")
        assert run["attemptCount"] == 1
        # Where the kernel does not tell the exit of a process that is not ours, its result stands in for it.
        assert (run.get("exitCode"), run["status"]) in ((7, "failed"), (None, "completed"))
    assert sorted(starts.read_text().split()) == sorted(f"e{n}" for n in range(8))


def test_kill_9_of_both_leaves_running_steps_to_be_adopted(place: Workspace) -> None:
    place.flow("work", f"{SCRIPT}; {say('changed')}")
    place.start(FLOWD_MAX_PARALLEL="4")
    runs = dispatch_many(place, 8)
    starts = place.path / "flows/work/starts"
    until(lambda: starts.exists() and len(starts.read_text().split()) >= 4, what="4 started steps")
    keeper = place.keeper_pid()
    place.kill()
    os.kill(keeper, signal.SIGKILL)
    place.start(FLOWD_MAX_PARALLEL="4")
    (place.path / "flows/work/go").touch()
    for run_id in runs:
        run = place.call("flow.waitRun", runId=run_id, timeoutMs=50_000)["run"]
        assert (run["status"], run["effectiveStatus"]) == ("completed", "changed")
    assert sorted(starts.read_text().split()) == sorted(f"e{n}" for n in range(8))


def test_a_cancel_that_was_asked_for_outlives_the_daemon(place: Workspace) -> None:
    place.flow("work", "trap '' TERM; echo $$ >pid; while :; do sleep 0.1; done", step="grace_ms = 3000")
    place.start()
    (run_id,) = dispatch_many(place, 1)
    pid_file = place.path / "flows/work/pid"
    until(lambda: pid_file.exists() and pid_file.read_text())
    with ThreadPoolExecutor() as canceling:  # it answers after the grace; the daemon is gone by then
        answer = canceling.submit(place.call, "flow.cancelRun", runId=run_id)
        until(lambda: place.call("flow.getRun", runId=run_id)["run"].get("cancelRequested"), what="the cancel")
        place.kill()
        with pytest.raises(FlowClientError):
            answer.result()
    place.start()
    run = place.call("flow.waitRun", runId=run_id, timeoutMs=50_000)["run"]
    assert (run["status"], run.get("reason")) == ("canceled", "canceled"), (run, place.log())
    pid = int(pid_file.read_text())
    until(lambda: not os.path.exists(f"/proc/{pid}"), what="the step's end")


@about_the_file
def test_damaged_state_stops_the_start_and_is_left_as_it_is(place: Workspace) -> None:
    place.start()
    assert place.stop() == 0
    database = place.path / ".codex/flowd/flowd.db"
    database.write_bytes(b"this is no database" * 1000)
    place.log_path.unlink()
    with pytest.raises(AssertionError, match="the daemon ended"):
        place.start()
    assert place.process is not None
    assert place.process.returncode == 78
    assert str(database) in place.log()
    assert database.read_bytes().startswith(b"this is no database")
