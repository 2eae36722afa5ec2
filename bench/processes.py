"""What its processes cost: the command line, starting, and a daemon with nothing to do."""

import contextlib
import os
import subprocess
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from statistics import median

from bench.daemon import Daemon, add_flow, cpu_s, rss_mb, running, scratch
from bench.figures import Figure
from bench.load import Load, dispatch, send
from bench.subjects import Subject

CALLS = 15
IDLE_S = 5.0
_CLIENT = "import flowd_client; flowd_client.create_flow_client(socket_path='/nowhere')"


@dataclass
class _Timed:
    """Calls of a command: how long each took, and the CPU time that it used, in milliseconds."""

    argv: list[str]
    environ: dict[str, str] = field(default_factory=dict)
    wall_ms: list[float] = field(default_factory=list)
    cpu_ms: list[float] = field(default_factory=list)

    def call(self) -> None:
        began = time.perf_counter()
        process = subprocess.Popen(self.argv, stdout=subprocess.DEVNULL, env={**os.environ, **self.environ})
        _, status, usage = os.wait4(process.pid, 0)
        self.wall_ms.append((time.perf_counter() - began) * 1000)
        self.cpu_ms.append((usage.ru_utime + usage.ru_stime) * 1000)
        process.returncode = os.waitstatus_to_exitcode(status)
        if process.returncode:
            raise RuntimeError(f"{self.argv} exited with {process.returncode}")


@contextlib.contextmanager
def _after_runs(subject: Subject, workspace: Path) -> Iterator[Daemon]:
    """A daemon that has run 50 steps."""
    add_flow(workspace, "one", "one.go")
    with running(subject, workspace) as daemon:
        send(Load(daemon.socket, [dispatch(f"i-{n}", "one.go", wait=True) for n in range(50)], callers=4))
        yield daemon


def _completing(typed: str) -> dict[str, str]:
    """What bash tells a command that is to complete the last word."""
    return {"_FLOWD_COMPLETE": "bash_complete", "COMP_WORDS": typed, "COMP_CWORD": str(len(typed.split()) - 1)}


def commands(subject: Subject) -> Iterator[Figure]:
    """`flowd runs`, the completion of a run's id, `flowd --version` and an import of the client, beside an interpreter
    that does nothing."""
    with scratch() as workspace, _after_runs(subject, workspace):
        nothing = _Timed([subject.python, "-c", "pass"])
        ours = {
            "flowd runs": _Timed([subject.flowd, "runs", "-w", str(workspace)]),
            "completion of a run": _Timed([subject.flowd], _completing(f"flowd run -w {workspace} run_")),
            "flowd --version": _Timed([subject.flowd, "--version"]),
            "import flowd_client": _Timed([subject.python, "-c", _CLIENT]),
        }
        for _ in range(CALLS):
            for timed in (nothing, *ours.values()):
                timed.call()
    for name, timed in ours.items():
        yield Figure(f"{name}, p50", median(timed.wall_ms), "ms", {"python -c pass": median(nothing.wall_ms)})
        yield Figure(f"{name}, CPU", median(timed.cpu_ms), "ms", {"python -c pass": median(nothing.cpu_ms)})


def idle(subject: Subject) -> Iterator[Figure]:
    """Start to ready, and memory and CPU of daemon and keeper once there is nothing to do after 50 runs."""
    with scratch() as workspace, _after_runs(subject, workspace) as daemon:
        pids = {"daemon": daemon.pid, "keeper": daemon.keeper_pid}
        time.sleep(1)
        before_s = {who: cpu_s(pid) for who, pid in pids.items()}
        time.sleep(IDLE_S)
        used_s = {who: cpu_s(pid) - before_s[who] for who, pid in pids.items()}
        memory_mb = {who: rss_mb(pid) for who, pid in pids.items()}
    yield Figure("start to ready", daemon.ready_s, "s")
    for who in pids:
        yield Figure(f"{who}, RSS idle", memory_mb[who], "MB")
        yield Figure(f"{who}, CPU idle", used_s[who] / IDLE_S * 100, "%")
