"""Limits and use of a step, from its manifest to the views."""

import os
import resource
import signal
import sys

from daemon_rig import Workspace, say, until


def run_of(place: Workspace, flow: str) -> dict[str, object]:
    """Dispatch to a flow and wait for its run's end."""
    event = {"id": f"{flow}-1", "type": f"{flow}.go", "payload": {}}
    (run_id,) = place.call("flow.dispatch", event=event)["runIds"]
    return dict(place.call("flow.waitRun", runId=run_id, timeoutMs=50_000)["run"])


def test_a_steps_limits_hold_and_its_use_is_shown(place: Workspace) -> None:
    nicer = min(19, os.nice(0) + 6)  # whoever is not root can ask for no less than what they have
    limits = f"[steps.limits]\nopen_files = 40\nniceness = {nicer}\numask = '0077'\ncpu_time_s = 1"
    place.flow("kept", f"ulimit -n; nice; umask; ulimit -t; {say('completed')}", step=limits)
    place.flow("spin", "while :; do :; done", step=limits)
    place.flow("large", f"{sys.executable} -c 'b = b\"x\" * (80 << 20)'; {say('completed')}")
    place.start()
    kept = run_of(place, "kept")
    assert kept["status"] == "completed"
    assert kept["output"][0]["text"].split()[:4] == ["40", str(nicer), "0077", "1"]  # type: ignore[index]
    spin = run_of(place, "spin")
    assert (spin["status"], spin["reason"], spin["signal"]) == ("failed", "signal", signal.SIGXCPU)
    assert "used up cpu_time_s" in str(spin["error"])
    # The kernel holds to the limit by whole ticks, also where others ran in a part of one, and reports what was used.
    assert spin["attempts"][0]["cpuMs"] > 250  # type: ignore[index]
    large = run_of(place, "large")["attempts"][0]  # type: ignore[index]
    assert 80 << 20 < large["maxRssBytes"] < 200 << 20


def test_a_limit_that_cannot_be_kept_fails_the_run_with_the_remedy(place: Workspace) -> None:
    # Root is not bound by RLIMIT_NPROC, and nobody else may be nicer to itself.
    name, value, remedy = ("niceness", -5, "Only root") if os.geteuid() else ("processes", 5, "DelegateSubgroup=")
    place.flow("greedy", "true", step=f"[steps.limits]\n{name} = {value}")
    place.start(FLOWD_CGROUP="off")
    run = run_of(place, "greedy")
    assert (run["status"], run["reason"]) == ("failed", "spawn")
    assert f"limit {name} cannot be kept" in str(run["error"])
    assert remedy in str(run["error"])


def test_a_bad_limit_breaks_its_package_with_the_line(place: Workspace) -> None:
    place.flow("bad", "true", step="[steps.limits]\nmemory = 5")
    place.start()
    (broken,) = place.call("flow.listFlows")["broken"]
    assert "memory" in broken["error"]
    assert broken["line"]


def test_the_daemon_raises_its_limit_of_open_files_and_steps_keep_theirs(place: Workspace) -> None:
    place.flow("look", f"ulimit -Sn; ulimit -Hn; {say('completed')}")
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    low = min(hard, 512) if hard != resource.RLIM_INFINITY else 512
    resource.setrlimit(resource.RLIMIT_NOFILE, (low, hard))
    try:
        place.start()
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
    assert place.process is not None
    if sys.platform == "linux":
        found = until(lambda: resource.prlimit(place.process.pid, resource.RLIMIT_NOFILE))  # type: ignore[union-attr]
        assert found == (hard, hard)
    told = run_of(place, "look")["output"][0]["text"].split()[:2]  # type: ignore[index]
    assert told == [str(low), str(hard) if hard != resource.RLIM_INFINITY else "unlimited"]
