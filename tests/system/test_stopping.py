"""Stopping: what is running, what is queued and what comes in meanwhile, under each policy and by each signal."""

import contextlib
import os
import pty
import select
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from io import FileIO
from pathlib import Path
from typing import Any

import pytest
from daemon_rig import Workspace, say, until, without_leases

WAITS = f"echo $$ >>pids; until [ -e go ]; do sleep 0.02; done; {say('changed')}"
STUBBORN = "trap '' TERM; echo $$ >>pids; until [ -e go ]; do sleep 0.02; done"
CLI = [sys.executable, "-m", "flowd"]


def dispatch(place: Workspace, event_id: str, flow: str = "work") -> str:
    event = {"id": event_id, "type": f"{flow}.go", "payload": {}}
    return str(place.call("flow.dispatch", event=event)["runIds"][0])


def pids(place: Workspace, flow: str = "work") -> list[int]:
    file = place.path / f"flows/{flow}/pids"
    return [int(line) for line in file.read_text().split()] if file.exists() else []


def started(place: Workspace, count: int = 1, flow: str = "work") -> list[int]:
    until(lambda: len(pids(place, flow)) >= count, what=f"{count} started steps")
    return pids(place, flow)


def release(place: Workspace, flow: str = "work") -> None:
    (place.path / f"flows/{flow}/go").touch()


def is_alive(pid: int) -> bool:
    return os.path.exists(f"/proc/{pid}")


def send(place: Workspace, number: int) -> None:
    assert place.process is not None
    place.process.send_signal(number)


def ended(place: Workspace, bound_s: float = 60.0) -> int:
    assert place.process is not None
    return place.process.wait(bound_s)


def said(place: Workspace, words: str) -> None:
    until(lambda: words in place.log(), what=f"{words!r} in the log")


def run(place: Workspace, run_id: str) -> dict[str, Any]:
    answer: dict[str, Any] = place.call("flow.waitRun", runId=run_id, timeoutMs=50_000)["run"]
    return answer


# --- policies and signals


def test_the_first_signal_waits_says_for_what_and_goes_on_accepting(place: Workspace) -> None:
    place.flow("work", WAITS)
    place.start(FLOWD_MAX_PARALLEL="1")
    first, queued = dispatch(place, "e1"), dispatch(place, "e2")
    (pid,) = started(place)
    send(place, signal.SIGTERM)
    said(place, "waiting for running steps; stop again to cancel them")
    until(lambda: first in place.log().split("waiting for running steps")[1], what="the run that is waited for")
    assert place.call("daemon.status")["state"] == "draining"
    late = dispatch(place, "e3")
    assert is_alive(pid)
    release(place)
    assert ended(place) == 0
    assert len(pids(place)) == 1, "nothing new may start while the daemon drains"
    assert '"left_queued": 2' in place.log()
    place.start()
    assert run(place, first)["effectiveStatus"] == "changed"
    for run_id in (queued, late):
        assert (run(place, run_id)["effectiveStatus"], run(place, run_id)["attemptCount"]) == ("changed", 1)


def test_the_second_signal_cancels_and_the_third_kills(place: Workspace) -> None:
    place.flow("work", WAITS)
    place.flow("stubborn", STUBBORN, step="grace_ms = 60000")
    place.start()
    willing, stubborn = dispatch(place, "e1"), dispatch(place, "e2", "stubborn")
    (tame,), (wild,) = started(place), started(place, flow="stubborn")
    send(place, signal.SIGINT)
    said(place, "waiting for running steps")
    assert is_alive(tame)
    send(place, signal.SIGINT)
    said(place, "canceling running steps; stop again to kill them")
    until(lambda: not is_alive(tame), what="the end of the step that obeys")
    assert is_alive(wild)
    send(place, signal.SIGTERM)
    assert ended(place) == 0
    assert not is_alive(wild)
    place.start()
    assert [run(place, run_id)["status"] for run_id in (willing, stubborn)] == ["canceled", "canceled"]
    assert "SIGKILL" in run(place, stubborn)["error"]


def test_where_the_policy_is_to_cancel_one_signal_does(place: Workspace) -> None:
    place.flow("work", WAITS)
    place.start(FLOWD_ON_STOP="cancel")
    run_id = dispatch(place, "e1")
    (pid,) = started(place)
    assert place.stop() == 0
    assert not is_alive(pid)
    place.start()
    assert run(place, run_id)["status"] == "canceled"


@pytest.mark.parametrize("environment", [{"FLOWD_ON_STOP": "keep"}, {"INVOCATION_ID": "0123456789abcdef"}])
def test_kept_steps_run_on_and_the_next_daemon_has_their_exact_end(
    place: Workspace, environment: dict[str, str]
) -> None:
    place.flow("work", f"{WAITS}; exit 7")
    place.start(**environment)
    run_id = dispatch(place, "e1")
    (pid,) = started(place)
    assert place.stop() == 0
    assert is_alive(pid)
    assert "leaving running steps to the keeper" in place.log()
    assert run_id in place.log().split("leaving running steps")[1]
    release(place)
    place.start()
    view = run(place, run_id)
    assert (view["exitCode"], view["reason"], view["attempts"][0]["pid"]) == (7, "exit", pid)
    assert view["attemptCount"] == 1


# --- drain and reload


def test_a_drained_daemon_stops_at_once(place: Workspace) -> None:
    place.flow("work", WAITS)
    place.start()
    dispatch(place, "e1")
    started(place)
    late = subprocess.run(
        [*CLI, "-w", str(place.path), "drain", "--timeout", "300ms"], capture_output=True, text=True, timeout=30
    )
    assert (late.returncode, "work/main" in late.stderr) == (1, True), late
    with subprocess.Popen([*CLI, "-w", str(place.path), "drain", "--wait"], stdout=subprocess.PIPE) as waiting:
        assert waiting.stdout is not None
        assert waiting.stdout.readline() == b"draining; 1 run under way\n"
        queued = dispatch(place, "e2")
        assert waiting.poll() is None
        release(place)
        assert waiting.wait(60) == 0
        assert waiting.stdout.read() == b"nothing runs any more\n"
    assert place.call("flow.getRun", runId=queued)["run"]["status"] == "queued"
    assert place.stop() == 0


def test_reload_and_sighup_tell_what_changed_and_what_is_broken(place: Workspace) -> None:
    place.flow("old", WAITS)
    place.start(FLOWD_RESCAN_INTERVAL_S="3600")
    place.flow("fresh", say("changed"))
    (place.path / "flows/old/flow.toml").write_text("name = ")
    send(place, signal.SIGHUP)
    said(place, '"reloaded"')
    said(place, "broken")
    assert place.process is not None
    assert place.process.poll() is None
    flows = place.call("flow.listFlows")
    assert {flow["name"]: flow["state"] for flow in flows["flows"]} == {"fresh": "ok", "old": "stale"}
    shown = subprocess.run([*CLI, "-w", str(place.path), "reload"], capture_output=True, text=True, timeout=30)
    assert shown.returncode == 0
    assert "broken old" in shown.stdout
    assert "flow.toml" in shown.stdout


# --- without a daemon


@without_leases
def test_a_keeper_that_no_daemon_comes_back_to_ends_its_steps_and_itself(place: Workspace) -> None:
    place.flow("work", WAITS)
    place.flow("stubborn", STUBBORN, step="grace_ms = 300")
    place.start(FLOWD_ORPHAN_GRACE_S="2")
    ids = [dispatch(place, "e1"), dispatch(place, "e2", "stubborn")]
    steps = [*started(place), *started(place, flow="stubborn")]
    keeper = place.keeper_pid()
    place.kill()
    killed_s = time.monotonic()
    assert all(map(is_alive, steps))
    until(lambda: not any(map(is_alive, steps)), what="the end of the steps")
    assert time.monotonic() - killed_s > 1.5
    until(lambda: not is_alive(keeper), what="the end of the keeper")
    place.start()
    views = [run(place, run_id) for run_id in ids]
    assert [view["reason"] for view in views] == ["interrupted", "interrupted"]
    assert [view["attempts"][0].get("signal") for view in views] == [signal.SIGTERM, signal.SIGKILL]
    assert all("orphan_grace_s" in view["error"] for view in views)


def test_an_adopted_attempt_has_its_pid_though_the_daemon_died_at_its_start(place: Workspace) -> None:
    place.flow("work", WAITS)
    place.start()
    run_id = dispatch(place, "e1")
    place.kill()  # most likely before the pid was written down, which happens after 0.1 s
    place.start()
    (pid,) = started(place)
    until(lambda: place.call("flow.getRun", runId=run_id)["run"]["attempts"][0].get("pid") == pid, what="the pid")
    release(place)
    assert run(place, run_id)["effectiveStatus"] == "changed"


# --- in a terminal

needs_setsid = pytest.mark.skipif(shutil.which("setsid") is None, reason="setsid makes the terminal the daemon's")


@contextlib.contextmanager
def in_terminal(place: Workspace) -> Iterator[FileIO]:
    """The daemon in the foreground of a terminal of its own; gives the terminal's other end."""
    ours, theirs = pty.openpty()
    place.process = subprocess.Popen(
        ["setsid", "--ctty", *CLI, "serve", "-w", str(place.path)], stdin=theirs, stdout=theirs, stderr=theirs
    )
    os.close(theirs)
    with FileIO(ours, "r+") as terminal:
        read_until(terminal, "ready")
        yield terminal


def read_until(terminal: FileIO, words: str, *, bound_s: float = 60.0) -> str:
    """What the terminal shows until it shows these words, or until nobody writes to it any more."""
    shown = b""
    deadline = time.monotonic() + bound_s
    while words.encode() not in shown:
        assert time.monotonic() < deadline, shown
        if select.select([terminal], [], [], 0.1)[0]:
            try:
                shown += terminal.read(65536) or b""
            except OSError:  # the other end is closed
                break
    return shown.decode()


@needs_setsid
def test_ctrl_c_in_a_terminal_reads_well(place: Workspace) -> None:
    place.flow("work", WAITS)
    with in_terminal(place) as terminal:
        run_id = dispatch(place, "e1")
        started(place)
        terminal.write(b"\x03")
        shown = read_until(terminal, f"running step  flow=work step=main run_id={run_id}")
        assert "waiting for running steps; stop again to cancel them" in shown
        terminal.write(b"\x03")
        shown += read_until(terminal, "left_running=0")
        assert ended(place) == 0
    assert "Traceback" not in shown
    lines = [line for line in shown.replace("^C\r\x1b[K", "").splitlines() if line.strip()]
    assert all(line[2] == line[5] == ":" for line in lines), lines  # nothing but whole log lines


@needs_setsid
def test_closing_the_terminal_stops_the_daemon(place: Workspace) -> None:
    with in_terminal(place) as terminal:
        assert place.process is not None
        pid = place.call("daemon.status")["pid"]
        terminal.close()
        until(lambda: not is_alive(pid) or Path(f"/proc/{pid}/stat").read_text().split()[2] == "Z", what="its end")
        assert ended(place) == 0
        assert not place.socket.exists()
