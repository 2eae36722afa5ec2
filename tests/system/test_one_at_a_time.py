"""Keys through the real daemon: one at a time for each repository, replacing, whole rounds, and priority."""

from typing import Any

import pytest
from daemon_rig import Workspace, say, until

from flowd_client.errors import CallError

REPO = '[steps.concurrency]\nkey = ["/payload/repo"]\ngroup = "repo"\n'


def hold_by_event(then: str = say("changed")) -> str:
    """A script that waits for the file ``go-<event's id>``."""
    return f'while [ ! -e "go-$CODEX_FLOW_EVENT_ID" ]; do sleep 0.02; done; {then}'


def let_go(place: Workspace, flow: str, event_id: str) -> None:
    (place.path / "flows" / flow / f"go-{event_id}").touch()


def dispatch(place: Workspace, event_id: str, flow: str, **payload: Any) -> str:
    event = {"id": event_id, "type": f"{flow}.go", "payload": payload}
    (run_id,) = place.call("flow.dispatch", event=event)["runIds"]
    return str(run_id)


def run(place: Workspace, run_id: str) -> dict[str, Any]:
    found: dict[str, Any] = place.call("flow.getRun", runId=run_id)["run"]
    return found


def ended(place: Workspace, run_id: str) -> dict[str, Any]:
    answer = place.call("flow.waitRun", runId=run_id, timeoutMs=50_000)
    assert not answer["timedOut"], place.log()
    found: dict[str, Any] = answer["run"]
    return found


def is_running(place: Workspace, run_id: str) -> bool:
    return bool(run(place, run_id)["status"] == "running")


def test_one_at_a_time_for_each_repository_over_a_kill_of_the_daemon(place: Workspace) -> None:
    place.flow("build", hold_by_event(), step=REPO)
    place.start()
    first, second = (dispatch(place, name, "build", repo="x") for name in ("x1", "x2"))
    other = dispatch(place, "y1", "build", repo="y")
    until(lambda: is_running(place, first) and is_running(place, other), what="one run of each repository")
    waiting = {"key": {"group": "repo", "key": ["x"], "holder": first, "behind": 0}}
    assert run(place, second)["waitingFor"] == waiting
    place.kill()
    place.start()
    assert run(place, second)["waitingFor"] == waiting
    for event_id in ("x1", "x2", "y1"):
        let_go(place, "build", event_id)
    runs = [ended(place, run_id) for run_id in (first, second, other)]
    assert [one["effectiveStatus"] for one in runs] == ["changed"] * 3
    assert runs[1]["startedAt"] >= runs[0]["completedAt"]
    assert place.stop() == 0


def test_a_replaced_run_is_ended_even_where_it_has_the_only_place(place: Workspace) -> None:
    place.flow("build", hold_by_event(), step=f'{REPO}on_busy = "replace"\n')
    place.start(FLOWD_MAX_PARALLEL="1")
    first = dispatch(place, "x1", "build", repo="x")
    until(lambda: is_running(place, first), what="the first run")
    let_go(place, "build", "x2")
    second = dispatch(place, "x2", "build", repo="x")
    old, new = ended(place, first), ended(place, second)
    assert (old["status"], old["reason"], new["effectiveStatus"]) == ("canceled", "superseded", "changed")
    assert second in old["error"]
    assert new["startedAt"] >= old["completedAt"]
    assert place.stop() == 0


def test_a_replaced_run_ends_and_its_successor_starts_over_a_kill_of_the_daemon(place: Workspace) -> None:
    stubborn = f"trap '' TERM; {hold_by_event()}"
    place.flow("build", stubborn, step=f'grace_ms = 1500\n{REPO}on_busy = "replace"\n')
    place.start()
    first = dispatch(place, "x1", "build", repo="x")
    until(lambda: is_running(place, first), what="the first run")
    second = dispatch(place, "x2", "build", repo="x")
    let_go(place, "build", "x2")
    place.kill()
    place.start()
    old, new = ended(place, first), ended(place, second)
    assert (old["status"], old["reason"], new["effectiveStatus"]) == ("canceled", "superseded", "changed")
    assert place.stop() == 0


def test_whoever_waits_for_a_run_hears_that_it_was_superseded_unstarted(place: Workspace) -> None:
    place.flow("build", hold_by_event(), step=f'{REPO}on_busy = "latest"\n')
    place.start()
    first, second, third = (dispatch(place, name, "build", repo="x") for name in ("x1", "x2", "x3"))
    skipped = ended(place, second)
    assert (skipped["effectiveStatus"], skipped["reason"], skipped["attemptCount"]) == ("skipped", "superseded", 0)
    assert third in skipped["result"]["message"]
    for event_id in ("x1", "x3"):
        let_go(place, "build", event_id)
    assert [ended(place, one)["effectiveStatus"] for one in (first, third)] == ["changed", "changed"]
    assert place.stop() == 0


def test_a_step_is_not_let_wait_for_what_needs_the_key_of_its_round(place: Workspace) -> None:
    for flow in ("outer", "inner"):
        place.flow(flow, hold_by_event(), top='[concurrency]\ngroup = "g"\n')
    place.start()
    outer = dispatch(place, "o", "outer")
    until(lambda: is_running(place, outer), what="the outer run")
    event = {"id": "i", "type": "inner.go", "payload": {}}
    with pytest.raises(CallError) as caught:
        place.call("flow.dispatch", event=event, wait=True, causedBy=outer)
    assert (caught.value.slug, caught.value.data["eventId"]) == ("would_deadlock", "i")
    with pytest.raises(CallError, match="must not wait for event i"):
        place.call("flow.waitEvent", eventId="i", causedBy=outer)
    (inner,) = place.call("flow.getEvent", eventId="i")["event"]["runIds"]
    for flow, event_id in (("outer", "o"), ("inner", "i")):
        let_go(place, flow, event_id)
    assert ended(place, inner)["effectiveStatus"] == "changed"
    assert place.stop() == 0


def test_of_what_could_start_the_higher_priority_comes_first(place: Workspace) -> None:
    place.flow("hold", hold_by_event())
    place.flow("low", say("changed"))
    place.flow("high", say("changed"), step="priority = 10\n")
    place.start(FLOWD_MAX_PARALLEL="1")
    dispatch(place, "h", "hold")
    low, high = dispatch(place, "l", "low"), dispatch(place, "u", "high")
    let_go(place, "hold", "h")
    assert ended(place, high)["completedAt"] <= ended(place, low)["startedAt"]
    assert place.stop() == 0


def test_a_round_holds_its_key_until_its_last_step_has_ended(place: Workspace) -> None:
    folder = place.flow("build", hold_by_event(), top="[concurrency]\n")
    (folder / "quick.sh").write_text(f"#!/bin/sh\n{say('changed')}\n", encoding="utf-8")
    (folder / "quick.sh").chmod(0o755)
    with (folder / "flow.toml").open("a", encoding="utf-8") as manifest:
        manifest.write(
            '[[steps]]\nname = "quick"\nrunner = "exec"\nscript = "quick.sh"\n[steps.trigger]\ntype = "build.go"\n'
        )
    place.start()
    first, second = (
        place.call("flow.dispatch", event={"id": name, "type": "build.go", "payload": {}})["runIds"]
        for name in ("e1", "e2")
    )
    assert ended(place, first[1])["effectiveStatus"] == "changed"
    waiting = {"key": {"group": "build", "key": [], "holder": first[0], "behind": 0}}
    assert [run(place, run_id)["waitingFor"] for run_id in second] == [waiting, waiting]
    for event_id in ("e1", "e2"):
        let_go(place, "build", event_id)
    runs = [ended(place, run_id) for run_id in (*first, *second)]
    assert [one["effectiveStatus"] for one in runs] == ["changed"] * 4
    assert min(one["startedAt"] for one in runs[2:]) >= runs[0]["completedAt"]
    assert place.stop() == 0


@pytest.mark.parametrize("is_new_daemon", [False, True], ids=["same daemon", "next daemon"])
def test_a_retried_run_is_let_in_by_the_limit_that_is_declared_now(place: Workspace, is_new_daemon: bool) -> None:
    place.flow("build", hold_by_event(), step=f"{REPO}limit = 1\n")
    place.start()
    first = dispatch(place, "x1", "build", repo="x")
    until(lambda: is_running(place, first), what="the first run")
    place.call("flow.cancelRun", runId=first)
    if is_new_daemon:
        assert place.stop() == 0
    place.flow("build", hold_by_event(), step=f"{REPO}limit = 2\n")
    if is_new_daemon:
        place.start()
    place.call("daemon.reload")
    second = dispatch(place, "x2", "build", repo="x")
    place.call("flow.retryRun", runId=first)
    until(lambda: is_running(place, first) and is_running(place, second), what="both at a time")
    for event_id in ("x1", "x2"):
        let_go(place, "build", event_id)
    assert [ended(place, one)["effectiveStatus"] for one in (first, second)] == ["changed", "changed"]
    assert place.stop() == 0
