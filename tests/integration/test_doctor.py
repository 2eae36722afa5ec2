"""`flowd doctor` on workspaces that are fine: without a daemon, with one, and after one."""

import subprocess
import sys
from pathlib import Path

from daemon_rig import Workspace, say, until
from doctor_rig import doctor


def state_of(folder: Path) -> dict[str, tuple[int, int]]:
    """Every file below the folder, with what would tell a change."""
    return {str(path): (path.lstat().st_size, path.lstat().st_mtime_ns) for path in sorted(folder.rglob("*"))}


def test_an_empty_workspace_is_fine_and_stays_empty(tmp_path: Path) -> None:
    answer = doctor(tmp_path)
    assert answer["counts"]["fail"] == 0
    assert answer["by_check"]["daemon.lock"]["found"] == "no daemon runs"
    assert list(tmp_path.iterdir()) == []


def test_a_running_daemon_with_a_running_step_is_fine(place: Workspace) -> None:
    place.flow("slow", f"echo on; while [ ! -e go ]; do sleep 0.05; done; {say('changed')}")
    place.start()
    (run_id,) = place.call("flow.dispatch", event={"id": "e", "type": "slow.go", "payload": {}})["runIds"]
    until(lambda: place.call("flow.getRun", runId=run_id)["run"]["output"], what="the step's first line")
    found = doctor(place.path)["by_check"]
    assert place.process is not None
    assert found["daemon.lock"]["found"] == f"held by the daemon, pid {place.process.pid}"
    assert found["daemon.answer"]["found"].startswith("ready")
    assert str(place.keeper_pid()) in found["keeper"]["found"]
    assert "1 running steps" in found["keeper"]["found"]
    assert found["leftovers.processes"]["found"] == "none"
    assert found["leftovers.output"]["found"] == "none"
    assert found["database.integrity"]["found"].startswith("sound")
    (place.path / "flows/slow/go").touch()
    assert place.call("flow.waitRun", runId=run_id)["run"]["effectiveStatus"] == "changed"


def test_looking_at_a_stopped_daemons_state_changes_nothing(place: Workspace) -> None:
    place.flow("quick", say("changed"))
    place.start()
    place.call("flow.dispatch", event={"id": "e", "type": "quick.go", "payload": {}}, wait=True)
    assert place.stop() == 0
    before = state_of(place.path / ".codex")
    found = doctor(place.path, "--repair")["by_check"]
    assert found["database.schema"]["level"] == "ok"
    assert found["keeper"]["level"] == "ok"
    assert state_of(place.path / ".codex") == before


def test_people_read_a_line_for_each_finding_and_a_verdict(tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "flowd", "doctor", "-w", str(tmp_path)], capture_output=True, text=True, timeout=60
    )
    assert done.returncode == 0
    *lines, verdict = done.stdout.splitlines()
    assert lines[0].startswith("ok    python")
    assert verdict.startswith("All") or "fine" in verdict


def test_settings_that_cannot_be_read_are_a_finding(tmp_path: Path) -> None:
    (tmp_path / ".codex").mkdir()
    (tmp_path / ".codex/flowd.toml").write_text("max_parallel = 0\n")
    found = doctor(tmp_path, code=1)["by_check"]
    assert found["settings"]["level"] == "fail"
    assert "max_parallel must be a whole number from 1 to 10000" in found["settings"]["found"]
