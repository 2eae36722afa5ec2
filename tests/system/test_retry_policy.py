"""Attempts that a step's policy makes, by what the step says and by when it asks for them."""

from daemon_rig import Workspace, flowd_says, say, until


def test_a_step_that_says_blocked_is_tried_again_and_asks_nobody_meanwhile(place: Workspace) -> None:
    said = say("blocked", retryAfterMs=60_000, next=[{"type": "nobody.wants"}])
    place.flow("busy", said, step='[steps.retry]\nmax_attempts = 4\non = ["result:blocked"]')
    place.start()
    (run_id,) = place.call("flow.dispatch", event={"id": "e1", "type": "busy.go", "payload": {}})["runIds"]

    def waits() -> dict[str, object] | None:
        run = place.call("flow.getRun", runId=run_id)["run"]
        return run if run["attemptCount"] and run["status"] == "queued" else None

    run = until(waits, what="the wait for the second attempt")
    waiting = run["waitingFor"]
    assert (waiting["why"], waiting["attempt"], waiting["of"]) == ("retry", 2, 4)
    assert not run["needsAttention"]
    assert "resultStatus" not in run
    assert place.call("flow.attention")["questions"] == []
    assert "attempt 2 of 4" in flowd_says(place, "runs")
    place.kill()
    place.start()
    assert place.call("flow.getRun", runId=run_id)["run"]["waitingFor"]["of"] == 4
    assert [event["id"] for event in place.call("flow.listEvents")["events"]] == ["e1"]


def test_the_last_attempt_asks_and_a_running_one_tells_nothing_of_the_one_before(place: Workspace) -> None:
    script = (
        "if [ -e tried ]; then until [ -e go ]; do sleep 0.02; done; "
        + say("blocked")
        + "; else touch tried; exit 3; fi"
    )
    place.flow("asks", script, step='[steps.retry]\nmax_attempts = 2\non = ["exit", "result:blocked"]\ndelay_ms = 1')
    place.start()
    (run_id,) = place.call("flow.dispatch", event={"id": "e1", "type": "asks.go", "payload": {}})["runIds"]

    def second() -> dict[str, object] | None:
        run = place.call("flow.getRun", runId=run_id)["run"]
        return run if run["attemptCount"] == 2 else None

    run = until(second, what="the second attempt")
    assert run["status"] == "running"
    assert not {"reason", "error", "exitCode", "signal"} & run.keys()
    assert run["attempts"][0]["reason"] == "exit"
    (place.path / "flows/asks/go").touch()
    run = place.call("flow.waitRun", runId=run_id, timeoutMs=50_000)["run"]
    assert (run["status"], run["needsAttention"], run["resultStatus"]) == ("completed", True, "blocked")
