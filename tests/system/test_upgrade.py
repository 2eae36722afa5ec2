"""The daemon is replaced by another version under running steps, while the keeper of the old version lives on."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any
from unittest.mock import ANY

import psutil
import pytest
from daemon_rig import Workspace, about_the_file, say, until
from previous_rig import environment_of, newer_version, previous_version

pytestmark = about_the_file


def test_steps_run_through_an_upgrade_and_end_under_the_new_daemon(place: Workspace, tmp_path: Path) -> None:
    new = environment_of(newer_version(tmp_path / "new"))
    place.flow("work", f"echo one; touch up; until [ -e go ]; do sleep 0.05; done; echo two; {say('changed')}; exit 6")
    place.start(FLOWD_ON_STOP="keep")
    (run_id,) = place.call("flow.dispatch", event={"id": "e1", "type": "work.go", "payload": {}})["runIds"]
    until((place.path / "flows/work/up").exists, what="the step's start")
    keeper = place.keeper_pid()
    assert place.stop() == 0
    place.start(FLOWD_ON_STOP="keep", **new)
    status = place.call("daemon.status")
    assert (status["version"], status["keeper"]["pid"]) == ("99.0.0", keeper)
    (place.path / "flows/work/go").touch()
    run = place.call("flow.waitRun", runId=run_id, timeoutMs=50_000)["run"]
    assert (run["exitCode"], run["attemptCount"], run["attempts"][0]["workerId"]) == (6, 1, status["keeper"]["id"])
    assert run["output"][0]["text"].startswith("one\ntwo\n")
    (next_run,) = place.call("flow.dispatch", event={"id": "e2", "type": "work.go", "payload": {}})["runIds"]
    assert place.call("flow.waitRun", runId=next_run, timeoutMs=50_000)["run"]["exitCode"] == 6  # by the old keeper
    assert place.stop() == 0
    until(lambda: not place.processes(str(place.path / ".codex/flowd/keeper")), what="the idle keeper's end")
    place.start(**new)
    assert place.keeper_pid() != keeper
    assert place.stop() == 0


@dataclass
class Expected:
    """A step that runs over the upgrade, and how it must end."""

    name: str
    script: str
    step: str = ""
    exit_code: int | None = None
    reason: str | None = None
    text: str = ""


WAIT = "echo one; touch up; until [ -e go ]; do sleep 0.02; done; echo two; "
UNDER_WAY = (
    Expected("good", WAIT + say("changed"), exit_code=0, text="one\ntwo\n"),
    Expected("bad", WAIT + "exit 6", exit_code=6, reason="exit", text="one\ntwo\n"),
    Expected("killed", WAIT + "kill -9 $$", reason="signal", text="one\ntwo\n"),
    Expected("limited", "ulimit -n; " + WAIT + "exit 7", "[steps.limits]\nopen_files = 77", 7, "exit", "77\none\n"),
    Expected("late", "trap 'exit 8' TERM; " + WAIT + "while :; do sleep 0.02; done", "timeout_ms = 3000", 8, "timeout"),
    Expected("unasked", "trap 'exit 9' TERM; " + WAIT + "while :; do sleep 0.02; done", "", 9, "canceled"),
    Expected("messy", WAIT + f"setsid sleep 300 & {say('completed')}", exit_code=0, text="one\ntwo\n"),
)


def ended(place: Workspace, run_id: str) -> Any:
    return place.call("flow.waitRun", runId=run_id, timeoutMs=50_000)["run"]


def as_before(run: Any) -> Any:
    """The run without what earlier versions did not tell of its attempts."""
    told_now = {"packageHash", "durationMs"}
    attempts = [{key: value for key, value in one.items() if key not in told_now} for one in run["attempts"]]
    return {**run, "attempts": attempts}


def dispatched(place: Workspace, name: str) -> str:
    (run_id,) = place.call("flow.dispatch", event={"id": f"e-{name}", "type": f"{name}.go", "payload": {}})["runIds"]
    return str(run_id)


@pytest.mark.timeout(300)
@pytest.mark.parametrize("end", ["killed", "stopped"])
def test_the_version_before_leaves_its_steps_and_its_state_to_this_one(place: Workspace, end: str) -> None:
    old = environment_of(previous_version())
    for expected in UNDER_WAY:
        place.flow(expected.name, expected.script, step=expected.step)
    place.flow("before", f"echo before; {say('changed', message='long ago')}")
    place.flow("between", "touch up; until [ -e between-go ]; do sleep 0.02; done; echo gone; exit 5")
    place.flow("queued", "echo queued; exit 4")
    parallel = str(len(UNDER_WAY) + 1)
    place.start(FLOWD_ON_STOP="keep", FLOWD_MAX_PARALLEL=parallel, **old)
    status = place.call("daemon.status")
    assert Path(psutil.Process(status["keeper"]["pid"]).cmdline()[5]) == Path(old["PYTHONPATH"])
    before = ended(place, dispatched(place, "before"))
    ids = {name: dispatched(place, name) for name in ("between", *(expected.name for expected in UNDER_WAY))}
    for name in ids:
        until((place.path / f"flows/{name}/up").exists, what=f"the start of {name}")
    queued = dispatched(place, "queued")
    if end == "killed":
        place.kill()
    else:
        assert place.stop() == 0
    (place.path / "flows/between/between-go").touch()
    folder = str(place.path / "flows/between")
    until(lambda: not place.processes(folder), what="the end of a step without a daemon")

    place.start(FLOWD_ON_STOP="keep", FLOWD_MAX_PARALLEL=parallel)
    assert place.call("daemon.status")["keeper"] == {**status["keeper"], "rssBytes": ANY}  # adopted, not replaced
    after = ended(place, before["id"])
    assert (as_before(after), before["result"]["message"]) == (as_before(before), "long ago")
    (attempt,) = after["attempts"]
    assert (attempt["packageHash"], attempt["durationMs"]) == (before["packageHash"], before["durationMs"])
    between = ended(place, ids["between"])
    assert (between["exitCode"], between["attemptCount"], between["output"][0]["text"]) == (5, 1, "gone\n")
    run = ended(place, queued)
    assert (run["exitCode"], run["attemptCount"], run["output"][0]["text"]) == (4, 1, "queued\n")
    place.call("flow.cancelRun", runId=ids["unasked"])
    for expected in UNDER_WAY:
        (place.path / f"flows/{expected.name}/go").touch()
    for expected in UNDER_WAY:
        run = ended(place, ids[expected.name])
        (attempt,) = run["attempts"]
        assert (expected.name, run.get("exitCode"), run.get("reason")) == (
            expected.name, expected.exit_code, expected.reason
        )  # fmt: skip
        assert attempt["workerId"] == status["keeper"]["id"]
        assert run["output"][0]["text"].startswith(expected.text or "one\n")
    assert len(ended(place, ids["messy"])["attempts"][0]["leftovers"]) == 1
    assert place.stop() == 0
    until(lambda: not place.processes(str(place.path / ".codex/flowd/keeper")), what="the idle keeper's end")
