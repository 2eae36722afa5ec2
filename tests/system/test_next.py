"""What a result says is to come next, tried through the daemon and killed in between."""

import json
import sys
from typing import Any

import pytest
from daemon_rig import Workspace, flowd_says, say, until


def says(next_: object, status: str = "completed") -> str:
    """A script that ends with a result."""
    return f"echo 'FLOW_RESULT {json.dumps({'status': status, 'next': next_})}'"


def ended(place: Workspace, event_id: str, **members: Any) -> Any:
    """The only run of an event that is dispatched now."""
    answer = place.call("flow.dispatch", event={"id": event_id, **members}, wait=True)
    (run,) = answer["runs"]
    return run


def event_of(place: Workspace, event_id: str) -> Any:
    return place.call("flow.getEvent", eventId=event_id)


def test_a_chain_runs_by_itself_and_a_replay_of_its_head_repeats_it(place: Workspace) -> None:
    place.flow("head", says([{"type": "mid.go", "payload": {"n": 1}}, {"type": "nobody.waits"}]))
    place.flow("mid", says([{"id": "the-last", "type": "last.go"}]))
    place.flow("last", f"cat >> {place.path}/seen; {says([])}")
    place.start()
    run = ended(place, "e", type="head.go")
    last = until(lambda: _ended_runs(place, "the-last", 1), what="the last run of the chain")
    assert last["event"]["causedBy"]["eventId"] == f"{run['id']}:0"
    assert (last["event"]["rootEventId"], last["event"]["depth"]) == ("e", 2)
    assert event_of(place, f"{run['id']}:1")["runs"] == []
    place.call("flow.replay", eventId="e", wait=True)
    again = until(lambda: _ended_runs(place, "the-last", 2), what="the chain's repetition")
    assert [one.get("replayOf") is None for one in again["runs"]] == [False, True]


def _ended_runs(place: Workspace, event_id: str, count: int) -> Any:
    """The event once it has so many runs, and all have ended."""
    try:
        found = event_of(place, event_id)
    except Exception:
        return None
    return found if [run["status"] for run in found["runs"]] == ["completed"] * count else None


def test_what_a_step_says_while_no_daemon_runs_is_caused_once_by_the_next(place: Workspace) -> None:
    gate = place.path / "gate"
    place.flow("head", f"while [ ! -e {gate} ]; do sleep 0.02; done\n{says([{'type': 'tail.go'}])}")
    place.flow("tail", says([]))
    place.start()
    place.call("flow.dispatch", event={"id": "e", "type": "head.go"})
    run_id = until(lambda: place.call("flow.listRuns", status="running")["runs"])[0]["id"]
    place.kill()
    gate.touch()
    place.start()
    until(lambda: _ended_runs(place, f"{run_id}:0", 1), what="the run that was caused")
    place.kill()
    place.start()
    assert len(event_of(place, f"{run_id}:0")["runs"]) == 1


@pytest.mark.parametrize(
    ("next_", "why"),
    [
        ({"type": "x"}, "said a bad next: next must be a list of events"),
        (
            [{"type": "x"}, {"id": "y"}],
            "said a bad next: next[1]: FlowEvent requires string id and type: type is nothing",
        ),
        ([{"type": "x", "notBefore": "tomorrow"}], "said a bad next: next[0]: The event's notBefore is 'tomorrow'"),
    ],
)
def test_a_bad_next_fails_the_run_and_causes_nothing(place: Workspace, next_: object, why: str) -> None:
    place.flow("head", says(next_))
    place.flow("asks", says(next_, "needs_intervention"))
    place.flow("asks-and-fails", f"{says(next_, 'blocked')}; exit 3")
    place.start()
    for flow in ("head", "asks", "asks-and-fails"):
        run = ended(place, flow, type=f"{flow}.go")
        assert (run["status"], run["reason"], run.get("resultStatus")) == ("failed", "bad_next", None)
        assert why in run["error"]
        assert run["reportedResult"]["next"] == next_
    assert "exited with 3" in run["error"]
    assert len(place.call("flow.listEvents")["events"]) == 3


def test_next_counts_of_good_ends_only(place: Workspace) -> None:
    follows = [{"id": "x", "type": "x"}]
    place.flow("asks", says(follows, "blocked"))
    place.flow("skips", says(follows, "skipped"))
    place.flow("fails", f"{says(follows)}; exit 3")
    place.start()
    for flow in ("asks", "skips", "fails"):
        ended(place, flow, type=f"{flow}.go")
    assert len(place.call("flow.listEvents")["events"]) == 3


def test_a_next_that_is_too_much_is_told_and_what_is_known_or_the_step_itself_is_no_chain(place: Workspace) -> None:
    python = 'import json; print("FLOW_RESULT", json.dumps({{"status": "completed", "next": {}}}))'
    place.flow("crowd", python.format('[{"type": "x"}] * 10_000'), runner="python")
    place.flow("large", python.format('[{"type": "x", "payload": "x" * 5_000_000}]'), runner="python")
    place.flow("circle", says([{"id": "self", "type": "circle.go"}]))
    place.flow("endless", says([{"type": "endless.go"}]))
    place.start()
    crowd = ended(place, "crowd", type="crowd.go")
    assert (crowd["reason"], "max_tree_events" in crowd["error"]) == ("chain_limit", True)
    large = ended(place, "large", type="large.go")
    assert (large["reason"], "longer than 1048576 bytes" in large["error"]) == ("bad_result", True)
    assert ended(place, "self", type="circle.go")["status"] == "completed"
    assert len(event_of(place, "self")["runs"]) == 1
    place.call("flow.dispatch", event={"id": "endless", "type": "endless.go"})
    deepest = until(lambda: place.call("flow.listRuns", flow="endless", status="failed")["runs"], what="the deepest")[0]
    assert deepest["reason"] == "chain_limit"
    assert event_of(place, deepest["eventId"])["event"]["depth"] == 32


def test_a_step_that_dispatches_is_the_cause_and_one_that_is_canceled_causes_nothing_more(place: Workspace) -> None:
    flowd = f"{sys.executable} -m flowd dispatch"
    again = f"{flowd} --type other.go --id late >> {place.path}/said 2>&1; exit 1"
    script = f"trap '{again}' TERM; {flowd} --type tail.go --id tail; sleep 60 & wait"
    place.flow("head", script, step="grace_ms = 60000")
    place.flow("tail", says([]))
    place.start()
    (run,) = place.call("flow.dispatch", event={"id": "e", "type": "head.go"})["runs"]
    tail = until(lambda: _ended_runs(place, "tail", 1), what="the run that the step dispatched")
    assert tail["event"]["causedBy"] == {"runId": run["id"], "eventId": "e"}
    place.call("flow.cancelRun", runId=run["id"])
    assert "is being canceled, and causes nothing more" in (place.path / "said").read_text()
    stranger = place.call("flow.dispatch", event={"id": "late", "type": "x"}, causedBy=run["id"])
    assert f"Run {run['id']} is not running here" in stranger["warning"]
    assert "causedBy" not in stranger["event"]


def test_an_event_whose_id_stands_for_another_one_is_told_with_the_run_and_in_the_log(place: Workspace) -> None:
    place.flow("head", says([{"id": "taken", "type": "other", "payload": {"lost": 1}}]))
    place.flow("asks", says([{"id": "taken", "type": "other"}], "blocked"))
    place.flow("sends", f"{sys.executable} -m flowd dispatch --type other --id taken; {say('completed')}")
    place.start()
    place.call("flow.dispatch", event={"id": "taken", "type": "first"})
    told = "caused no event taken: one with this id and other content is there already"
    run = ended(place, "h", type="head.go")
    assert (run["effectiveStatus"], run["error"]) == ("completed", f"Step head/main {told}")
    assert told in flowd_says(place, "event", "h")
    asking = ended(place, "a", type="asks.go")
    assert told in place.call("flow.resolveRun", runId=asking["id"], status="completed")["run"]["error"]
    ended(place, "s", type="sends.go")
    assert place.log().count("event not caused") == 3
