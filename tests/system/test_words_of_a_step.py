"""What a step is told speaks of the daemon that started it, and is no setting of another one."""

import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from daemon_rig import Workspace, say, until, workspace

PROBE = """
import json, os, subprocess, sys
from flowd_client import create_flow_client
flowd = [sys.executable, "-m", "flowd"]
other = os.environ["OTHER"]
def workspace_of(**options):
    with create_flow_client(mode="socket", timeout_s=60, **options) as flows:
        return flows.status()["workspace"]
def asked(*words, cwd):
    done = subprocess.run([*flowd, "status", "--json", *words], cwd=cwd, capture_output=True, text=True)
    return json.loads(done.stdout)["workspace"], done.stderr
print("FLOW_RESULT", json.dumps({"status": "changed", "artifacts": {
    "client": workspace_of(), "named client": workspace_of(workspace=other),
    "cli": asked(cwd="."), "named": asked("-w", other, cwd="."), "there": asked(cwd=other),
}}))
"""


@pytest.fixture
def other() -> Iterator[Workspace]:
    with workspace() as it:
        it.flow("there", say("changed"))
        yield it


def result_of(place: Workspace, flow: str) -> dict[str, object]:
    answer = place.call("flow.dispatch", event={"id": flow, "type": f"{flow}.go", "payload": {}}, wait=True)
    (run,) = answer["runs"]
    assert run["effectiveStatus"] == "changed", run
    found: dict[str, object] = run["result"]["artifacts"]
    return found


SEND = """
import json, os, time
from pathlib import Path
from flowd_client import create_flow_client
here, other = Path(os.environ["FLOWD_STEP_WORKSPACE"]), Path(os.environ["OTHER"])
if here == other:
    while not (other / "sent").exists():
        time.sleep(0.02)
else:
    with create_flow_client(mode="socket", workspace=other) as flows:
        view = flows.dispatch_event({"id": "told", "type": "told"})
    with create_flow_client(mode="socket", workspace=here) as flows:
        flows.dispatch_event({"id": "own", "type": "told"})
    (other / "sent").touch()
print("FLOW_RESULT", json.dumps({"status": "changed"}))
"""


def test_the_run_of_a_step_is_no_cause_in_another_workspace(place: Workspace, other: Workspace) -> None:
    for it in (place, other):
        it.flow("send", SEND, runner="python")
        (it.path / ".codex").mkdir(exist_ok=True)
        (it.path / ".codex/flowd.toml").write_text(f'[runners]\npython = "{sys.executable}"\n')
        it.start(OTHER=str(other.path))
    event = {"id": "send", "type": "send.go"}
    (same,) = other.call("flow.dispatch", event=event)["runIds"]
    until(lambda: other.call("flow.getRun", runId=same)["run"]["status"] == "running")
    (run_id,) = place.call("flow.dispatch", event=event, wait=True)["runIds"]
    assert run_id == same
    assert place.call("flow.getEvent", eventId="own")["event"]["causedBy"]["runId"] == run_id
    assert "causedBy" not in other.call("flow.getEvent", eventId="told")["event"]


@pytest.mark.parametrize("state", ["", "elsewhere"], ids=["state in place", "state by the environment"])
def test_a_named_workspace_beats_what_the_step_was_told(
    place: Workspace, other: Workspace, tmp_path: Path, state: str
) -> None:
    place.flow("probe", PROBE, runner="python")
    settings = place.path / ".codex/flowd.toml"
    settings.parent.mkdir()
    settings.write_text(f'[runners]\npython = "{sys.executable}"\n')
    place.socket.parent.mkdir()
    environment = {"FLOWD_STATE_DIR": str(tmp_path / state), "FLOWD_SOCKET": str(place.socket)} if state else {}
    other.start()
    place.start(OTHER=str(other.path), **environment)
    found = result_of(place, "probe")
    here, there = str(place.path), str(other.path)
    assert (found["client"], found["named client"]) == (here, there)
    assert found["cli"] == [here, ""]
    assert found["named"] == [there, ""]
    decided, said = found["there"]  # type: ignore[misc]
    assert decided == here
    assert f"FLOWD_SOCKET decides: this is the daemon of {here}, not of {there}" in said


def test_a_daemon_that_a_step_starts_takes_its_own_places(place: Workspace, other: Workspace, tmp_path: Path) -> None:
    script = f'exec >"{tmp_path}/log" 2>&1; {sys.executable} -m flowd serve -w {other.path} & '
    place.flow("serve", f"{script} exec >/dev/null; sleep 60", step="timeout_ms = 60000")
    state = tmp_path / "state"
    place.socket.parent.mkdir(parents=True)
    place.start(FLOWD_STATE_DIR=str(state), FLOWD_SOCKET=str(place.socket), FLOWD_HTTP="127.0.0.1:0")
    run_id = place.call("flow.dispatch", event={"id": "e", "type": "serve.go", "payload": {}})["runIds"][0]

    def status() -> dict[str, object] | None:
        env = {"PATH": "/usr/bin:/bin", "HOME": str(tmp_path)}
        words = [sys.executable, "-m", "flowd", "status", "--json", "-w", str(other.path)]
        done = subprocess.run(words, env=env, capture_output=True)
        return json.loads(done.stdout) if done.returncode == 0 else None

    found = until(status, what=f"the step's daemon ({(tmp_path / 'log')})")
    assert found["workspace"] == str(other.path)
    assert found["stateDir"] == str(other.path / ".codex/flowd")
    assert found["socket"] == str(other.path / ".codex/flowd/flowd.sock")
    assert "http" not in found
    place.call("flow.cancelRun", runId=run_id)
    assert place.stop() == 0  # and its keeper with it, which lies where nobody would look for it
