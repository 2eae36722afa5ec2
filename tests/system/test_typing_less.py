"""`flowd stop`, `workspaces`, `help`, `completion` and the names that people try, with real daemons and shells."""

import json
import os
import pty
import re
import shlex
import shutil
import signal
import subprocess
import sys
from typing import Any

import pytest
from daemon_rig import Workspace, flowd, flowd_says, say, until
from scripted_daemon import ScriptedDaemon


def test_a_daemon_is_stopped_once_its_steps_have_ended_or_are_ended(place: Workspace) -> None:
    place.flow("slow", f"sleep 60; {say('changed')}")
    place.start()
    (run_id,) = place.call("flow.dispatch", event={"id": "e", "type": "slow.go"})["runIds"]
    until(lambda: place.call("flow.getRun", runId=run_id)["run"]["processStatus"] == "running")
    assert "still waits for its steps" in flowd_says(place, "stop", "--timeout", "200ms", code=1)
    assert place.process is not None
    assert place.process.poll() is None
    assert "stopped" in flowd_says(place, "stop", "--cancel")
    assert place.process.wait() == 0
    assert "No daemon runs here" in flowd_says(place, "stop")


def test_no_process_is_ended_that_only_has_the_number_which_a_daemon_elsewhere_says(place: Workspace) -> None:
    place.socket.parent.mkdir(parents=True)
    bystander = subprocess.Popen(["sleep", "60"])
    try:
        elsewhere = ScriptedDaemon(place.socket, lambda call: {"pid": bystander.pid, "workspace": str(place.path)})
        with elsewhere:
            assert "no such process listens here" in flowd_says(place, "stop", code=5)
        assert bystander.poll() is None
    finally:
        bystander.kill()
        bystander.wait()


def test_a_step_that_stops_its_own_daemon_does_not_wait_for_itself(place: Workspace) -> None:
    place.flow("update", f"{shlex.quote(sys.executable)} -m flowd stop && {say('changed')}")
    place.start()
    (run_id,) = place.call("flow.dispatch", event={"id": "e", "type": "update.go"})["runIds"]
    assert place.process is not None
    assert place.process.wait(60) == 0
    place.start()
    assert place.call("flow.getRun", runId=run_id)["run"]["effectiveStatus"] == "changed"


def test_workspaces_are_those_that_have_a_daemon(place: Workspace) -> None:
    place.start()

    def listed(*words: str) -> list[dict[str, Any]]:
        """Ours among all: a daemon that is too busy to answer is left out of what is asked in a moment."""
        told = json.loads(flowd_says(place, *words, "--json"))["workspaces"]
        return [status for status in told if status["workspace"] == str(place.path)]

    (ours,) = until(lambda: listed("workspaces"), what="it in the list")
    assert ours["state"] == "ready"
    until(lambda: str(place.path) in flowd_says(place, "workspaces"), what="it in the table")
    (row,) = until(
        lambda: [line for line in flowd_says(place, "status", "--all").splitlines() if str(place.path) in line],
        what="its row",
    )
    assert re.search(r" \d{4}-\d\d-\d\dT[\d:.]+Z", row)
    (same,) = until(lambda: listed("status", "--all"), what="it among all")
    assert same["pid"] == ours["pid"]
    assert "leave --all out" in flowd_says(place, "status", "--all", "--config", code=2)


def test_a_daemon_that_does_not_answer_is_told_of_all_the_same(place: Workspace) -> None:
    place.start()
    assert place.process is not None
    os.kill(place.process.pid, signal.SIGSTOP)
    try:
        told = json.loads(flowd_says(place, "workspaces", "--json"))["workspaces"]
        (row,) = [line for line in flowd_says(place, "status", "--all").splitlines() if str(place.path) in line]
    finally:
        os.kill(place.process.pid, signal.SIGCONT)
    (ours,) = [status for status in told if status["workspace"] == str(place.path)]
    assert (ours["state"], ours["pid"]) == ("does not answer", place.process.pid)
    assert "does not answer" in row


def test_help_is_a_verb_too(place: Workspace) -> None:
    words = [sys.executable, "-m", "flowd"]
    told = {
        line: subprocess.run([*words, *line.split()], capture_output=True, text=True, timeout=60)
        for line in ("help", "-h", "help dispatch", "dispatch -h", "help store init", "help nonsense", "help store x")
    }
    assert told["help"].stdout == told["-h"].stdout
    assert told["help dispatch"].stdout == told["dispatch -h"].stdout
    assert "flowd store init" in told["help store init"].stdout
    assert [told[line].returncode for line in ("help nonsense", "help store x")] == [2, 2]
    assert "There is no verb 'nonsense'" in told["help nonsense"].stderr


def test_names_that_people_try_are_the_verbs(place: Workspace) -> None:
    place.flow("good", f"echo hello; {say('changed')}")
    place.start()
    (run_id,) = place.call("flow.dispatch", event={"id": "e", "type": "good.go"}, wait=True)["runIds"]
    assert run_id in flowd_says(place, "ls")
    assert run_id in flowd_says(place, "ps")
    assert "hello" in flowd_says(place, "tail", run_id)


def test_following_a_run_ends_with_how_it_ended(place: Workspace) -> None:
    place.flow("bad", "echo before; exit 3")
    place.flow("good", say("changed"))
    place.start()
    for name in ("bad", "good"):
        place.call("flow.dispatch", event={"id": name, "type": f"{name}.go"}, wait=True)
    done = flowd(place, "logs", "-f", "bad/main")
    assert (done.returncode, done.stdout, done.stderr) == (1, "before\n", "")
    assert flowd(place, "logs", "bad/main").returncode == 0
    assert flowd(place, "logs", "-f", "good/main").returncode == 0
    leader, follower = pty.openpty()
    argv = [sys.executable, "-m", "flowd", "logs", "-f", "bad/main", "-w", str(place.path)]
    process = subprocess.Popen(argv, stdin=follower, stdout=subprocess.DEVNULL, stderr=follower)
    os.close(follower)
    said = b""
    while chunk := _read(leader):
        said += chunk
    os.close(leader)
    assert process.wait() == 1
    assert re.search(rb" failed in [\w.]+, exit code 3: its last words: before$", b" ".join(said.split()))


def _read(leader: int) -> bytes:
    try:
        return os.read(leader, 4096)
    except OSError:
        return b""  # the other end is closed


@pytest.mark.parametrize(
    ("shell", "file"),
    [
        ("bash", ".local/share/bash-completion/completions/flowd"),
        ("zsh", ".local/share/zsh/site-functions/_flowd"),
        ("fish", ".config/fish/completions/flowd.fish"),
    ],
)
def test_completion_is_installed_where_the_shell_looks(place: Workspace, shell: str, file: str) -> None:
    home = place.path / "home"
    home.mkdir()
    environ = {"HOME": str(home), "PATH": os.environ["PATH"], "SHELL": f"/bin/{shell}"}
    words = [sys.executable, "-m", "flowd", "completion", "install"]
    done = subprocess.run(words, capture_output=True, text=True, env=environ, timeout=60)
    assert (done.returncode, str(home / file) in done.stdout) == (0, True)
    script = (home / file).read_text()
    shown = subprocess.run([*words[:-1], "show", shell], capture_output=True, text=True, env=environ, timeout=60)
    assert shown.stdout.strip() == script.strip()
    if shutil.which(shell):  # what is not here cannot be asked
        assert subprocess.run([shell, "-n", str(home / file)], capture_output=True).returncode == 0
    environ["SHELL"] = "/bin/sh"
    done = subprocess.run(words, capture_output=True, text=True, env=environ, timeout=60)
    assert (done.returncode, "Which shell?" in done.stderr) == (2, True)
