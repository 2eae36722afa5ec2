"""Many steps at once, and much output."""

import time
from collections.abc import Iterator
from pathlib import Path

from bench.daemon import Daemon, add_flow, cpu_s, rss_mb, running, scratch
from bench.figures import Figure
from bench.load import Load, dispatch, send
from bench.subjects import Subject

SLEEPERS = 1000
STEPS_OF_A_FLOW = 100
WATCHED_S = 10.0
LOUD_RUNS = 500
PARALLEL = 8
SLEEP = "#!/bin/sh\nsleep 3600\n"
LOUD = "#!/bin/sh\nhead -c 1048576 /dev/zero | tr '\\0' x; echo\necho 'FLOW_RESULT {\"status\":\"completed\"}'\n"


def steps(subject: Subject) -> Iterator[Figure]:
    """1,000 sleeping steps (each a shell and a `sleep`): starting, holding and canceling them."""
    with scratch() as workspace:
        for n in range(SLEEPERS // STEPS_OF_A_FLOW):
            add_flow(workspace, f"f{n:02}", "many.go", steps=STEPS_OF_A_FLOW, script=SLEEP)
        with running(subject, workspace, FLOWD_MAX_PARALLEL=str(SLEEPERS)) as daemon:
            began = time.perf_counter()
            daemon.call("flow.dispatch", event={"id": "e", "type": "many.go", "payload": {}})
            while _children(daemon.keeper_pid) < SLEEPERS:
                time.sleep(0.1)
            yield Figure(f"start {SLEEPERS:,} steps", time.perf_counter() - began, "s")
            yield from _held(daemon)
            began = time.perf_counter()
            daemon.call("flow.cancelEvent", eventId="e")
            yield Figure(f"cancel {SLEEPERS:,} steps", time.perf_counter() - began, "s")


def _held(daemon: Daemon) -> Iterator[Figure]:
    time.sleep(2)
    pids = (daemon.pid, daemon.keeper_pid)
    before_s = sum(map(cpu_s, pids))
    time.sleep(WATCHED_S)
    percent = (sum(map(cpu_s, pids)) - before_s) / WATCHED_S * 100
    yield Figure(f"daemon and keeper beside {SLEEPERS:,} steps, CPU", percent, "%")
    yield Figure(f"daemon and keeper beside {SLEEPERS:,} steps, RSS", sum(map(rss_mb, pids)), "MB")


def _children(pid: int) -> int:
    return len(Path(f"/proc/{pid}/task/{pid}/children").read_text().split())


def output(subject: Subject) -> Iterator[Figure]:
    """Runs with 1 MiB of output each: how many a second, and by how much the daemon grows in the second half."""
    with scratch() as workspace:
        add_flow(workspace, "loud", "loud.go", script=LOUD)
        with running(subject, workspace, FLOWD_MAX_PARALLEL=str(PARALLEL)) as daemon:
            halves, sizes_mb = [], []
            for half in range(2):
                requests = [dispatch(f"o{half}-{n}", "loud.go", wait=True) for n in range(LOUD_RUNS // 2)]
                halves.append(send(Load(daemon.socket, requests, callers=PARALLEL)))
                sizes_mb.append(rss_mb(daemon.pid))
    yield Figure("runs/s with 1 MiB of output", LOUD_RUNS / sum(half.whole_s for half in halves), "/s")
    yield Figure("daemon after 500 runs with 1 MiB, RSS", sizes_mb[1], "MB", {"after 250 runs": sizes_mb[0]})
