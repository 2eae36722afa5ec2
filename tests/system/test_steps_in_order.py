"""Steps that need others, through the daemon: their order, what they are told, a death of the daemon in between,
retries, replays, and what the command says of it."""

import json
from collections.abc import Iterator
from typing import Any

import pytest
from daemon_rig import Workspace, flowd, until

RELEASE = """
name = "release"
version = 1
[[steps]]
name = "checkout"
runner = "exec"
script = "step.sh"
[steps.trigger]
type = "release.*"
[[steps]]
name = "test"
runner = "exec"
script = "step.sh"
needs = ["checkout"]
[[steps]]
name = "build"
runner = "exec"
script = "step.sh"
needs = ["checkout"]
[[steps]]
name = "sign"
runner = "exec"
script = "step.sh"
needs = ["build"]
[steps.trigger]
type = "release.signed"
[[steps]]
name = "publish"
runner = "exec"
script = "step.sh"
needs = ["test", "build"]
[[steps]]
name = "tell"
runner = "exec"
script = "step.sh"
needs = ["publish"]
when = "failure"
"""

SCRIPT = """#!/bin/sh
# Writes down its context and FLOWD_NEEDS; waits while there is a file hold-STEP; fails while there is a file fail-STEP.
context=$(cat)
step=$(printf %s "$context" | sed -n 's/^    "step": "\\(.*\\)",\\{0,1\\}$/\\1/p')
printf %s "$context" > "$W/context-$step"
printf %s "$FLOWD_NEEDS" > "$W/needs-$step"
echo "$step" >> "$W/order"
while [ -e "$W/hold-$step" ]; do sleep 0.02; done
[ -e "$W/fail-$step" ] && exit 3
echo "FLOW_RESULT {\\"status\\":\\"changed\\",\\"from\\":\\"$step\\"}"
"""


@pytest.fixture(scope="module")
def workspace(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Workspace]:
    made = Workspace(tmp_path_factory.mktemp("order"))
    folder = made.path / "flows" / "release"
    folder.mkdir(parents=True)
    (folder / "flow.toml").write_text(RELEASE)
    (folder / "step.sh").write_text(SCRIPT)
    (folder / "step.sh").chmod(0o755)
    made.start(W=str(made.path))
    yield made
    made.kill()


@pytest.fixture(autouse=True)
def no_order(workspace: Workspace) -> None:
    (workspace.path / "order").unlink(missing_ok=True)


def dispatch(workspace: Workspace, event_id: str, kind: str = "release.asked", **options: Any) -> Any:
    return workspace.call("flow.dispatch", event={"id": event_id, "type": kind}, **options)


def order(workspace: Workspace) -> list[str]:
    return (workspace.path / "order").read_text().split()


def by_step(answer: Any) -> dict[str, Any]:
    return {run["stepName"]: run for run in answer["runs"]}


def test_steps_run_in_their_order_and_are_told_how_those_ended_that_they_need(workspace: Workspace) -> None:
    answer = dispatch(workspace, "good", wait=True)
    runs = by_step(answer)
    assert answer["outside"] == [{"flow": "release", "step": "sign", "why": "its trigger waits for release.signed"}]
    assert [run["effectiveStatus"] for run in runs.values()] == [*["changed"] * 4, "skipped"]
    assert (runs["tell"]["reason"], runs["tell"]["attempts"]) == ("needs_not_met", [])
    assert runs["tell"]["result"]["message"] == "runs after a failure, and there was none: publish changed"
    first, *middle, last = order(workspace)
    assert (first, sorted(middle), last) == ("checkout", ["build", "test"], "publish")
    needs = json.loads((workspace.path / "context-publish").read_text())["flow"]["needs"]
    result = {"status": "changed", "from": "test"}
    assert needs["test"] == {"runId": runs["test"]["id"], "status": "changed", "result": result}
    assert json.loads((workspace.path / "needs-publish").read_text()) == needs
    assert "needs" not in json.loads((workspace.path / "context-checkout").read_text())["flow"]
    assert (workspace.path / "needs-checkout").read_text() == ""


def test_what_waits_for_others_survives_a_death_of_the_daemon(workspace: Workspace) -> None:
    hold = workspace.path / "hold-checkout"
    hold.touch()
    waiting = by_step(dispatch(workspace, "killed"))
    assert waiting["test"]["waitingFor"] == {"needs": ["checkout"]}
    assert waiting["publish"]["waitingFor"] == {"needs": ["test", "build"]}
    until((workspace.path / "order").exists, what="the start of checkout")
    workspace.kill()
    hold.unlink()
    workspace.start(W=str(workspace.path))
    ended = until(lambda: _ended(workspace, "killed"), what="the end of all runs")
    assert [run["effectiveStatus"] for run in ended] == [*["changed"] * 4, "skipped"]
    assert order(workspace)[-1] == "publish"


def _ended(workspace: Workspace, event_id: str) -> list[Any] | None:
    """The event's runs in the order of its steps once all have ended."""
    runs = by_step(workspace.call("flow.getEvent", eventId=event_id))
    if any(run["status"] in ("queued", "running") for run in runs.values()):
        return None
    return [runs[name] for name in ("checkout", "test", "build", "publish", "tell")]


def test_a_failure_skips_what_is_below_until_its_retry_runs_all_of_it(workspace: Workspace) -> None:
    fail = workspace.path / "fail-build"
    fail.touch()
    runs = by_step(dispatch(workspace, "failing", wait=True))
    assert {name: run["effectiveStatus"] for name, run in runs.items()} == {
        "checkout": "changed",
        "test": "changed",
        "build": "failed",
        "publish": "skipped",
        "tell": "changed",
    }
    assert runs["publish"]["result"]["message"] == "needs build, which failed"
    with pytest.raises(Exception, match=f"Retry {runs['build']['id']}"):
        workspace.call("flow.retryRun", runId=runs["publish"]["id"])
    fail.unlink()
    workspace.call("flow.retryRun", runId=runs["build"]["id"])
    ended = until(lambda: _ended(workspace, "failing"), what="the end of all runs")
    assert [run["effectiveStatus"] for run in ended] == [*["changed"] * 4, "skipped"]
    assert order(workspace)[-3:] == ["tell", "build", "publish"]


def test_a_replay_from_a_step_copies_what_it_needs_of_the_others(workspace: Workspace) -> None:
    first = by_step(dispatch(workspace, "again", wait=True))
    (workspace.path / "order").unlink()
    answer = workspace.call("flow.replay", eventId="again", **{"from": ["build"]}, wait=True)
    again = by_step(answer)
    assert list(again) == ["build", "publish", "tell"]
    assert [run["round"] for run in again.values()] == [2, 2, 2]
    assert order(workspace) == ["build", "publish"]
    needs = json.loads((workspace.path / "needs-publish").read_text())
    assert [needs[name]["runId"] for name in ("test", "build")] == [first["test"]["id"], again["build"]["id"]]


def test_the_command_names_what_a_replay_of_a_step_passes_by(workspace: Workspace) -> None:
    (workspace.path / "fail-test").touch()
    test = by_step(dispatch(workspace, "passed", wait=True))["test"]
    said = flowd(workspace, "replay", "passed", "--from", "publish", "--wait").stderr
    assert f"flowd: release/publish starts although test failed, which it needs ({test['id']}).\n" in said
    assert "although build" not in said  # it ended well
    assert "although publish" not in said  # tell, below it, goes by what becomes of it now
    (workspace.path / "fail-test").unlink()
    assert "although" not in flowd(workspace, "replay", "passed", "--from", "test", "--wait").stderr


def test_what_a_replay_passes_by_is_of_the_newest_round(workspace: Workspace) -> None:
    def said() -> str:
        return flowd(workspace, "replay", "rounds", "--from", "publish", "--wait").stderr

    dispatch(workspace, "rounds", wait=True)
    (workspace.path / "fail-test").touch()
    failed = by_step(workspace.call("flow.replay", eventId="rounds", wait=True))["test"]
    assert f"flowd: release/publish starts although test failed, which it needs ({failed['id']}).\n" in said()
    (workspace.path / "fail-test").unlink()
    workspace.call("flow.replay", eventId="rounds", wait=True)
    assert "although" not in said()


def test_an_event_sent_again_is_reported_as_its_newest_round_left_it(workspace: Workspace) -> None:
    sent = ("dispatch", "--type", "release.asked", "--id", "mended", "--wait")
    (workspace.path / "fail-test").touch()
    assert flowd(workspace, *sent).returncode == 1
    (workspace.path / "fail-test").unlink()
    replayed = by_step(workspace.call("flow.replay", eventId="mended", **{"from": ["test"]}, wait=True))
    again = flowd(workspace, *sent)
    assert again.returncode == 0, again.stdout + again.stderr
    assert again.stdout.startswith("duplicate mended: known already with 8 runs, nothing started\n")
    for options in (("--json",), ("--json", "--only")):
        told = json.loads(flowd(workspace, *sent, *options).stdout)
        shown = {run["stepName"]: run["id"] for run in told["runs"]}
        assert told["runIds"] == list(shown.values())
        assert list(shown) == ["checkout", "test", "build", "publish", "tell"]  # the newest run of each
        assert {name: shown[name] for name in replayed} == {name: run["id"] for name, run in replayed.items()}
    assert flowd(workspace, *sent[:-1], "--json").stdout.count('"effectiveStatus": "failed"') == 0
    (workspace.path / "fail-test").touch()
    workspace.call("flow.replay", eventId="mended", wait=True)
    (workspace.path / "fail-test").unlink()
    assert flowd(workspace, *sent).returncode == 1


def test_the_command_draws_the_order_of_the_steps(workspace: Workspace) -> None:
    assert flowd(workspace, "flows", "release").stdout.partition("\n\n")[2].splitlines() == [
        "checkout       on release.*",
        "├─ test",
        "└─ build",
        "   ├─ sign     on release.signed",
        "   └─ publish  needs test, build",
        "      └─ tell  when failure",
    ]
    (workspace.path / "e.json").write_text('{"id": "e", "type": "release.asked"}')
    lines = flowd(workspace, "explain", str(workspace.path / "e.json")).stdout.splitlines()
    # With a store that hosts share, those that can run each step are told below.
    assert [line for line in lines if ": on host " not in line] == [
        "5 steps match e (release.asked)",
        "release:",
        "  checkout       matched",
        "  ├─ test        matched",
        "  └─ build       matched",
        "     ├─ sign     not started: waits for type release.signed, not release.asked",
        "     └─ publish  matched",
        "        └─ tell  matched",
    ]
