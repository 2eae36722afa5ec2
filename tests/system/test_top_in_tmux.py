"""``flowd top`` on a real terminal: once through in tmux, which shows what a terminal made of it."""

import os
import pty
import shlex
import shutil
import subprocess
import sys

import pytest
from daemon_rig import START_BOUND_S, Workspace, say, until


def test_a_question_is_answered_and_the_terminal_is_given_back(place: Workspace) -> None:
    if shutil.which("tmux") is None:
        pytest.skip("NOT TESTED: flowd top on a real terminal, because tmux is not installed (apt install tmux)")
    place.flow("ask", say("blocked", message="publish it?"))
    place.start()
    (run,) = place.call("flow.dispatch", event={"id": "a1", "type": "ask.go"}, wait=True)["runs"]
    top = shlex.join([sys.executable, "-m", "flowd", "top", "-w", str(place.path)])
    environ = {name: value for name, value in os.environ.items() if name != "TMUX"} | {"TERM": "xterm-256color"}

    def tmux(*words: str) -> str:
        # A server of its own: no other session is seen, and none is left behind.
        command = ["tmux", "-f", "/dev/null", "-S", str(place.path / "tmux"), *words]
        return subprocess.run(command, capture_output=True, text=True, check=True, timeout=30, env=environ).stdout

    def sees(*words: str) -> None:
        until(lambda: all(word in tmux("capture-pane", "-p") for word in words), what=f"{words} on the terminal")

    tmux("new-session", "-d", "-x", "80", "-y", "24", f"{top}; echo left with $?; exec sleep 60")
    try:
        sees("ATTENTION 1", "ask/main", "publish it?")
        tmux("send-keys", "1")
        tmux("send-keys", "a")
        sees("Approve ask/main of a1?")
        tmux("send-keys", "-l", "go ahead")
        tmux("send-keys", "Enter")
        sees("completed  ask/main", "go ahead")
        tmux("send-keys", "4")
        tmux("send-keys", "Enter")
        sees("completed  ask/main", "FLOW_RESULT")
        tmux("send-keys", "q")
        sees("RECENT")
        tmux("send-keys", "q")
        sees("left with 0")
        assert "RECENT" not in tmux("capture-pane", "-p")
    finally:
        tmux("kill-server")
    resolution = place.call("flow.getRun", runId=run["id"])["run"]["resolution"]
    assert (resolution["status"], resolution["note"]) == ("completed", "go ahead")


def test_it_does_not_begin_where_what_it_draws_would_not_be_seen(place: Workspace) -> None:
    master, terminal = pty.openpty()
    try:
        command = [sys.executable, "-m", "flowd", "top", "-w", str(place.path)]
        top = subprocess.Popen(command, stdin=terminal, stdout=terminal, stderr=subprocess.PIPE, text=True)
        _, said = top.communicate(timeout=START_BOUND_S)
    finally:
        os.close(master)
        os.close(terminal)
    assert top.returncode == 2
    assert "flowd top draws on standard error" in said
