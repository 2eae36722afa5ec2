"""The worst wait of an honest client beside each hostile one. It asserts nothing: what is too long is for a reader."""

import contextlib
import http.client
import itertools
import json
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

from bench import crowds, hostile_clients
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
                with _beside(daemon, kind, hostile_clients.__file__, run_id=run_id):
                    yield from _figures_and_peak(daemon, kind)
            daemon.call("flow.cancelRun", runId=run_id)
    with scratch() as workspace:
        _add_crowds(workspace)
        with running(subject, workspace, "--http", "127.0.0.1:0", FLOWD_HTTP_TOKEN=TOKEN) as daemon:
            for kind in crowds.KINDS:
                with _beside(daemon, kind, crowds.__file__) as process:
                    yield from _figures_and_peak(
                        daemon, kind, is_over=lambda process=process: process.poll() is not None
                    )
                    if process.returncode:
                        raise RuntimeError(f"{kind} did not do what it is for")


def _add_crowds(workspace: Path) -> None:
    """What `crowds` needs."""
    for name in ("crowd", "keyed"):
        events = [{"type": f"{name}.one"}] * crowds.RUNS + [{"type": "nobody's"}] * (crowds.EVENTS - crowds.RUNS)
        said = {"status": "completed", "next": events}
        script = f"#!{sys.executable} -IS\nprint({f'FLOW_RESULT {json.dumps(said)}'!r})\n"
        add_flow(workspace, name, f"{name}.go", script=script)
    add_flow(workspace, "of-crowd", "crowd.one", script=SLOW)
    add_flow(workspace, "of-keyed", "keyed.one", script=SLOW, more='[steps.concurrency]\nkey = ["/id"]\n')
    for number in range(crowds.FLOWS):
        add_flow(workspace, f"wide-{number}", "wide", steps=crowds.STEPS, script=SLOW)


def _figures_and_peak(daemon: Daemon, kind: str, is_over: Callable[[], bool] = lambda: True) -> Iterator[Figure]:
    _forget_peak(daemon.pid)
    yield from _figures(daemon, kind, is_over)
    yield Figure(f"beside {kind}: daemon's memory at most", peak_mb(daemon.pid), "MB")


def _forget_peak(pid: int) -> None:
    """From now on the kernel's peak of this process's memory is that since now (proc(5), clear_refs)."""
    Path(f"/proc/{pid}/clear_refs").write_text("5", encoding="ascii")


@contextlib.contextmanager
def _beside(daemon: Daemon, kind: str, program: str, *, run_id: str = "") -> Iterator["subprocess.Popen[bytes]"]:
    asked = {"kind": kind, "socket": daemon.socket, "http": daemon.http(), "run_id": run_id, "token": TOKEN}
    process = subprocess.Popen([sys.executable, "-I", "-S", program, json.dumps(asked)], stdout=subprocess.PIPE)
    try:
        assert process.stdout is not None
        process.stdout.readline()  # it has begun
        yield process
    finally:
        process.kill()
        process.communicate()


def _figures(daemon: Daemon, kind: str, is_over: Callable[[], bool] = lambda: True) -> Iterator[Figure]:
    """Of so many rounds, and of more until it is over."""
    waits: dict[str, list[float]] = {"status": [], "dispatch": [], "GET /status": []}
    for number in itertools.count():
        if number >= ROUNDS and is_over():
            break
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
