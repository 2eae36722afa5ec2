"""Steps that require labels of their host: they wait for one that has them, and everybody says so."""

import json

import pytest
from daemon_rig import Workspace, flowd, flowd_says, say, until
from hosts_rig import known_within_s

from flowd_client import wire

GPU = {"host": {"labels": ["gpu"], "hosts": 0}}


@pytest.fixture
def labelled(place: Workspace) -> Workspace:
    """A workspace with a step for hosts with a label, and one for all."""
    place.flow("far", say("changed"), step='runs_on = ["gpu"]')
    place.flow("near", say("changed"))
    return place


def dispatch(place: Workspace, event_id: str, flow: str) -> str:
    (run_id,) = place.call("flow.dispatch", event={"id": event_id, "type": f"{flow}.go", "payload": {}})["runIds"]
    return str(run_id)


def waiting(place: Workspace, run_id: str) -> object:
    return place.call("flow.getRun", runId=run_id)["run"].get("waitingFor")


def ended(place: Workspace, run_id: str) -> object:
    return place.call("flow.waitRun", runId=run_id, timeoutMs=50_000)["run"]["effectiveStatus"]


def test_a_run_waits_over_a_restart_for_a_host_that_has_its_labels_and_holds_up_nobody(labelled: Workspace) -> None:
    place = labelled
    place.start(FLOWD_MAX_PARALLEL="1")
    far = dispatch(place, "e1", "far")
    assert ended(place, dispatch(place, "e2", "near")) == "changed"
    until(lambda: waiting(place, far) == GPU, what="a run that waits for a host")
    (listed,) = place.call("flow.queue")["runs"]
    assert listed["run"]["waitingFor"] == GPU
    assert "waits for a host with gpu" in flowd_says(place, "queue")
    assert "waits for a host with gpu" in flowd_says(place, "run", far)
    alone, shared = "a step of flow far that this host cannot run", "1 run of far/main cannot start"
    assert (alone if place.store is None else shared) in flowd(place, "doctor").stdout
    place.kill()
    place.start(FLOWD_MAX_PARALLEL="1")
    until(lambda: waiting(place, far) == GPU, bound_s=known_within_s(place), what="its wait")
    assert ended(place, dispatch(place, "e3", "near")) == "changed"
    assert place.stop() == 0
    place.start(FLOWD_LABELS="big,gpu")
    assert ended(place, far) == "changed"
    assert place.stop() == 0


def test_a_run_starts_when_its_step_requires_no_more_than_this_host_has(labelled: Workspace) -> None:
    place = labelled
    place.start()
    far = dispatch(place, "e1", "far")
    until(lambda: waiting(place, far) == GPU, what="a run that waits for a host")
    place.flow("far", say("changed"))
    place.call(wire.RELOAD)
    assert ended(place, far) == "changed"
    assert place.stop() == 0


def verdict(place: Workspace, event: str) -> tuple[object, object]:
    """How many hosts can run the step that an event matches, and what is wrong with it."""
    steps = place.call("flow.explain", event=json.loads(event))["steps"]
    (found,) = [step for step in steps if step["matches"]]
    return found.get("hosts"), found.get("warning")


def test_explain_and_validate_say_what_this_host_lacks(labelled: Workspace) -> None:
    place = labelled
    sentence = "this host has no label gpu, so its runs wait for one that has ([host] labels, or FLOWD_LABELS)"
    checked = flowd_says(place, "validate")
    assert f'far/flow.toml:8:11: warning: step "main": {sentence}' in checked
    assert "near/flow.toml" not in checked
    event = json.dumps({"id": "e", "type": "far.go", "payload": {}})
    (place.path / "event.json").write_text(event)
    assert f"but {sentence}" in flowd_says(place, "explain", str(place.path / "event.json"))
    place.start()
    until(lambda: verdict(place, event) == (0, sentence), bound_s=known_within_s(place), what="who can run far")
    assert verdict(place, event.replace("far", "near")) == (1, None)
    far, near = (flow["steps"][0] for flow in place.call("flow.listFlows")["flows"])
    assert (far["runsOn"], near.get("runsOn")) == (["gpu"], None)
    assert "on hosts with gpu" in flowd_says(place, "flows", "far")
    assert place.stop() == 0
    place.start(FLOWD_LABELS="gpu")
    until(lambda: verdict(place, event) == (1, None), bound_s=known_within_s(place), what="who can run far now")
    assert place.stop() == 0
