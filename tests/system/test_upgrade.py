"""The daemon is replaced by another version under running steps, while the keeper of the old version lives on."""

import shutil
from pathlib import Path

from daemon_rig import Workspace, say, until

import flowd
import flowd_client


def newer_version(folder: Path) -> Path:
    """A copy of the program that calls itself 99.0.0, with another keeper."""
    for package in (flowd, flowd_client):
        source = Path(package.__file__).parent
        shutil.copytree(source, folder / source.name, ignore=shutil.ignore_patterns("__pycache__"))
    version = folder / "flowd/__init__.py"
    version.write_text(version.read_text().replace(f'"{flowd.__version__}"', '"99.0.0"'))
    keeper = folder / "flowd/keeper/main.py"
    keeper.write_text(keeper.read_text().replace("\ndef log(", '\nNEWER = "99.0.0"\n\n\ndef log(', 1))
    return folder


def test_steps_run_through_an_upgrade_and_end_under_the_new_daemon(place: Workspace, tmp_path: Path) -> None:
    new = {"PYTHONPATH": str(newer_version(tmp_path / "new")), "PYTHONSAFEPATH": "1"}
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
    run = place.call("flow.waitRun", runId=run_id, timeoutMs=20_000)["run"]
    assert (run["exitCode"], run["attemptCount"], run["attempts"][0]["workerId"]) == (6, 1, status["keeper"]["id"])
    assert run["output"][0]["text"].startswith("one\ntwo\n")
    (next_run,) = place.call("flow.dispatch", event={"id": "e2", "type": "work.go", "payload": {}})["runIds"]
    assert place.call("flow.waitRun", runId=next_run, timeoutMs=20_000)["run"]["exitCode"] == 6  # by the old keeper
    assert place.stop() == 0
    until(lambda: not place.processes(str(place.path / ".codex/flowd/keeper")), what="the idle keeper's end")
    place.start(**new)
    assert place.keeper_pid() != keeper
    assert place.stop() == 0
