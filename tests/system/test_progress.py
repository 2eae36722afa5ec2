"""Progress of running steps, and the traces that events belong to, from a step's line to every view."""

import http.client
import json
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from itertools import takewhile
from typing import Any

import pytest
from daemon_rig import Workspace, flowd_says, say, until
from http_rig import HttpPlace
from terminal_rig import on_terminal

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
    ended = place.call("flow.waitRun", runId=run_id, timeoutMs=50_000)["run"]
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


def test_hostile_lines_are_harmless(place: Workspace) -> None:
    script = (
        "import os, time\n"
        "for bad in ('NaN', '1e999', 'true', '[' * 100_000, '9' * 10_000):\n"
        """    print('FLOW_PROGRESS {"percent": %s}' % bad)\n"""
        """print('FLOW_PROGRESS {"message": "%s"}' % ('x' * 1_000_000))\n"""
        "for number in range(200_000):\n"
        """    print('FLOW_PROGRESS {"percent": %d}' % (number // 2_000))\n"""
        "print('FLOW_PROGRESS')\n"
        "print('FLOW_PROGRESS {', flush=True)\n"
        "while not os.path.exists('go'): time.sleep(0.02)\n"
        """print('FLOW_RESULT {"status": "changed"}')\n"""
    )
    place.flow("flood", script, runner="python")
    place.start()
    (run_id,) = place.call("flow.dispatch", event={"id": "e1", "type": "flood.go"})["runIds"]

    def percent() -> Any:
        return (_telling(place, run_id) or {"progress": {}})["progress"].get("percent")

    until(lambda: percent() == 99, what="the last progress")
    (place.path / "flows/flood/go").touch()
    assert place.call("flow.waitRun", runId=run_id, timeoutMs=50_000)["run"]["effectiveStatus"] == "changed"
    # Once a second at most, so not one entry of the journal for each line.
    with place.client() as client, client.subscribe(["run"], after="oldest") as updates:
        told = list(takewhile(lambda update: update.status != "completed", updates))
    assert len(told) < 20


def test_those_who_wait_and_follow_on_a_terminal_see_how_far_it_is_and_no_lines_of_it(place: Workspace) -> None:
    line = """echo 'FLOW_PROGRESS {"percent": 40, "message": "layer 3 of 7"}'"""
    going = "echo begun; until [ -e go ]; do sleep 0.02; done; echo done"
    place.flow("pull", f"{line}; {going}; {say('completed')}")
    place.start()
    with ThreadPoolExecutor() as threads:
        seen = bytearray()
        words = "dispatch", "--type", "pull.go", "--id", "e1", "--wait"
        waiting = threads.submit(on_terminal, *words, cwd=place.path, said=seen)
        run_id = until(lambda: [run["id"] for run in place.call("flow.listRuns", status="running")["runs"]])[0]
        heard = [bytearray() for _ in range(3)]
        ways = (run_id,), ("--event", "e1"), ("--raw", run_id)
        following, several, raw = (
            threads.submit(on_terminal, "logs", "-f", *way, cwd=place.path, said=said)
            for way, said in zip(ways, heard, strict=True)
        )
        until(lambda: b"40 % layer 3 of 7" in seen, what="the progress beside the spinner")
        until(lambda: all(b"begun" in said for said in heard), what="those who follow while it goes on")
        (place.path / "flows/pull/go").touch()
        waiting.result(60)
        for follower in (following, several):
            said = follower.result(60)
            assert "begun" in said
            assert "done" in said
            assert "FLOW_PROGRESS" not in said
        assert "FLOW_PROGRESS" in raw.result(60)


def test_who_follows_runs_is_told_changes_of_their_status_alone(place: Workspace) -> None:
    line = """echo 'FLOW_PROGRESS {"percent": 40}'"""
    place.flow("pull", f"{line}; until [ -e go ]; do sleep 0.02; done; {say('completed')}")
    place.start()
    (run_id,) = place.call("flow.dispatch", event={"id": "e1", "type": "pull.go"})["runIds"]
    until(lambda: _telling(place, run_id), what="the progress")
    (place.path / "flows/pull/go").touch()
    place.call("flow.waitRun", runId=run_id, timeoutMs=50_000)
    argv = [sys.executable, "-m", "flowd", "runs", "-f", "--after", "oldest", "--json", "-w", str(place.path)]
    with subprocess.Popen(argv, stdout=subprocess.PIPE, text=True) as follower:
        assert follower.stdout is not None
        told = [json.loads(follower.stdout.readline())["status"] for _ in range(3)]
        follower.kill()
    assert told == ["queued", "running", "completed"]


def test_steps_have_no_trace_of_the_daemons_own_environment(place: Workspace) -> None:
    place.flow("tell", 'echo "trace=$TRACEPARENT"; ' + say("completed"))
    place.start(TRACEPARENT=_OTHER)
    for trace, told in ((None, "trace=\n"), (_TRACE, f"trace={_TRACE}\n")):
        event = {"id": f"e-{trace}", "type": "tell.go"}
        given = {} if trace is None else {"traceparent": trace}
        (run,) = place.call("flow.dispatch", event=event, wait=True, **given)["runs"]
        assert told in place.call("flow.readOutput", runId=run["id"])["text"]


def test_what_a_step_dispatches_is_in_its_trace_or_in_the_one_that_it_names(place: Workspace) -> None:
    dispatch = f"{sys.executable} -m flowd dispatch --type nobody.wants"
    place.flow("head", f"{dispatch} --id same; {dispatch} --id other --traceparent {_OTHER}; {say('completed')}")
    place.start()
    event = {"id": "e1", "type": "head.go"}
    place.call("flow.dispatch", event=event, traceparent=_TRACE, wait=True, tree=True)
    traces = [place.call("flow.getEvent", eventId=name)["event"]["traceparent"] for name in ("same", "other")]
    assert traces == [_TRACE, _OTHER]
    assert _OTHER in flowd_says(place, "event", "other")


def test_a_flow_that_is_fired_without_a_daemon_is_in_the_callers_trace(
    place: Workspace, monkeypatch: pytest.MonkeyPatch
) -> None:
    place.flow("tell", '{ echo "trace=$TRACEPARENT"; cat; } >told; ' + say("completed"))
    monkeypatch.setenv("TRACEPARENT", _TRACE)
    (place.path / "event.json").write_text('{"id": "e1", "type": "tell.go"}')
    flowd_says(place, "fire", str(place.path / "event.json"))
    said = (place.path / "flows/tell/told").read_text()
    assert f"trace={_TRACE}" in said
    assert f'"traceparent": "{_TRACE}"' in said


def test_a_hook_keeps_the_trace_of_its_header(place: Workspace) -> None:
    (place.path / ".codex").mkdir(exist_ok=True)
    web = HttpPlace(place)
    (place.path / "secret").write_text("a secret of these tests")
    web.configure(
        '[hooks.plain]\nkind = "token"\nheader = "X-Token"\nsecret_file = "secret"\n'
        'type = "nobody.wants"\nid = "plain:{/id}"\n'
    )
    web.start()
    sent = web.post("/hooks/plain", {"id": "h1"}, x_token="a secret of these tests", traceparent=_TRACE)
    assert sent.status == 202, sent
    assert place.call("flow.getEvent", eventId=sent.json["eventId"])["event"]["traceparent"] == _TRACE


def test_what_is_no_traceparent_is_refused_over_http_where_it_is_a_parameter(place: Workspace) -> None:
    web = HttpPlace(place).start()
    for given in (5, "00-abc", {}):
        refused = web.post("/events", {"event": {"id": "e1", "type": "x.go"}, "traceparent": given})
        assert (refused.status, refused.slug) == (400, "invalid_params"), refused
    refused = web.post("/events?traceparent=00-abc", {"id": "e1", "type": "x.go"})
    assert (refused.status, refused.slug) == (400, "invalid_params"), refused
