"""Progress of running steps, and the traces that events belong to, from a step's line to every view."""

import http.client
import json
from typing import Any

from daemon_rig import Workspace, flowd_says, say, until

_TRACE = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"
_OTHER = "00-1af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-00"


def test_a_running_step_shows_its_progress_until_it_ends(place: Workspace) -> None:
    line = """echo 'FLOW_PROGRESS {"percent": 40, "message": "layer 3 of 7"}'"""
    place.flow("pull", f"{line}; until [ -e go ]; do sleep 0.02; done; {say('completed')}")
    place.start()
    (run_id,) = place.call("flow.dispatch", event={"id": "e1", "type": "pull.go", "payload": {}})["runIds"]
    run = until(lambda: _telling(place, run_id), what="the progress")
    assert run["progress"] == {"percent": 40, "message": "layer 3 of 7"}
    assert place.call("flow.listRuns")["runs"][0]["progress"] == run["progress"]
    assert "40 % layer 3 of 7" in flowd_says(place, "runs")
    assert "40 % layer 3 of 7" in flowd_says(place, "run", run_id)
    with place.client() as client:
        with client.subscribe(after="oldest", run_id=run_id) as updates:
            told = [next(updates) for _ in range(3)]
        assert [(update.kind, update.status, update.attempt) for update in told] == [
            ("run", "queued", None),
            ("run", "running", 1),
            ("run", "running", None),
        ]
        assert client.get_run(run_id).progress == run["progress"]
    place.kill()
    place.start()
    assert until(lambda: _telling(place, run_id), what="the progress after a restart")
    (place.path / "flows/pull/go").touch()
    ended = place.call("flow.waitRun", runId=run_id, timeoutMs=10_000)["run"]
    assert ended["status"] == "completed"
    assert "progress" not in ended


def test_an_attempt_does_not_begin_with_the_progress_of_the_one_before(place: Workspace) -> None:
    script = (
        "if [ -e tried ]; then until [ -e go ]; do sleep 0.02; done; else touch tried; "
        """echo 'FLOW_PROGRESS {"percent": 90}'; sleep 0.4; exit 1; fi; """ + say("completed")
    )
    place.flow("again", script, step="[steps.retry]\nmax_attempts = 2\ndelay_ms = 1")
    place.start()
    (run_id,) = place.call("flow.dispatch", event={"id": "e1", "type": "again.go", "payload": {}})["runIds"]
    until(lambda: place.call("flow.getRun", runId=run_id)["run"]["attemptCount"] == 2, what="the second attempt")
    assert "progress" not in place.call("flow.getRun", runId=run_id)["run"]
    (place.path / "flows/again/go").touch()


def test_a_trace_is_kept_with_its_event_and_given_to_steps_and_to_what_they_cause(place: Workspace) -> None:
    place.flow("first", 'echo "env $TRACEPARENT"; cat; ' + say("completed", next=[{"type": "second.go", "id": "n1"}]))
    place.flow("second", 'echo "env $TRACEPARENT"; ' + say("completed"))
    place.start()
    event = {"id": "e1", "type": "first.go", "payload": {}}
    (first,) = place.call("flow.dispatch", event=event, traceparent=_TRACE, wait=True, tree=True)["runs"]
    assert place.call("flow.getEvent", eventId="e1")["event"]["traceparent"] == _TRACE
    assert place.call("flow.getEvent", eventId="n1")["event"]["traceparent"] == _TRACE
    out = place.call("flow.readOutput", runId=first["id"])["text"]
    assert f"env {_TRACE}" in out
    assert f'"traceparent": "{_TRACE}"' in out
    (second,) = place.call("flow.getEvent", eventId="n1")["runs"]
    assert f"env {_TRACE}" in place.call("flow.readOutput", runId=second["id"])["text"]
    # The id is what makes an event the same.
    again = place.call("flow.dispatch", event=event, traceparent=_OTHER)
    assert (again["status"], again.get("conflict")) == ("duplicate", None)
    assert again["event"]["traceparent"] == _TRACE


def test_traces_come_by_header_option_and_environment(place: Workspace, monkeypatch: Any) -> None:
    place.start(FLOWD_HTTP="127.0.0.1:0", FLOWD_HTTP_OPEN="1")
    port = int(place.call("daemon.status")["http"].rpartition(":")[2])
    for number, (header, kept) in enumerate([(_TRACE, _TRACE), ("00-nonsense", None), ("00-" + "0" * 32, None)]):
        connection = http.client.HTTPConnection("127.0.0.1", port)
        body = json.dumps({"id": f"h{number}", "type": "nobody.wants"})
        connection.request("POST", "/events", body, {"Content-Type": "application/json", "traceparent": header})
        assert connection.getresponse().status == 202
        connection.close()
        assert place.call("flow.getEvent", eventId=f"h{number}")["event"].get("traceparent") == kept
    flowd_says(place, "dispatch", "--type", "nobody.wants", "--id", "c1", "--traceparent", _OTHER)
    assert place.call("flow.getEvent", eventId="c1")["event"]["traceparent"] == _OTHER
    monkeypatch.setenv("TRACEPARENT", _TRACE)
    flowd_says(place, "dispatch", "--type", "nobody.wants", "--id", "c2")
    assert place.call("flow.getEvent", eventId="c2")["event"]["traceparent"] == _TRACE
    monkeypatch.setenv("TRACEPARENT", "none of it")
    flowd_says(place, "dispatch", "--type", "nobody.wants", "--id", "c3")
    assert "traceparent" not in place.call("flow.getEvent", eventId="c3")["event"]
    refused = flowd_says(place, "dispatch", "--type", "x", "--traceparent", "00-nonsense", code=2)
    assert "traceparent" in refused


def _telling(place: Workspace, run_id: str) -> dict[str, Any] | None:
    run: dict[str, Any] = place.call("flow.getRun", runId=run_id)["run"]
    return run if "progress" in run else None
