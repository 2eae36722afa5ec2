"""The surroundings of a daemon and of commands: a terminal that closes, process 1 of a container, a deleted folder."""

import contextlib
import fcntl
import os
import pty
import shutil
import signal
import subprocess
import sys
import termios
from pathlib import Path

import pytest
from daemon_rig import Workspace, until

from flowd_client import create_flow_client
from flowd_client.errors import FlowClientError


def serve_in_terminal(place: Workspace, *, ignores_hangup: bool = False) -> int:
    """Start a daemon whose controlling terminal is a new one, its log in a file; the terminal's other end."""
    master, slave = pty.openpty()

    def in_terminal() -> None:
        os.setsid()
        fcntl.ioctl(slave, termios.TIOCSCTTY, 0)
        if ignores_hangup:
            signal.signal(signal.SIGHUP, signal.SIG_IGN)

    with place.log_path.open("ab") as log:
        place.process = subprocess.Popen(
            [sys.executable, "-m", "flowd", "serve", "-w", str(place.path)],
            stdin=slave,
            stdout=log,
            stderr=log,
            preexec_fn=in_terminal,  # noqa: PLW1509 - the child alone can take a terminal
        )
    os.close(slave)
    until(place.is_ready, what="the daemon")
    return master


def test_a_closed_terminal_stops_a_daemon_whose_log_goes_to_a_file(place: Workspace) -> None:
    master = serve_in_terminal(place)
    assert place.process is not None
    place.process.send_signal(signal.SIGHUP)
    until(lambda: '"reloaded"' in place.log(), what="a reload, for the terminal is there")
    os.close(master)
    assert place.process.wait(60) == 0, place.log()


def test_a_daemon_under_nohup_outlives_its_terminal(place: Workspace) -> None:
    os.close(serve_in_terminal(place, ignores_hangup=True))
    until(lambda: '"reloaded"' in place.log(), what="the hangup, which is a reload then")
    assert place.call("daemon.status")["state"] == "ready"
    assert place.stop() == 0


@pytest.mark.mounts
def test_process_one_of_a_container_reaps_strangers_and_ends_as_the_daemon_does(place: Workspace) -> None:
    unshare = [shutil.which("unshare") or "unshare", "--pid", "--fork", "--mount-proc", "--kill-child"]
    if subprocess.run([*unshare, "true"], capture_output=True, check=False).returncode:
        pytest.skip("NOT TESTED: flowd as process 1, because no namespace can be made here (it needs root)")
    with place.log_path.open("ab") as log:
        place.process = subprocess.Popen(
            [*unshare, sys.executable, "-m", "flowd", "serve", "-w", str(place.path)],
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
        )
    until(place.is_ready, what="the daemon")
    assert place.call("daemon.status")["pid"] != 1
    (one,) = Path(f"/proc/{place.process.pid}/task/{place.process.pid}/children").read_text().split()
    keeper = next(process.pid for process in place.processes(str(place.path / ".codex/flowd/keeper")))
    os.kill(keeper, signal.SIGKILL)  # its parent is process 1

    def zombies() -> list[str]:
        found = []
        for child in Path(f"/proc/{one}/task/{one}/children").read_text().split():
            with contextlib.suppress(OSError):
                if Path(f"/proc/{child}/stat").read_text().rpartition(")")[2].split()[0] == "Z":
                    found.append(child)
        return found

    until(lambda: "keeper restarted" in place.log(), what="the next keeper")
    until(lambda: not zombies(), what="no zombies")
    os.kill(int(one), signal.SIGTERM)
    assert place.process.wait(60) == 0, place.log()


def test_a_command_in_a_deleted_folder_says_so(tmp_path: Path) -> None:
    gone = tmp_path / "gone"
    argv = f"mkdir {gone}; cd {gone}; rmdir {gone}; exec {sys.executable} -P -m flowd"
    for verb in ("status", "validate .", "status -w x", "serve"):
        done = subprocess.run(["sh", "-c", f"{argv} {verb}"], capture_output=True, text=True, timeout=30, check=False)
        assert "folder was deleted" in done.stderr, (verb, done.stderr)
        assert "Fault" not in done.stderr, verb
        assert done.returncode in (2, 5), (verb, done.returncode)
    there = subprocess.run(
        ["sh", "-c", f"{argv} flows -w {tmp_path}"], capture_output=True, text=True, timeout=30, check=False
    )
    assert "No daemon at" in there.stderr


def test_a_client_made_in_a_deleted_folder_raises_an_error_of_its_tree(tmp_path: Path) -> None:
    gone = tmp_path / "gone"
    gone.mkdir()
    before = os.open(".", os.O_RDONLY)
    os.chdir(gone)
    gone.rmdir()
    try:
        with pytest.raises(FlowClientError, match="folder was deleted"):
            create_flow_client(mode="socket")
    finally:
        os.fchdir(before)
        os.close(before)
