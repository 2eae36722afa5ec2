"""What a result says is to come next, tried through the daemon and killed in between."""

import json
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from daemon_rig import Workspace, until


@pytest.fixture
def workspace(tmp_path: Path) -> Iterator[Workspace]:
    made = Workspace(tmp_path / "w")
    made.path.mkdir()
    yield made
    if made.process is not None and made.process.poll() is None:
        made.kill()


def says(next_: object, status: str = "completed") -> str:
    """A script that ends with a result."""
    return f"echo 'FLOW_RESULT {json.dumps({'status': status, 'next': next_})}'"


def ended(workspace: Workspace, event_id: str, **members: Any) -> Any:
    """The only run of an event that is dispatched now."""
    answer = workspace.call("flow.dispatch", event={"id": event_id, **members}, wait=True)
    (run,) = answer["runs"]
    return run


def event_of(workspace: Workspace, event_id: str) -> Any:
    return workspace.call("flow.getEvent", eventId=event_id)


def test_a_chain_runs_by_itself_and_a_replay_of_its_head_repeats_it(workspace: Workspace) -> None:
    workspace.flow("head", says([{"type": "mid.go", "payload": {"n": 1}}, {"type": "nobody.waits"}]))
    workspace.flow("mid", says([{"id": "the-last", "type": "last.go"}]))
    workspace.flow("last", f"cat >> {workspace.path}/seen; {says([])}")
    workspace.start()
    run = ended(workspace, "e", type="head.go")
    last = until(lambda: _ended_runs(workspace, "the-last", 1), what="the last run of the chain")
    assert last["event"]["causedBy"]["eventId"] == f"{run['id']}:0"
    assert (last["event"]["rootEventId"], last["event"]["depth"]) == ("e", 2)
    assert event_of(workspace, f"{run['id']}:1")["runs"] == []
    workspace.call("flow.replay", eventId="e", wait=True)
    again = until(lambda: _ended_runs(workspace, "the-last", 2), what="the chain's repetition")
    assert [one.get("replayOf") is None for one in again["runs"]] == [False, True]


def _ended_runs(workspace: Workspace, event_id: str, count: int) -> Any:
    """The event once it has so many runs, and all have ended."""
    try:
        found = event_of(workspace, event_id)
    except Exception:
        return None
    return found if [run["status"] for run in found["runs"]] == ["completed"] * count else None


def test_what_a_step_says_while_no_daemon_runs_is_caused_once_by_the_next(workspace: Workspace) -> None:
    gate = workspace.path / "gate"
    workspace.flow("head", f"while [ ! -e {gate} ]; do sleep 0.02; done\n{says([{'type': 'tail.go'}])}")
    workspace.flow("tail", says([]))
    workspace.start()
    workspace.call("flow.dispatch", event={"id": "e", "type": "head.go"})
    run_id = until(lambda: workspace.call("flow.listRuns", status="running")["runs"])[0]["id"]
    workspace.kill()
    gate.touch()
    workspace.start()
    until(lambda: _ended_runs(workspace, f"{run_id}:0", 1), what="the run that was caused")
    workspace.kill()
    workspace.start()
    assert len(event_of(workspace, f"{run_id}:0")["runs"]) == 1


@pytest.mark.parametrize(
    ("next_", "why"),
    [
        ({"type": "x"}, "said a bad next: next must be a list of events"),
        (
            [{"type": "x"}, {"id": "y"}],
            "said a bad next: next[1]: FlowEvent requires string id and type: type is nothing",
        ),
    ],
)
def test_a_bad_next_fails_the_run_and_causes_nothing(workspace: Workspace, next_: object, why: str) -> None:
    workspace.flow("head", says(next_))
    workspace.flow("asks", says(next_, "needs_intervention"))
    workspace.start()
    for flow in ("head", "asks"):
        run = ended(workspace, flow, type=f"{flow}.go")
        assert (run["status"], run["reason"], run.get("resultStatus")) == ("failed", "bad_next", None)
        assert why in run["error"]
        assert run["reportedResult"]["next"] == next_
    assert len(workspace.call("flow.listEvents")["events"]) == 2


def test_next_counts_of_good_ends_only(workspace: Workspace) -> None:
    follows = [{"id": "x", "type": "x"}]
    workspace.flow("asks", says(follows, "blocked"))
    workspace.flow("skips", says(follows, "skipped"))
    workspace.flow("fails", f"{says(follows)}; exit 3")
    workspace.start()
    for flow in ("asks", "skips", "fails"):
        ended(workspace, flow, type=f"{flow}.go")
    assert len(workspace.call("flow.listEvents")["events"]) == 3


def test_a_next_that_is_too_much_is_told_and_what_is_known_or_the_step_itself_is_no_chain(workspace: Workspace) -> None:
    python = 'import json; print("FLOW_RESULT", json.dumps({{"status": "completed", "next": {}}}))'
    workspace.flow("crowd", python.format('[{"type": "x"}] * 10_000'), runner="python")
    workspace.flow("large", python.format('[{"type": "x", "payload": "x" * 5_000_000}]'), runner="python")
    workspace.flow("circle", says([{"id": "self", "type": "circle.go"}]))
    workspace.flow("endless", says([{"type": "endless.go"}]))
    workspace.start()
    crowd = ended(workspace, "crowd", type="crowd.go")
    assert (crowd["reason"], "max_tree_events" in crowd["error"]) == ("chain_limit", True)
    large = ended(workspace, "large", type="large.go")
    assert (large["reason"], "longer than 1048576 bytes" in large["error"]) == ("bad_result", True)
    assert ended(workspace, "self", type="circle.go")["status"] == "completed"
    assert len(event_of(workspace, "self")["runs"]) == 1
    workspace.call("flow.dispatch", event={"id": "endless", "type": "endless.go"})
    deepest = until(lambda: workspace.call("flow.listRuns", flow="endless", status="failed")["runs"], bound_s=30)[0]
    assert deepest["reason"] == "chain_limit"
    assert event_of(workspace, deepest["eventId"])["event"]["depth"] == 32


def test_a_step_that_dispatches_is_the_cause_and_one_that_is_canceled_causes_nothing_more(workspace: Workspace) -> None:
    flowd = f"{sys.executable} -m flowd dispatch"
    again = f"{flowd} --type other.go --id late >> {workspace.path}/said 2>&1; exit 1"
    workspace.flow("head", f"{flowd} --type tail.go --id tail; trap '{again}' TERM; sleep 60 & wait")
    workspace.flow("tail", says([]))
    workspace.start()
    (run,) = workspace.call("flow.dispatch", event={"id": "e", "type": "head.go"})["runs"]
    tail = until(lambda: _ended_runs(workspace, "tail", 1), what="the run that the step dispatched")
    assert tail["event"]["causedBy"] == {"runId": run["id"], "eventId": "e"}
    workspace.call("flow.cancelRun", runId=run["id"])
    assert "is being canceled, and causes nothing more" in (workspace.path / "said").read_text()
    stranger = workspace.call("flow.dispatch", event={"id": "late", "type": "x"}, causedBy=run["id"])
    assert f"Run {run['id']} is not running here" in stranger["warning"]
    assert "causedBy" not in stranger["event"]
