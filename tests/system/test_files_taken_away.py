"""What is removed, emptied or replaced under a running daemon: a step never runs twice at once, nothing is lost, and
everything heals by itself or says what to do."""

import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import psutil
import pytest
from daemon_rig import Workspace, say, until

# Notes its start and its end, so that a second one beside it would be seen.
WORK = f"echo start >>log; while [ ! -e go ]; do sleep 0.02; done; echo end >>log; {say('changed')}"


def state(place: Workspace) -> Path:
    return place.path / ".codex/flowd"


def log_of(place: Workspace) -> list[str]:
    file = place.path / "flows/work/log"
    return file.read_text().split() if file.exists() else []


def begin(place: Workspace) -> str:
    """Start the daemon with one step that runs until `go`; its run's id."""
    place.flow("work", WORK)
    place.start()
    (run_id,) = place.call("flow.dispatch", event={"id": "e", "type": "work.go"})["runIds"]
    until(lambda: log_of(place) == ["start"], what="the step's start")
    return str(run_id)


def go(place: Workspace) -> None:
    (place.path / "flows/work/go").touch()


def ended(place: Workspace, run_id: str) -> Any:
    return place.call("flow.waitRun", runId=run_id, timeoutMs=20_000)["run"]


def flowd(place: Workspace, *argv: str, code: int = 0) -> str:
    environ = {name: value for name, value in os.environ.items() if name != "FLOWD_SOCKET"}
    done = subprocess.run(
        [sys.executable, "-m", "flowd", *argv, "-w", str(place.path)],
        capture_output=True,
        text=True,
        timeout=60,
        env=environ,
    )
    assert done.returncode == code, (done.stdout, done.stderr)
    return done.stdout + done.stderr


def steps(place: Workspace) -> list[psutil.Process]:
    return place.processes("flows/work/main.sh")


def remove(path: Path) -> None:
    shutil.rmtree(path) if path.is_dir() else path.unlink()


# --- the folders of running steps, and the daemon killed at once


@pytest.mark.parametrize(
    "take_away",
    [
        pytest.param(lambda folder: (remove(folder / "keeper"), remove(folder / "output")), id="keeper and output"),
        pytest.param(lambda folder: remove(folder / "keeper"), id="keeper"),
        pytest.param(
            lambda folder: (remove(folder / "keeper/keeper.lock"), (folder / "keeper/keeper.journal").write_bytes(b"")),
            id="keeper.lock removed, keeper.journal emptied",
        ),
        pytest.param(
            lambda folder: (remove(folder / "keeper/keeper.lock"), remove(folder / "keeper/keeper.journal")),
            id="keeper.lock, keeper.journal",
        ),
    ],
)
def test_a_start_whose_traces_were_taken_away_ends_as_interrupted_and_leaves_nothing_running(
    place: Workspace, take_away: Callable[[Path], object]
) -> None:
    run_id = begin(place)
    place.process.send_signal(signal.SIGSTOP)  # type: ignore[union-attr]  # so that it heals nothing
    take_away(state(place))
    place.kill()

    place.start()

    run = ended(place, run_id)
    assert (run["status"], run["reason"], run["attemptCount"]) == ("failed", "interrupted", 1), place.log()
    assert not steps(place), "a retry would run beside it"
    assert log_of(place) == ["start"]
    go(place)
    assert place.call("flow.retryRun", runId=run_id)["run"]["status"] in ("queued", "running")
    assert ended(place, run_id)["effectiveStatus"] == "changed"
    assert log_of(place) == ["start", "start", "end"]
    assert place.stop() == 0
