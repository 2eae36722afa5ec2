"""The command line where its standard streams are closed, as some supervisors leave them, or on a full disk."""

import os
import subprocess
import sys

import pytest
from daemon_rig import Workspace, say, until

FLOWD = f"{sys.executable} -m flowd"


def shell(place: Workspace, line: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(["sh", "-c", line], cwd=place.path, capture_output=True, text=True, timeout=60, check=False)


def test_reading_from_a_closed_stdin_is_an_empty_event(place: Workspace) -> None:
    done = shell(place, f"{FLOWD} dispatch - <&-")
    assert done.returncode == 2
    assert "Fault in flowd" not in done.stderr


def test_printing_to_a_closed_stdout_is_no_fault(place: Workspace) -> None:
    done = shell(place, f"{FLOWD} validate >&-")
    assert done.returncode == 0
    assert "Fault in flowd" not in done.stderr


needs_dev_full = pytest.mark.skipif(not os.path.exists("/dev/full"), reason="NOT TESTED: a full disk needs /dev/full")
FULL_STDOUT = (74, "flowd: Cannot write the output: No space left on device.\n")


@needs_dev_full
@pytest.mark.parametrize("words", ["--help", "runs --help", "--version", "validate --json"])
def test_a_full_disk_behind_stdout_is_called_that(place: Workspace, words: str) -> None:
    done = shell(place, f"{FLOWD} {words} >/dev/full")
    assert (done.returncode, done.stderr) == FULL_STDOUT


@needs_dev_full
def test_a_full_disk_behind_stdout_is_called_that_where_a_daemon_answers(place: Workspace) -> None:
    place.flow("loud", f"head -c 200000 /dev/zero | tr '\\0' x; echo; echo more >&2; {say('completed')}")
    place.start()
    (run,) = place.call("flow.dispatch", event={"id": "e1", "type": "loud.go"}, wait=True)["runs"]
    logs = f"logs {run['id']}"
    for words in ("runs", "runs --json", "run " + run["id"], logs, f"{logs} -f", "logs -f --event e1", "status"):
        done = shell(place, f"{FLOWD} {words} >/dev/full")
        assert (words, done.returncode, done.stderr.replace("more\n", "")) == (words, *FULL_STDOUT)
    assert shell(place, f"{FLOWD} {logs} --stderr 2>/dev/full").returncode == 74


@needs_dev_full
def test_a_full_disk_behind_stderr_fails_no_answer(place: Workspace) -> None:
    place.start()
    done = shell(place, f"{FLOWD} runs 2>/dev/full")
    assert (done.returncode, done.stdout) == (0, "")


def test_a_daemon_with_closed_streams_keeps_its_files_to_itself(place: Workspace) -> None:
    place.flow("quick", 'echo \'FLOW_RESULT {"status": "completed"}\'')
    daemon = subprocess.Popen(
        ["sh", "-c", f"exec {FLOWD} serve <&- >&- 2>&-"], cwd=place.path, env={**os.environ, "FLOWD_LOG_LEVEL": "debug"}
    )
    place.process = daemon  # type: ignore[assignment]
    until(place.is_ready, what="the daemon")
    answer = place.call("flow.dispatch", event={"id": "q1", "type": "quick.go"}, wait=True)
    assert answer["runs"][0]["effectiveStatus"] == "completed"
    if sys.platform == "linux":
        assert [os.readlink(f"/proc/{daemon.pid}/fd/{number}") for number in range(3)] == ["/dev/null"] * 3
    assert place.stop() == 0
