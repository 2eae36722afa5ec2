"""A daemon to measure, in a scratch workspace on a real disk (never a tmpfs: an fsync there costs nothing)."""

import contextlib
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

from flowd_client import create_flow_client
from flowd_client.client import FlowClient

SCRIPT = '#!/bin/sh\necho \'FLOW_RESULT {"status":"completed"}\'\n'


def add_flow(workspace: Path, name: str, event_type: str) -> Path:
    """A package with one `sh` step; returns its script."""
    folder = workspace / "flows" / name
    folder.mkdir(parents=True)
    script = folder / "main.sh"
    script.write_text(SCRIPT, encoding="utf-8")
    script.chmod(0o755)
    (folder / "flow.toml").write_text(
        f'name = "{name}"\nversion = 1\n[[steps]]\nname = "main"\nrunner = "exec"\nscript = "main.sh"\n'
        f'[steps.trigger]\ntype = "{event_type}"\n',
        encoding="utf-8",
    )
    return script


@contextlib.contextmanager
def scratch() -> Iterator[Path]:
    """A scratch workspace beside the checkout's own files."""
    with tempfile.TemporaryDirectory(prefix="flowd-bench-", dir=Path.cwd(), ignore_cleanup_errors=True) as folder:
        yield Path(folder)


class Daemon:
    """A running daemon."""

    def __init__(self, workspace: Path, process: "subprocess.Popen[bytes]", ready_s: float) -> None:
        self.workspace = workspace
        self.process = process
        self.ready_s = ready_s
        self.socket = workspace / ".codex" / "flowd" / "flowd.sock"

    def client(self) -> FlowClient:
        """A blocking client."""
        return create_flow_client(mode="socket", workspace=self.workspace, timeout_s=300)


@contextlib.contextmanager
def running(workspace: Path, *arguments: str) -> Iterator[Daemon]:
    """A daemon that answers; stopped at the end."""
    began = time.perf_counter()
    process = subprocess.Popen(
        [sys.executable, "-m", "flowd", "serve", "-w", str(workspace), *arguments],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    daemon = Daemon(workspace, process, 0.0)
    try:
        while True:
            try:
                with daemon.client() as client:
                    client.status()
                break
            except Exception:
                if process.poll() is not None or time.perf_counter() - began > 30:
                    raise
                time.sleep(0.005)
        daemon.ready_s = time.perf_counter() - began
        yield daemon
    finally:
        process.terminate()
        process.wait()
