"""When a run ended is when its step did, not when somebody was there again to write it down."""

import time

from daemon_rig import Workspace, say, until


def test_a_step_that_ends_while_no_daemon_lives_took_as_long_as_it_took(place: Workspace) -> None:
    place.flow("work", f"sleep 0.5; {say('completed')}")
    place.start()
    began_s = time.time()
    (run_id,) = place.call("flow.dispatch", event={"id": "e1", "type": "work.go", "payload": {}})["runIds"]
    until(lambda: place.call("flow.getRun", runId=run_id)["run"]["status"] == "running", what="the start")
    place.kill()
    journal = place.path / ".codex/flowd/keeper/keeper.journal"
    until(lambda: b'"exit"' in journal.read_bytes(), what="the keeper's record of the end")
    took_ms = (time.time() - began_s) * 1000
    place.start()
    run = place.call("flow.waitRun", runId=run_id, timeoutMs=10_000)["run"]
    assert run["status"] == "completed"
    assert 500 <= run["durationMs"] <= took_ms
    (attempt,) = run["attempts"]
    assert run["completedAt"] == attempt["completedAt"] < run["updatedAt"]
