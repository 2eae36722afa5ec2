"""What a daemon does when its files are taken away, and what it must not take away itself."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import psutil
from daemon_rig import Workspace, remove, until

from flowd.state import folder as state_folder

EXIT_STORAGE_FAILED = 74
EXIT_BAD_STATE = 78


def serve_to_the_end(place: Workspace, **environment: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "flowd", "serve", "-w", str(place.path)],
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=30,
        check=False,
        env={**os.environ, **environment},
    )


def test_a_removed_state_folder_stops_the_daemon_and_what_it_runs(place: Workspace) -> None:
    place.flow("long", "echo $$ > pid; exec sleep 300")
    place.start()
    place.call("flow.dispatch", event={"id": "l1", "type": "long.go"})
    pid_file = place.path / "flows" / "long" / "pid"
    pid = int(until(lambda: pid_file.exists() and pid_file.read_text(), what="the step's pid"))

    remove(place.path / ".codex" / "flowd")

    assert place.process is not None
    assert place.process.wait(60) == EXIT_STORAGE_FAILED
    assert "was removed, emptied or replaced" in place.log()
    until(lambda: not psutil.pid_exists(pid), what="the step's end")


def test_a_step_that_was_ended_because_the_state_was_moved_away_says_so_when_it_is_back(place: Workspace) -> None:
    place.flow("long", "touch started; exec sleep 300")
    place.start()
    (run_id,) = place.call("flow.dispatch", event={"id": "l1", "type": "long.go"})["runIds"]
    until((place.path / "flows/long/started").exists, what="the step's start")
    state, moved = place.path / ".codex" / "flowd", place.path / "moved"

    state.rename(moved)

    assert place.process is not None
    assert place.process.wait(60) == EXIT_STORAGE_FAILED
    shutil.rmtree(state, ignore_errors=True)
    moved.rename(state)
    place.start()
    run = place.call("flow.waitRun", runId=run_id, timeoutMs=50_000)["run"]
    assert (run["status"], run["reason"]) == ("failed", "interrupted")
    assert "flowd ended all steps when it stopped" in run["error"]


def test_a_daemon_that_was_robbed_of_its_state_leaves_the_next_ones_socket(place: Workspace) -> None:
    place.start()
    robbed = place.process
    assert robbed is not None
    remove(place.path / ".codex" / "flowd")

    place.start(FLOWD_HOST="next")  # with a shared store a folder that is made anew is another host

    assert robbed.wait(60) == EXIT_STORAGE_FAILED
    assert place.call("daemon.status")["state"] == "ready"


def test_a_file_in_the_sockets_place_is_refused_and_kept(place: Workspace) -> None:
    precious = place.path / "precious.txt"
    precious.write_text("mine")

    ended = serve_to_the_end(place, FLOWD_SOCKET=str(precious))

    assert ended.returncode == EXIT_BAD_STATE
    assert f"{precious} is in the way" in ended.stderr
    assert precious.read_text() == "mine"


def test_another_daemons_socket_is_refused_and_kept(place: Workspace, tmp_path: Path) -> None:
    place.start()

    ended = serve_to_the_end(place, FLOWD_SOCKET=str(place.socket), FLOWD_STATE_DIR=str(tmp_path / "state"))

    assert ended.returncode == EXIT_BAD_STATE
    assert "Another program answers" in ended.stderr
    assert place.call("daemon.status")["state"] == "ready"


def test_a_socket_in_a_folder_that_is_not_there_is_refused(place: Workspace) -> None:
    ended = serve_to_the_end(place, FLOWD_SOCKET="/nonexistent/flowd.sock")

    assert ended.returncode == EXIT_BAD_STATE
    assert "Cannot find a place" in ended.stderr or "Cannot listen on /nonexistent/flowd.sock" in ended.stderr


def test_a_folder_in_the_locks_place_is_refused(place: Workspace) -> None:
    (place.path / ".codex" / "flowd" / state_folder.LOCK).mkdir(parents=True)

    ended = serve_to_the_end(place)

    assert ended.returncode == EXIT_BAD_STATE
    assert "Cannot lock" in ended.stderr


def test_a_folder_in_the_place_of_the_keepers_lock_is_refused(place: Workspace) -> None:
    place.start()
    assert place.stop() == 0
    lock = place.path / ".codex" / "flowd" / state_folder.KEEPER / "keeper.lock"
    lock.unlink(missing_ok=True)
    lock.mkdir(parents=True)

    ended = serve_to_the_end(place)

    assert ended.returncode == EXIT_BAD_STATE
    assert str(lock) in ended.stderr
    assert "Fault" not in ended.stderr


def test_presence_tells_a_replaced_file_from_the_one_it_was(tmp_path: Path) -> None:
    here, missing = tmp_path / "here", tmp_path / "missing"
    here.write_text("1")
    presence = state_folder.Presence([here, missing])
    missing.write_text("came later")
    assert presence.lost() is None

    other = tmp_path / "other"
    other.write_text("2")
    other.replace(here)

    assert presence.lost() == here
