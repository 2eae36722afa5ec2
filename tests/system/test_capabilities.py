"""The main cases of supervision, with each capability switched off that a kernel, a sandbox or macOS may lack."""

import os
import re
import signal
from pathlib import Path

import pytest
from daemon_rig import Workspace, say, until, without_leases
from keeper_rig import is_alive

pytestmark = pytest.mark.skipif(not Path("/proc/self/stat").exists(), reason="these tests look at processes by /proc")

WITHOUT = [
    "",
    "pidfd",
    "pidfd_info",
    "subreaper",
    "proc",
    "waitid",
    "badge,memfd,peercred,cgroup,clone3",
    "pidfd,pidfd_info,subreaper,proc,waitid,badge,memfd,cgroup,clone3,peercred",
]
"""Nothing, each that takes another way through supervision, the harmless ones together, and all."""

MESSY = f"""sleep 300 & echo $! >>pids
setsid sh -c 'echo $$ >>pids; exec sleep 300' &
(setsid sh -c '(trap "" TERM; sleep 300 & echo $! >>pids; wait) &')
while [ "$(wc -l <pids)" -lt 3 ]; do sleep 0.01; done
{say("changed")}"""
DEAF = """trap '' TERM
setsid sh -c 'trap "" TERM; echo $$ >>pids; while :; do sleep 1; done' &
echo $$ >>pids
while :; do sleep 1; done"""
HELD = f"echo $$ >>pids; while [ ! -e go ]; do sleep 0.02; done; {say('changed')}; exit 7"


def pids(place: Workspace, flow: str, count: int) -> list[int]:
    """What a flow's step wrote into ``pids``, once it is so much."""
    file = place.path / "flows" / flow / "pids"

    def told() -> list[int]:
        words = file.read_text().split() if file.exists() else []
        return [int(word) for word in words] if len(words) >= count else []

    return list(until(told, what=f"{flow} told {count} pids"))


def dispatch(place: Workspace, flow: str) -> str:
    """Start a flow's step; the id of its run."""
    answer = place.call("flow.dispatch", event={"id": f"{flow}-1", "type": f"{flow}.go", "payload": {}})
    return str(answer["runIds"][0])


def ended(place: Workspace, run_id: str) -> dict[str, object]:
    """The run when it is over."""
    run = place.call("flow.waitRun", runId=run_id, timeoutMs=50_000)["run"]
    assert run["status"] not in ("queued", "running"), run
    return dict(run)


@pytest.mark.parametrize("without", WITHOUT)
def test_supervision_holds(place: Workspace, without: str) -> None:
    place.flow("messy", MESSY, step="grace_ms = 200")
    place.flow("deaf", DEAF, step="timeout_ms = 3000\ngrace_ms = 200")
    place.flow("canceled", DEAF, step="grace_ms = 200")
    place.flow("held", HELD)
    place.start(FLOWD_WITHOUT=without, FLOWD_MAX_PARALLEL="8")
    (line,) = re.findall(r" can (\S*);", (place.path / ".codex/flowd/keeper/keeper.log").read_text())
    assert not set(line.split(",")) & set(filter(None, without.split(",")))
    runs = {flow: dispatch(place, flow) for flow in ("messy", "deaf", "canceled", "held")}

    # A good end: the result stands, what was left behind is ended and named.
    messy = ended(place, runs["messy"])
    assert (messy["status"], messy["effectiveStatus"]) == ("completed", "changed")
    left = pids(place, "messy", 3)
    assert not [pid for pid in left if is_alive(pid)]
    assert {f"{pid} sleep" for pid in left} <= set(messy["attempts"][0]["leftovers"])  # type: ignore[index]

    # A timeout and a cancel reach what has left the session and ignores SIGTERM.
    assert pids(place, "canceled", 2)
    place.call("flow.cancelRun", runId=runs["canceled"])
    for flow, reason in (("deaf", "timeout"), ("canceled", "canceled")):
        run = ended(place, runs[flow])
        assert (run["reason"], run.get("signal")) == (reason, signal.SIGKILL)
        assert not [pid for pid in pids(place, flow, 2) if is_alive(pid)]

    # Both daemon and keeper die: the step goes on and is adopted.
    (step,) = pids(place, "held", 1)
    keeper = place.keeper_pid()
    place.kill()
    os.kill(keeper, signal.SIGKILL)
    place.start(FLOWD_WITHOUT=without)
    assert is_alive(step)
    (place.path / "flows/held/go").touch()
    held = ended(place, runs["held"])
    # Where nobody could see its exit, its result stands in for it.
    assert (held.get("exitCode"), held["status"]) in ((7, "failed"), (None, "completed"))
    assert held["attemptCount"] == 1


def test_a_sigterm_of_the_keeper_ends_all_steps_and_says_so(place: Workspace) -> None:
    place.flow("held", HELD)
    place.start()
    run_id = dispatch(place, "held")
    (step,) = pids(place, "held", 1)
    os.kill(place.keeper_pid(), signal.SIGTERM)
    run = ended(place, run_id)
    assert (run["status"], run["reason"], run["signal"]) == ("failed", "interrupted", signal.SIGTERM)
    assert "keeper was told to end" in str(run["error"])
    assert not is_alive(step)


@without_leases
def test_without_a_daemon_steps_end_after_the_grace_and_the_next_daemon_says_why(place: Workspace) -> None:
    place.flow("held", HELD)
    place.start(FLOWD_ORPHAN_GRACE_S="0.5")
    run_id = dispatch(place, "held")
    (step,) = pids(place, "held", 1)
    place.kill()
    until(lambda: not is_alive(step), what="the orphaned step's end")
    place.start()
    run = ended(place, run_id)
    assert (run["status"], run["reason"]) == ("failed", "interrupted")
    assert "orphan_grace_s" in str(run["error"])
