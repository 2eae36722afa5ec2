"""When a run ended is when its step did, not when somebody was there again to write it down."""

import time
from datetime import datetime
from typing import Any

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
    run = place.call("flow.waitRun", runId=run_id, timeoutMs=50_000)["run"]
    assert run["status"] == "completed"
    assert 500 <= run["durationMs"] <= took_ms
    (attempt,) = run["attempts"]
    assert run["completedAt"] == attempt["completedAt"] < run["updatedAt"]


def test_the_time_between_attempts_is_no_duration_wherever_the_run_is_told(place: Workspace) -> None:
    place.flow("again", "exit 1", step="[steps.retry]\nmax_attempts = 2\ndelay_ms = 600\njitter = 0")
    place.start()
    event = {"id": "e1", "type": "again.go", "payload": {}}
    (run,) = place.call("flow.dispatch", event=event, wait=True, timeoutMs=50_000)["runs"]
    first, second = run["attempts"]
    assert run["durationMs"] == first["durationMs"] + second["durationMs"]
    assert (run["startedAt"], run["completedAt"]) == (first["startedAt"], second["completedAt"])
    assert _between_ms(run) - run["durationMs"] >= 600
    (listed,) = place.call("flow.listRuns")["runs"]
    (of_event,) = place.call("flow.getEvent", eventId="e1")["runs"]
    (known,) = place.call("flow.dispatch", event=event)["runs"]
    assert listed == of_event == known == run


def _between_ms(record: dict[str, Any]) -> int:
    started, completed = (datetime.fromisoformat(record[name]) for name in ("startedAt", "completedAt"))
    return round((completed - started).total_seconds() * 1000)
