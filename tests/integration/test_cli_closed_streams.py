"""The command line where its standard streams are closed, as some supervisors leave them."""

import os
import subprocess
import sys

from daemon_rig import Workspace, until

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


def test_a_daemon_with_closed_streams_keeps_its_files_to_itself(place: Workspace) -> None:
    place.flow("quick", 'echo \'FLOW_RESULT {"status": "completed"}\'')
    daemon = subprocess.Popen(
        ["sh", "-c", f"exec {FLOWD} serve <&- >&- 2>&-"], cwd=place.path, env={**os.environ, "FLOWD_LOG_LEVEL": "debug"}
    )
    place.process = daemon  # type: ignore[assignment]
    until(place.socket.exists, what="the socket")
    answer = place.call("flow.dispatch", event={"id": "q1", "type": "quick.go"}, wait=True)
    assert answer["runs"][0]["effectiveStatus"] == "completed"
    if sys.platform == "linux":
        assert [os.readlink(f"/proc/{daemon.pid}/fd/{number}") for number in range(3)] == ["/dev/null"] * 3
    assert place.stop() == 0
