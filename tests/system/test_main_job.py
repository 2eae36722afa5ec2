"""The main job, from outside: dispatch, run, remember, replay, cancel, retry."""

import json
import os
import socket
import subprocess
import sys
from typing import Any

import pytest
from daemon_rig import Workspace, say, until

from flowd.domain.ids import run_id
from flowd_client.errors import FlowClientError


def test_an_event_runs_its_step_and_all_of_it_is_remembered(place: Workspace) -> None:
    place.flow("hello", f"cat >context.json; echo out; echo err >&2; {say('changed', message='done')}")
    place.start()
    event = {"id": "patch:a/b:c d", "type": "hello.go", "payload": {"n": 1}, "extra": [1]}
    answer = place.call("flow.dispatch", event=event, wait=True)
    run = run_id("patch:a/b:c d", "hello", "main")
    assert (answer["status"], answer["runIds"], answer["matched"]) == ("accepted", [run], 1)
    view = place.call("flow.getRun", runId=run)["run"]
    assert (view["status"], view["effectiveStatus"], view["resultStatus"]) == ("completed", "changed", "changed")
    assert view["result"] == {"status": "changed", "message": "done"} == json.loads(view["resultJson"])
    assert [(entry["kind"], entry["text"]) for entry in view["output"]][1] == ("stderr", "err\n")
    assert view["attempts"][0]["exitCode"] == 0
    context = json.loads((place.path / "flows/hello/context.json").read_text())
    assert set(context) == {"flow", "runtime"}
    assert context["flow"]["event"] == {**event, "receivedAt": answer["event"]["receivedAt"]}
    assert context["runtime"] | {"runId": run, "attemptId": run, "replay": False} == context["runtime"]
    stored = place.call("flow.getEvent", eventId=event["id"])
    assert stored["event"]["raw"]["extra"] == [1]
    assert [item["id"] for item in stored["runs"]] == [run]


def test_the_same_id_again_is_a_duplicate_and_other_content_a_conflict(place: Workspace) -> None:
    place.flow("hello", f"echo x >>count; {say('completed')}")
    place.start()
    first = place.call("flow.dispatch", event={"id": "e", "type": "hello.go"}, wait=True)
    again = place.call("flow.dispatch", event={"id": "e", "type": "hello.go"}, wait=True)
    other = place.call("flow.dispatch", event={"id": "e", "type": "hello.go", "payload": 2}, wait=True)
    assert (again["status"], again["matched"], again["idempotent"]) == ("duplicate", 0, True)
    assert again["runIds"] == other["runIds"] == first["runIds"]
    assert "conflict" not in again
    assert other["conflict"] is True
    assert (place.path / "flows/hello/count").read_text() == "x\n"


def test_the_bare_event_is_accepted_as_params(place: Workspace) -> None:
    place.start()
    assert place.call("flow.dispatch", id="e", type="t")["status"] == "accepted"


def test_replay_makes_new_runs_against_the_packages_of_now(place: Workspace) -> None:
    place.flow("hello", say("completed", v=1))
    place.start()
    first = place.call("flow.dispatch", event={"id": "e", "type": "hello.go"}, wait=True)
    place.flow("hello", say("completed", v=2) + " #")
    place.call("daemon.reload")
    replay = place.call("flow.replay", eventId="e", wait=True)
    (again,) = replay["runs"]
    assert again["id"].endswith("_replay")
    assert again["replayOf"] == first["runIds"][0]
    assert again["result"]["v"] == 2
    assert [run["id"] for run in place.call("flow.listRuns", eventId="e")["runs"]] == [again["id"], *first["runIds"]]


def test_cancel_ends_a_running_step_and_a_queued_one_never_starts(place: Workspace) -> None:
    nap = f"sleep 60.{os.getpid()}"  # nobody else's, whatever else runs on this machine
    place.flow("slow", f"echo started >>log; {nap}")
    place.start(FLOWD_MAX_PARALLEL="1")
    runs = [place.call("flow.dispatch", event={"id": f"e{n}", "type": "slow.go"})["runIds"][0] for n in range(2)]
    log = place.path / "flows/slow/log"
    until(lambda: log.exists() and log.read_text() == "started\n", what="the first start")
    queued = place.call("flow.cancelRun", runId=runs[1])["run"]
    assert (queued["status"], queued["reason"], queued["attemptCount"]) == ("canceled", "canceled", 0)
    canceled = place.call("flow.cancelRun", runId=runs[0])["run"]
    assert canceled["status"] == canceled["effectiveStatus"] == "canceled"
    assert log.read_text() == "started\n"
    assert not place.processes(nap)
    assert place.call("flow.cancelRun", runId=runs[0])["run"]["status"] == "canceled"  # again changes nothing


def test_retry_makes_another_attempt_of_the_same_run(place: Workspace) -> None:
    place.flow("flaky", f"test -e ok || exit 3; {say('completed')}")
    place.start()
    first = place.call("flow.dispatch", event={"id": "e", "type": "flaky.go"}, wait=True)["runs"][0]
    assert (first["status"], first["reason"], first["exitCode"]) == ("failed", "exit", 3)
    (place.path / "flows/flaky/ok").touch()
    place.call("flow.retryRun", runId=first["id"])
    second = place.call("flow.waitRun", runId=first["id"])["run"]
    assert (second["status"], second["attemptCount"]) == ("completed", 2)
    assert [attempt["id"] for attempt in second["attempts"]] == [first["id"], f"{first['id']}:2"]
    with pytest.raises(FlowClientError, match="ended well"):
        place.call("flow.retryRun", runId=first["id"])


def test_a_step_that_asks_for_it_is_retried_by_itself(place: Workspace) -> None:
    place.flow(
        "flaky",
        f'test "$FLOWD_ATTEMPT" = 3 || exit 1; {say("completed")}',
        step='[steps.retry]\nmax_attempts = 3\non = ["exit"]\ndelay_ms = 10',
    )
    place.start()
    (run,) = place.call("flow.dispatch", event={"id": "e", "type": "flaky.go"}, wait=True)["runs"]
    assert (run["status"], run["attemptCount"]) == ("completed", 3)


def test_no_more_than_max_parallel_run_and_the_rest_in_order(place: Workspace) -> None:
    place.flow("slow", f"echo $CODEX_FLOW_EVENT_ID >>order; sleep 0.2; {say('completed')}")
    place.start(FLOWD_MAX_PARALLEL="1")
    runs = [place.call("flow.dispatch", event={"id": f"e{n}", "type": "slow.go"})["runIds"][0] for n in range(5)]
    assert place.call("daemon.status")["runs"]["running"] <= 1
    assert place.call("flow.waitRun", runId=runs[-1])["run"]["status"] == "completed"
    assert (place.path / "flows/slow/order").read_text().split() == [f"e{n}" for n in range(5)]


def test_lists_page_with_cursors_and_filter_by_either_status(place: Workspace) -> None:
    place.flow("a", say("blocked"))
    place.flow("b", "exit 1", trigger="a.go")
    place.start()
    for n in range(5):
        place.call("flow.dispatch", event={"id": f"e{n}", "type": "a.go"}, wait=True)
    seen: list[str] = []
    page: dict[str, Any] = {"nextCursor": None}
    while "nextCursor" in page:
        page = place.call("flow.listRuns", limit=3, cursor=page["nextCursor"])
        seen += [run["eventId"] for run in page["runs"]]
    assert seen == ["e4", "e4", "e3", "e3", "e2", "e2", "e1", "e1", "e0", "e0"]
    blocked = place.call("flow.listRuns", status="blocked")["runs"]
    assert {run["flowName"] for run in blocked} == {"a"}
    assert all(run["needsAttention"] for run in blocked)
    failed = place.call("flow.listRuns", status="failed", flow="b")["runs"]
    assert len(failed) == 5
    assert not any(run["needsAttention"] for run in failed)
    assert len(place.call("flow.listEvents", type="a.go", limit="2")["events"]) == 2


def test_packages_can_be_edited_while_the_daemon_runs(place: Workspace) -> None:
    place.start()
    assert place.call("flow.listFlows")["flows"] == []
    folder = place.flow("late", say("completed"))
    until(lambda: place.call("flow.listFlows")["flows"], what="the new package")
    (folder / "flow.toml").write_text("name = ", encoding="utf-8")
    broken = until(lambda: place.call("flow.listFlows")["broken"], what="the broken package")
    assert broken[0]["line"] == 1
    assert broken[0]["stale"] is True
    assert place.call("flow.dispatch", event={"id": "e", "type": "late.go"}, wait=True)["matched"] == 1


def test_explain_names_the_keyword_and_the_path(place: Workspace) -> None:
    folder = place.flow("a", say("completed"))
    (folder / "s.json").write_text('{"type":"object","properties":{"n":{"minimum":3}}}', encoding="utf-8")
    manifest = folder / "flow.toml"
    manifest.write_text(manifest.read_text() + 'schema = "s.json"\n')
    place.start()
    answer = place.call("flow.explain", event={"id": "e", "type": "a.go", "payload": {"n": 1}})
    assert answer["matched"] == 0
    (error,) = answer["steps"][0]["errors"]
    assert (error["path"], error["keyword"]) == ("$.n", "minimum")
    assert place.call("flow.listEvents")["events"] == []


def test_a_second_daemon_is_refused_with_the_pid_of_the_first(place: Workspace) -> None:
    place.start()
    first = place.process
    assert first is not None
    second = subprocess.run(
        [sys.executable, "-m", "flowd", "serve", "-w", str(place.path)], capture_output=True, text=True, timeout=60
    )
    assert second.returncode == 78
    assert f"pid {first.pid}" in second.stderr
    assert len(second.stderr.splitlines()) == 1
    assert place.call("daemon.status")["pid"] == first.pid


def test_stop_waits_for_running_steps_and_leaves_nothing_behind(place: Workspace) -> None:
    place.flow("slow", f"touch started; sleep 0.5; {say('completed')}")
    place.start()
    (run,) = place.call("flow.dispatch", event={"id": "e", "type": "slow.go"})["runIds"]
    until((place.path / "flows/slow/started").exists)
    keeper = place.keeper_pid()
    assert place.stop() == 0
    assert not place.socket.exists()
    until(lambda: not any(p.pid == keeper for p in place.processes("keeper")), what="the keeper's end")
    place.start()
    assert place.call("flow.getRun", runId=run)["run"]["status"] == "completed"


def test_a_caller_that_hangs_up_at_once_still_has_its_event_run(place: Workspace) -> None:
    place.flow("hello", say("completed"))
    place.start()
    for n in range(60):
        with socket.socket(socket.AF_UNIX) as raw:
            raw.connect(str(place.socket))
            event = {"id": f"e{n}", "type": "hello.go"}
            raw.sendall(
                json.dumps({"jsonrpc": "2.0", "id": 1, "method": "flow.dispatch", "params": event}).encode() + b"\n"
            )
    until(lambda: place.call("daemon.status")["events"] > 0, what="the first event")
    stored = place.call("flow.listEvents", limit=500)["events"]
    for event in stored:
        for run in event["runIds"]:
            assert place.call("flow.waitRun", runId=run, timeoutMs=50_000)["run"]["status"] == "completed"
