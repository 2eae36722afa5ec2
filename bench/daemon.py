"""A daemon to measure, in a scratch workspace on a real disk (never a tmpfs: an fsync there costs nothing)."""

import contextlib
import os
import subprocess
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from bench import load
from bench.subjects import Subject

STEP = '#!/bin/sh\necho \'FLOW_RESULT {"status":"completed"}\'\n'


def add_flow(
    workspace: Path,
    name: str,
    event_type: str,
    *,
    steps: int = 1,
    script: str = STEP,
    runner: str = "exec",
    more: str = "",
) -> Path:
    """Write a package whose steps all run the script when the event comes, each with ``more`` of its manifest; returns
    the script's path."""
    folder = workspace / "flows" / name
    folder.mkdir(parents=True)
    program = folder / ("main.py" if runner == "python" else "main.sh")
    program.write_text(script, encoding="utf-8")
    program.chmod(0o755)
    tables = "".join(
        f'[[steps]]\nname = "s{n}"\nrunner = "{runner}"\nscript = "{program.name}"\ntimeout_ms = 3600000\n'
        f'[steps.trigger]\ntype = "{event_type}"\n{more}'
        for n in range(steps)
    )
    (folder / "flow.toml").write_text(f'name = "{name}"\nversion = 1\n{tables}', encoding="utf-8")
    return program


@contextlib.contextmanager
def scratch() -> Iterator[Path]:
    """A scratch workspace on the disk that the checkout is on."""
    with tempfile.TemporaryDirectory(prefix="flowd-bench-", dir=Path.cwd(), ignore_cleanup_errors=True) as folder:
        yield Path(folder)


def cpu_s(pid: int) -> float:
    """Processor time that a process has used, its ended threads included, its children not.

    It is the sum of utime and stime in `/proc/PID/stat`, without that file's steps of 10 ms.
    """
    return time.clock_gettime((~pid << 3) | 2)  # CPUCLOCK_SCHED of that process: see clock_getcpuclockid(3)


def children_cpu_s(pid: int) -> float:
    """Processor time of the children that have ended (cutime and cstime)."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[13]) + int(fields[14])) / os.sysconf("SC_CLK_TCK")


def rss_mb(pid: int) -> float:
    """Resident memory, in MB of 10⁶ bytes."""
    pages = int(Path(f"/proc/{pid}/statm").read_text().split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE") / 1e6


def peak_mb(pid: int) -> float:
    """Resident memory at most, in MB of 10⁶ bytes."""
    fields = dict(line.split(":", 1) for line in Path(f"/proc/{pid}/status").read_text().splitlines())
    return int(fields["VmHWM"].split()[0]) * 1024 / 1e6


@dataclass(frozen=True)
class Daemon:
    """A daemon that is ready.

    Attributes:
        workspace: Its workspace.
        pid: Its own.
        keeper_pid: Its keeper's.
        ready_s: Seconds from its start to its first answer.
    """

    workspace: Path
    pid: int
    keeper_pid: int
    ready_s: float

    @property
    def socket(self) -> str:
        """The path of its socket."""
        return _socket(self.workspace)

    def call(self, method: str, **params: object) -> Any:
        """One JSON-RPC call; returns its result."""
        return load.call(self.socket, method, **params)

    def http(self) -> load.Address:
        """The address of its HTTP port; it was started with `--http`."""
        host, _, port = self.call("daemon.status")["http"].rpartition("/")[2].rpartition(":")
        return host, int(port)


@contextlib.contextmanager
def running(subject: Subject, workspace: Path, *arguments: str, **environment: str) -> Iterator[Daemon]:
    """Start a daemon, wait until it answers, and stop it in the end."""
    began = time.perf_counter()
    process = subprocess.Popen(
        [subject.flowd, "serve", "-w", str(workspace), *arguments],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        env={**os.environ, **environment},
    )
    try:
        status = _first_answer(process, workspace)
        yield Daemon(workspace, process.pid, status["keeper"]["pid"], time.perf_counter() - began)
    finally:
        process.terminate()
        process.wait()


def _first_answer(process: "subprocess.Popen[bytes]", workspace: Path) -> Any:
    deadline = time.monotonic() + 60
    while True:
        try:
            return load.call(_socket(workspace), "daemon.status")
        except OSError as problem:
            if process.poll() is not None or time.monotonic() > deadline:
                raise RuntimeError(f"flowd serve -w {workspace} does not answer") from problem
            time.sleep(0.002)


def _socket(workspace: Path) -> str:
    return str(workspace / ".codex" / "flowd" / "flowd.sock")
