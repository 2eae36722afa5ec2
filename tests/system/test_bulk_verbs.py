"""`flowd cancel`, `retry` and `replay` of all that filters find, with a real daemon."""

import json

from daemon_rig import Workspace, flowd_says, say, until


def flow(place: Workspace, name: str, script: str) -> None:
    place.flow(name, script, step='labels = { repo = "/payload/repo" }')


def statuses(place: Workspace, flow_name: str) -> list[str]:
    runs = place.call("flow.listRuns", flow=flow_name, limit=100)["runs"]
    return [run["effectiveStatus"] for run in reversed(runs)]


def test_all_unfinished_runs_of_a_filter_are_canceled_and_no_others(place: Workspace) -> None:
    flow(place, "slow", f"sleep 60; {say('changed')}")
    flow(place, "other", f"sleep 60; {say('changed')}")
    place.start(FLOWD_MAX_PARALLEL="1")
    for n in range(4):
        place.call(
            "flow.dispatch", event={"id": f"s{n}", "type": "slow.go", "payload": {"repo": "a" if n < 3 else "b"}}
        )
    place.call("flow.dispatch", event={"id": "o", "type": "other.go"})

    assert "would have canceled 3 runs" in flowd_says(place, "cancel", "--label", "repo=a", "--dry-run")
    assert set(statuses(place, "slow")) == {"running", "queued"}
    said = flowd_says(place, "cancel", "--flow", "slow", "--label", "repo=a")
    assert "canceled 3 runs" in said
    assert statuses(place, "slow")[:3] == ["canceled"] * 3
    until(lambda: statuses(place, "slow")[3] == "running", what="the place that became free to be taken")
    told = json.loads(flowd_says(place, "cancel", "--status", "queued", "--since", "1h", "--json"))
    assert (len(told["runIds"]), told["dryRun"], told["leftAlone"]) == (1, False, {})
    assert sorted([*statuses(place, "slow")[3:], *statuses(place, "other")]) == ["canceled", "running"]
    assert "what can be canceled is queued or running" in flowd_says(place, "cancel", "--status", "failed", code=2)
    assert "Either name one" in flowd_says(place, "cancel", "run_1", "--flow", "slow", code=2)
    assert "filters like --flow" in flowd_says(place, "cancel", code=2)
    assert "--dry-run is for filters" in flowd_says(place, "cancel", "run_1", "--dry-run", code=2)


def test_what_failed_is_retried_and_what_changed_meanwhile_is_left_alone(place: Workspace) -> None:
    flow(place, "flaky", f"[ -e ok ] || exit 3; {say('changed')}")
    place.start()
    for n in range(3):
        place.call("flow.dispatch", event={"id": f"e{n}", "type": "flaky.go", "payload": {"repo": "a"}}, wait=True)
    assert statuses(place, "flaky") == ["failed"] * 3
    (place.path / "ok").touch()
    (place.path / "flows/flaky/ok").touch()

    assert "would have retried 3 runs" in flowd_says(place, "retry", "--flow", "flaky", "--dry-run")
    assert "retried 0 runs" in flowd_says(place, "retry", "--reason", "timeout", "--until", "1h")
    assert "retried 3 runs" in flowd_says(place, "retry", "--flow", "flaky", "--reason", "exit")
    for n in range(3):
        place.call("flow.waitEvent", eventId=f"e{n}", timeoutMs=50_000)
    assert statuses(place, "flaky") == ["changed"] * 3
    assert "--wait is for one" in flowd_says(place, "retry", "--flow", "flaky", "--wait", code=2)
    assert "what can be retried is" in flowd_says(place, "retry", "--status", "completed", code=2)


def test_all_events_of_a_filter_are_replayed(place: Workspace) -> None:
    flow(place, "quick", say("changed"))
    place.start()
    for n in range(3):
        place.call("flow.dispatch", event={"id": f"e{n}", "type": "quick.go", "payload": {"repo": "a"}}, wait=True)
    place.call("flow.dispatch", event={"id": "none", "type": "nobody.go"})

    told = json.loads(flowd_says(place, "replay", "--flow", "quick", "--dry-run", "--json"))
    assert (told["eventIds"], told["dryRun"]) == (["e2", "e1", "e0"], True)
    assert len(statuses(place, "quick")) == 3
    assert "replayed 3 events" in flowd_says(place, "replay", "--type", "quick.go", "--since", "1h")
    assert len(statuses(place, "quick")) == 6
    assert "Either name one" in flowd_says(place, "replay", "e1", "--type", "quick.go", code=2)
    assert "Which event?" in flowd_says(place, "replay", code=2)
