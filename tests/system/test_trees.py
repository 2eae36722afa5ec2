"""Trees through the command line and the daemon: waited for, shown, followed, canceled, retried, forgotten."""

import json
import sys
from concurrent.futures import ThreadPoolExecutor
from typing import Any

from daemon_rig import Workspace, flowd, flowd_says, say, until
from http_rig import HttpPlace

from flowd_client import create_flow_client

RETRY_LATER = '[steps.retry]\nmax_attempts = 2\non = ["exit"]\ndelay_ms = 3000'


def says(*next_: object, status: str = "completed") -> str:
    return f"echo 'FLOW_RESULT {json.dumps({'status': status, 'next': next_})}'"


def chain(place: Workspace, tail: str) -> None:
    """``head`` causes ``mid-1``, which causes ``tail-1``."""
    place.flow("head", f"echo out of head; {says({'id': 'mid-1', 'type': 'mid.go'})}")
    place.flow("mid", f"sleep 0.2; echo out of mid; {says({'id': 'tail-1', 'type': 'tail.go'})}")
    place.flow("tail", f"sleep 0.2; echo out of tail; {tail}")


def test_verbs_take_the_whole_tree_and_the_event_alone_with_only(place: Workspace) -> None:
    chain(place, "exit 3")
    place.start()
    told = flowd_says(place, "dispatch", "--type", "head.go", "--id", "e", "--wait", code=1)
    lines = [line.rstrip() for line in told.splitlines()]
    at = lines.index("e  head.go")
    assert [line.split("  run_")[0].rstrip() for line in lines[at + 1 : at + 6]] == [
        "└─ head/main        completed",
        "   └─ mid-1  mid.go",
        "      └─ mid/main   completed",
        "         └─ tail-1  tail.go",
        "            └─ tail/main  failed",
    ] or lines
    assert "exited with 3" in lines[at + 5]
    assert "tail/main" in flowd_says(place, "event", "e")
    assert "tail/main" not in flowd_says(place, "event", "e", "--only")
    assert "out of tail" in flowd_says(place, "logs", "--event", "e")
    assert flowd_says(
        place, "logs", "--event", "e", "--only"
    ) == "head/main | out of head\nhead/main | FLOW_RESULT " + (
        json.dumps({"status": "completed", "next": [{"id": "mid-1", "type": "mid.go"}]}) + "\n"
    )
    flowd_says(place, "dispatch", "--type", "head.go", "--id", "alone", "--wait", "--only")
    place.flow("tail", says())
    place.call("daemon.reload")
    assert "tail/main" in flowd_says(place, "retry", "--event", "e", "--failed", "--wait")
    assert "Nothing of it has failed" in flowd_says(place, "retry", "--event", "e", "--failed")
    followed = flowd_says(place, "replay", "e", "--wait")
    assert "tail/main (replay)" in followed


def test_the_output_of_what_is_caused_is_followed_until_all_has_ended(place: Workspace) -> None:
    chain(place, says())
    place.start()
    place.call("flow.dispatch", event={"id": "e", "type": "head.go"})
    followed = flowd_says(place, "logs", "-f", "--event", "e")
    assert {line.partition("| ")[2] for line in followed.splitlines() if "out of" in line} == {
        "out of head",
        "out of mid",
        "out of tail",
    }


def test_a_tree_is_canceled_as_a_whole_and_what_runs_causes_nothing_more(place: Workspace) -> None:
    place.flow("head", says({"id": "mid-1", "type": "mid.go"}))
    place.flow(
        "mid", f"touch {place.path}/runs; trap '{says({'id': 'late', 'type': 'x'})}; exit 0' TERM; sleep 60 & wait"
    )
    place.start()
    place.call("flow.dispatch", event={"id": "e", "type": "head.go"})
    until((place.path / "runs").exists)
    assert place.call("flow.cancelEvent", eventId="e")["runs"][0]["status"] == "completed"
    (ended,) = place.call("flow.cancelEvent", eventId="e", tree=True)["runs"]
    assert (ended["flowName"], ended["status"]) == ("mid", "canceled")
    assert [event["id"] for event in place.call("flow.listEvents")["events"]] == ["mid-1", "e"]
    assert "Nothing was left to end" in flowd_says(place, "cancel", "--event", "e")


def test_a_cancel_means_what_there_is_by_then_and_the_next_daemon_goes_on_with_it(
    place: Workspace,
) -> None:
    runs, gate = place.path / "runs", place.path / "gate"
    slow = f"trap '' TERM; touch {runs}; while [ ! -e {gate} ]; do sleep 0.05; done"
    place.flow("slow", f"[ -e {runs} ] || {{ {slow}; }}; {says()}", step="grace_ms = 30000")
    with (place.path / "flows/slow/flow.toml").open("a") as manifest:
        manifest.write('[[steps]]\nname = "after"\nrunner = "exec"\nscript = "main.sh"\nneeds = ["main"]\n')
    place.start()
    place.call("flow.dispatch", event={"id": "e", "type": "slow.go"})
    until(runs.exists)
    with ThreadPoolExecutor() as others:
        canceling = others.submit(place.call, "flow.cancelEvent", eventId="e")
        until(lambda: place.call("flow.listRuns", status="canceled")["runs"])
        place.call("flow.replay", eventId="e")
        place.kill()
        assert canceling.exception() is not None
    place.start()
    assert place.call("flow.waitRun", runId=of(place, "e")[3]["id"])["run"]["status"] == "completed"
    gate.touch()
    place.call("flow.waitRun", runId=of(place, "e")[0]["id"])
    assert [run["status"] for run in of(place, "e")] == ["canceled", "canceled", "completed", "completed"]


def of(place: Workspace, event_id: str) -> list[Any]:
    """The runs of an event."""
    return list(reversed(place.call("flow.listRuns", eventId=event_id)["runs"]))


def test_waiting_ends_with_the_question_where_nothing_goes_on_without_a_person(place: Workspace) -> None:
    place.flow("head", says({"id": "asks", "type": "asks.go"}))
    result = {"status": "needs_intervention", "message": "Publish v1?"}
    place.flow("asks", f"echo 'FLOW_RESULT {json.dumps(result)}'")
    with (place.path / "flows/asks/flow.toml").open("a") as manifest:
        manifest.write('[[steps]]\nname = "after"\nrunner = "exec"\nscript = "main.sh"\nneeds = ["main"]\n')
    place.start()
    told = flowd_says(place, "dispatch", "--type", "head.go", "--id", "e", "--wait", code=1)
    assert "asks: Publish v1?" in told
    waited = place.call("flow.waitEvent", eventId="e", tree=True)
    assert (waited["timedOut"], waited["state"]["statuses"]) == (
        False,
        {"completed": 1, "needs_intervention": 1, "queued": 1},
    )
    question, after = waited["state"]["open"]
    assert after["waitingFor"] == {"person": question["id"]}
    alone = place.call("flow.dispatch", event={"id": "again", "type": "asks.go"}, wait=True)
    assert alone["timedOut"] is False
    run = place.call("flow.waitRun", runId=alone["runIds"][1])
    assert (run["timedOut"], run["run"]["waitingFor"]) == (False, {"person": alone["runIds"][0]})


def test_waiting_ends_with_the_question_of_the_round_that_holds_the_key(place: Workspace) -> None:
    result = {"status": "needs_intervention", "message": "Publish v1?"}
    place.flow("asks", f"echo 'FLOW_RESULT {json.dumps(result)}'", top="[concurrency]\n")
    with (place.path / "flows/asks/flow.toml").open("a") as manifest:
        manifest.write('[[steps]]\nname = "after"\nrunner = "exec"\nscript = "main.sh"\nneeds = ["main"]\n')
    place.start()
    (asking, holder) = place.call("flow.dispatch", event={"id": "first", "type": "asks.go"}, wait=True)["runIds"]
    for words in (("--id", "second"), ("--id", "third", "--only")):
        assert "asks: Publish v1?" in flowd_says(place, "dispatch", "--type", "asks.go", *words, "--wait", code=1)
    for words in (("second",), ("second", "--only"), ("first",)):
        told = flowd_says(place, "logs", "-f", "--event", *words, code=1)
        assert "asks: Publish v1?" in told
        assert f"flowd approve {asking}" in told
    waited = place.call("flow.waitEvent", eventId="third")
    key = {"group": "asks", "key": [], "holder": holder, "behind": 1, "asks": asking}
    assert (waited["timedOut"], waited["state"]["open"][0]["waitingFor"]) == (False, {"key": key})
    assert f"which waits for a person: {asking} asks" in flowd_says(place, "queue")
    assert "2 rounds wait for its key: second, third" in flowd_says(place, "attention")


def test_a_wait_that_is_too_short_says_that_a_person_is_asked(place: Workspace) -> None:
    result = {"status": "needs_intervention", "message": "Publish v1?"}
    place.flow("asks", f"echo 'FLOW_RESULT {json.dumps(result)}'")
    with (place.path / "flows/asks/flow.toml").open("a") as manifest:
        manifest.write('[[steps]]\nname = "after"\nrunner = "exec"\nscript = "main.sh"\nneeds = ["main"]\n')
    place.flow("slow", "sleep 60", trigger="asks.go")
    place.start()
    place.call("flow.dispatch", event={"id": "e", "type": "asks.go"})
    until(lambda: place.call("flow.attention")["questions"], what="the question")
    again = ("--type", "asks.go", "--id", "e")  # a duplicate waits for the runs that there are
    told = flowd_says(place, "dispatch", *again, "--wait", "--timeout", "1s", code=1)
    assert "2 of 3 runs had not ended after 1 s; they go on, some of them once a person has answered" in told
    assert "asks: Publish v1?" in told


def test_a_step_that_would_wait_for_itself_or_for_its_own_place_is_refused(place: Workspace) -> None:
    dispatches = f"{sys.executable} -m flowd dispatch --type tail.go --id tail --wait"
    place.flow("head", f"{dispatches}; {dispatches} --only; {say('completed')}")
    place.flow(
        "own",
        f"{sys.executable} -c 'import flowd_client; flowd_client.create_flow_client().wait_event(\"own\", tree=True)'",
    )
    place.flow("tail", say("completed"))
    place.start(FLOWD_MAX_PARALLEL="1")
    ended = place.call("flow.dispatch", event={"id": "e", "type": "head.go"}, wait=True, tree=True, timeoutMs=60_000)
    assert ended["timedOut"] is False
    told = flowd_says(place, "logs", ended["runIds"][0])
    assert told.count("must not wait: it has the last place (max_parallel is 1)") == 2
    assert place.call("flow.getEvent", eventId="tail")["runs"][0]["status"] == "completed"
    own = place.call("flow.dispatch", event={"id": "own", "type": "own.go"}, wait=True)["runs"][0]
    assert "must not wait for event own, for it is one of its runs itself" in own["error"]


def test_a_step_that_would_wait_for_a_key_of_its_own_round_is_refused(place: Workspace) -> None:
    key = '[concurrency]\ngroup = "one"\n'
    place.flow(
        "head", f"{sys.executable} -m flowd dispatch --type tail.go --id tail --wait; {say('completed')}", top=key
    )
    place.flow("tail", say("completed"), top=key)
    place.start()
    ended = place.call("flow.dispatch", event={"id": "e", "type": "head.go"}, wait=True, tree=True, timeoutMs=60_000)
    assert ended["timedOut"] is False
    assert "needs a key (`concurrency`) that" in flowd_says(place, "logs", ended["runIds"][0])
    assert place.call("flow.getEvent", eventId="tail")["runs"][0]["status"] == "completed"


def test_a_caller_whose_run_has_ended_may_wait(place: Workspace) -> None:
    place.flow("quick", say("completed"))
    place.start(FLOWD_MAX_PARALLEL="1")
    (run,) = place.call("flow.dispatch", event={"id": "e", "type": "quick.go"}, wait=True)["runs"]
    again = place.call("flow.dispatch", event={"id": "f", "type": "quick.go"}, wait=True, causedBy=run["id"])
    assert again["timedOut"] is False


def test_clients_read_trees_in_pages_and_refusals_as_conflicts(place: Workspace) -> None:
    chain(place, says())
    place.start()
    with place.client() as client:
        done = client.dispatch_event({"id": "e", "type": "head.go"}, wait=True, tree=True)
        assert done.state is not None
        assert done.state.statuses == {"completed": 3}
        first = client.get_tree("e", limit=2)
        rest = client.get_tree("e", limit=2, cursor=first.next_cursor)
        assert [event.id for event in (*first, *rest)] == ["e", "mid-1", "tail-1"]
        assert rest[0].caused_by is not None
        assert rest[0].caused_by.event_id == "mid-1"
        assert client.wait_event("e", tree=True).state.open == ()
        assert len(client.cancel_event("e", tree=True)) == 0


def test_fire_runs_all_that_is_caused_and_exec_the_one_step(place: Workspace) -> None:
    chain(place, f"touch {place.path}/tail-ran; {says()}")
    event = place.path / "event.json"
    event.write_text('{"id": "e", "type": "head.go"}')
    only = json.loads(flowd(place, "exec", "head", "main", str(event)).stdout)
    assert only["flow"] == "head"
    fired = json.loads(flowd(place, "fire", str(event)).stdout)
    assert [result["flow"] for result in fired["results"]] == ["head", "mid", "tail"]
    assert (place.path / "tail-ran").exists()


def test_http_takes_trees_as_the_socket_does(place: Workspace) -> None:
    chain(place, "exec sleep 60")
    web = HttpPlace(place).start()
    web.post("/events", {"id": "e", "type": "head.go"})
    until(lambda: place.call("flow.listRuns", flow="tail", status="running")["runs"], what="the tail")
    late = web.post("/events?wait=true&tree=true&timeoutMs=300", {"id": "e", "type": "head.go"}).json
    assert (late["timedOut"], late["runs"][0]["status"]) == (True, "completed")
    assert [run["flowName"] for run in late["state"]["open"]] == ["tail"]
    assert web.get("/events/e/wait?timeoutMs=20000").json["timedOut"] is False
    assert web.get("/events/e/wait?tree=true&timeoutMs=0").json["timedOut"] is True
    first = web.get("/events/e?tree=true&limit=2").json["tree"]
    rest = web.get(f"/events/e?tree=true&cursor={first['nextCursor']}").json["tree"]
    assert [event["id"] for event in [*first["events"], *rest["events"]]] == ["e", "mid-1", "tail-1"]
    (ended,) = web.post("/events/e/cancel?tree=true").json["runs"]
    assert (ended["flowName"], ended["status"]) == ("tail", "canceled")
    assert web.post("/events?causedBy=run_of_nobody", {"id": "f", "type": "x"}).json["warning"].startswith("Run run_of")


def test_waiting_ends_where_a_pause_keeps_what_is_waited_for(place: Workspace) -> None:
    place.flow("held", f"[ -e {place.path}/go ] || exit 1; {say('completed')}", step=RETRY_LATER)
    place.start()
    with ThreadPoolExecutor() as threads:
        waiting = threads.submit(
            lambda: place.call("flow.dispatch", event={"id": "e", "type": "held.go"}, wait=True, timeoutMs=60_000)
        )
        until(lambda: place.call("flow.listRuns", status="queued")["runs"], what="the wait for a retry")
        place.call("flow.pause", flow="held")
        ended = waiting.result()
    assert (ended["timedOut"], ended["runs"][0]["waitingFor"]) == (False, {"pause": "held"})
    again = place.call("flow.dispatch", event={"id": "f", "type": "held.go"}, wait=True, tree=True)
    assert (again["timedOut"], again["runs"][0]["waitingFor"]) == (False, {"pause": "held"})
    (place.path / "go").touch()
    place.call("flow.resume", flow="held")
    assert place.call("flow.waitEvent", eventId="f", tree=True)["state"]["statuses"] == {"completed": 1}


def test_subscribers_are_told_the_cause_of_events(place: Workspace) -> None:
    chain(place, says())
    place.start()
    with place.client() as client, client.subscribe(["event"], after="oldest") as updates:
        (run,) = client.dispatch_event({"id": "e", "type": "head.go"}, wait=True, tree=True).runs
        told = [next(updates).event for _ in range(3)]
        assert [(event.id, event.root_event_id, event.depth) for event in told if event is not None] == [
            ("e", "e", 0),
            ("mid-1", "e", 1),
            ("tail-1", "e", 2),
        ]
        assert told[1] is not None
        assert told[1].caused_by is not None
        assert told[1].caused_by.run_id == run.id


def test_a_client_without_state_runs_the_whole_tree_also_where_output_is_told(place: Workspace) -> None:
    chain(place, f"touch {place.path}/tail-ran; {says()}")
    for on_output in (None, lambda *_: None):
        (place.path / "tail-ran").unlink(missing_ok=True)
        with create_flow_client("local", workspace=place.path, state=None, on_output=on_output) as client:
            done = client.dispatch_event({"id": "e", "type": "head.go"})
        assert [run.status for run in done.runs] == ["completed"]
        assert (place.path / "tail-ran").exists()
