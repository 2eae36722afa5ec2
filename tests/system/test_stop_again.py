"""`flowd stop` is one wish however often it is typed: only --cancel, or a person's next signal, ends what runs."""

import signal
import subprocess
import sys
from contextlib import ExitStack
from pathlib import Path
from typing import Any

from daemon_rig import Workspace, flowd_says, say, until

WAITS = f"touch runs; until [ -e go ]; do sleep 0.02; done; {say('changed')}"
WAITS_TO_THE_LAST = f"trap 'touch heard' TERM; {WAITS}"


def with_a_running_step(place: Workspace, script: str, **environment: str) -> Path:
    folder = place.flow("work", script, step="grace_ms = 60000")
    place.start(**environment)
    place.call("flow.dispatch", event={"id": "e", "type": "work.go"})
    until((folder / "runs").exists, what="the step")
    return folder


def stop(place: Workspace, *words: str) -> subprocess.Popen[str]:
    command = [sys.executable, "-m", "flowd", "stop", *words, "-w", str(place.path)]
    return subprocess.Popen(command, stderr=subprocess.PIPE, text=True)


def stopping(place: Workspace) -> Any:
    return place.call("daemon.status").get("stopping")


def how_it_ended(place: Workspace) -> tuple[str, str | None]:
    assert place.process is not None
    assert place.process.wait(60) == 0
    place.start()
    (run,) = place.call("flow.listRuns", eventId="e")["runs"]
    return run["effectiveStatus"], run.get("error")


def test_a_second_stop_waits_with_the_first_one(place: Workspace) -> None:
    folder = with_a_running_step(place, WAITS)
    assert "already" not in flowd_says(place, "stop", "--timeout", "100ms", code=1)
    assert "is stopping already" in flowd_says(place, "stop", "--timeout", "100ms", code=1)
    assert stopping(place) == "waiting"
    (folder / "go").touch()
    assert how_it_ended(place) == ("changed", None)


def test_stops_at_the_same_moment_are_one(place: Workspace) -> None:
    folder = with_a_running_step(place, WAITS)
    with ExitStack() as all_of_them:
        several = [all_of_them.enter_context(stop(place, "--timeout", "100ms")) for _ in range(3)]
        told = [process.communicate(timeout=60)[1] for process in several]
    assert [process.returncode for process in several] == [1, 1, 1], told
    assert sum("is stopping already" in text for text in told) == 2, told
    assert stopping(place) == "waiting"
    (folder / "go").touch()
    assert how_it_ended(place) == ("changed", None)


def test_cancel_ends_the_steps_once_however_often_it_is_typed(place: Workspace) -> None:
    folder = with_a_running_step(place, WAITS_TO_THE_LAST)
    flowd_says(place, "stop", "--timeout", "100ms", code=1)
    for _ in range(2):
        flowd_says(place, "stop", "--cancel", "--timeout", "100ms", code=1)
        assert stopping(place) == "canceling"
    until((folder / "heard").exists, what="word of the SIGTERM")
    flowd_says(place, "stop", "--timeout", "100ms", code=1)
    assert stopping(place) == "canceling"
    (folder / "go").touch()
    status, error = how_it_ended(place)
    assert status == "canceled"
    assert "SIGKILL" not in str(error)


def test_where_the_policy_is_to_cancel_it_does_not_kill_either(place: Workspace) -> None:
    folder = with_a_running_step(place, WAITS_TO_THE_LAST, FLOWD_ON_STOP="cancel")
    flowd_says(place, "stop", "--cancel", "--timeout", "100ms", code=1)
    flowd_says(place, "stop", "--timeout", "100ms", code=1)
    assert stopping(place) == "canceling"
    (folder / "go").touch()
    assert how_it_ended(place)[0] == "canceled"


def test_ctrl_c_says_that_the_daemon_goes_on_stopping(place: Workspace) -> None:
    folder = with_a_running_step(place, WAITS)
    with stop(place) as waiting:
        until(lambda: stopping(place), what="the stop")
        waiting.send_signal(signal.SIGINT)
        assert "The daemon goes on stopping" in waiting.communicate(timeout=60)[1]
    assert stopping(place) == "waiting"
    (folder / "go").touch()
    assert how_it_ended(place) == ("changed", None)
