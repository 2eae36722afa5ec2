"""The worst wait of an honest client beside each hostile one. It asserts nothing: what is too long is for a reader."""

import contextlib
import http.client
import json
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

from bench import hostile_clients
from bench.daemon import Daemon, add_flow, peak_mb, running, scratch
from bench.figures import Figure
from bench.subjects import Subject

ROUNDS = 15
TOKEN = "bench"
SLOW = "#!/bin/sh\nexec sleep 600\n"


def hostile(subject: Subject) -> Iterator[Figure]:
    """Beside each: the worst wait of a status and a dispatch on the socket and of a GET, and the daemon's memory."""
    with scratch() as workspace:
        add_flow(workspace, "slow", "slow.go", script=SLOW)
        with running(subject, workspace, "--http", "127.0.0.1:0", FLOWD_HTTP_TOKEN=TOKEN) as daemon:
            (run_id,) = daemon.call("flow.dispatch", event={"id": "slow", "type": "slow.go"})["runIds"]
            yield from _figures(daemon, "nobody")
            for kind in hostile_clients.KINDS:
                with _beside(daemon, kind, run_id):
                    _forget_peak(daemon.pid)
                    yield from _figures(daemon, kind)
                    yield Figure(f"beside {kind}: daemon's memory at most", peak_mb(daemon.pid), "MB")
            daemon.call("flow.cancelRun", runId=run_id)


def _forget_peak(pid: int) -> None:
    """From now on the kernel's peak of this process's memory is that since now (proc(5), clear_refs)."""
    Path(f"/proc/{pid}/clear_refs").write_text("5", encoding="ascii")


@contextlib.contextmanager
def _beside(daemon: Daemon, kind: str, run_id: str) -> Iterator[None]:
    asked = {"kind": kind, "socket": daemon.socket, "http": daemon.http(), "run_id": run_id, "token": TOKEN}
    process = subprocess.Popen(
        [sys.executable, "-I", "-S", hostile_clients.__file__, json.dumps(asked)], stdout=subprocess.PIPE
    )
    try:
        assert process.stdout is not None
        process.stdout.readline()  # it has begun
        yield
    finally:
        process.kill()
        process.communicate()


def _figures(daemon: Daemon, kind: str) -> Iterator[Figure]:
    waits: dict[str, list[float]] = {"status": [], "dispatch": [], "GET /status": []}
    for number in range(ROUNDS):
        event = {"id": f"{kind}-{number}", "type": "bench.nothing"}
        for name, ask in (
            ("status", lambda: daemon.call("daemon.status")),
            ("dispatch", lambda event=event: daemon.call("flow.dispatch", event=event)),
            ("GET /status", lambda: _get(daemon)),
        ):
            began = time.perf_counter()
            ask()
            waits[name].append(time.perf_counter() - began)
    for name, took_s in waits.items():
        yield Figure(f"beside {kind}: worst wait, {name}", max(took_s) * 1000, "ms")


def _get(daemon: Daemon) -> None:
    address = _address(daemon)
    connection = http.client.HTTPConnection(*address, timeout=60)
    try:
        connection.request("GET", "/status", headers={"authorization": f"Bearer {TOKEN}"})
        connection.getresponse().read()
    finally:
        connection.close()


_addresses: dict[int, tuple[str, int]] = {}


def _address(daemon: Daemon) -> tuple[str, int]:
    """Asked once: to ask is a call of its own."""
    if daemon.pid not in _addresses:
        host, port = daemon.http()
        _addresses[daemon.pid] = str(host), int(port)
    return _addresses[daemon.pid]
