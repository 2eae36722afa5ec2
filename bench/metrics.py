"""What it costs others that Prometheus asks for 1,000 flows' figures."""

import threading
import time
from collections.abc import Callable, Iterator
from statistics import median

from bench.daemon import Daemon, add_flow, cpu_s, running, scratch
from bench.figures import Figure
from bench.load import Load, connect, dispatch, rpc, send
from bench.subjects import Subject

FLOWS = 1000
LOOKS = 30


def metrics(subject: Subject) -> Iterator[Figure]:
    """/metrics of 1,000 flows: its CPU time, its size, and how long another caller waits beside it."""
    with scratch() as workspace:
        for n in range(FLOWS):
            add_flow(workspace, f"f{n:04}", f"type.{n}")
        with running(subject, workspace, "--http", "127.0.0.1:0", FLOWD_HTTP_OPEN="1") as daemon:
            requests = [dispatch(f"e{n}", f"type.{n}", wait=True) for n in range(FLOWS)]
            send(Load(daemon.socket, requests, callers=16))
            first_ms = _longest_wait_ms(daemon, lambda: _look(daemon))
            before_s = cpu_s(daemon.pid)
            size = [_look(daemon) for _ in range(LOOKS)][-1]
            cpu_ms = (cpu_s(daemon.pid) - before_s) / LOOKS * 1000
            beside, alone = [], []
            for _ in range(LOOKS):  # in turn: what the machine does meanwhile hits both alike
                beside.append(_longest_wait_ms(daemon, lambda: _look(daemon)))
                alone.append(_longest_wait_ms(daemon, lambda: time.sleep(0.03)))
    yield Figure("/metrics of 1,000 flows, CPU", cpu_ms, "ms")
    yield Figure("/metrics of 1,000 flows, size", size / 1000, "kB")
    yield Figure("longest wait beside /metrics, median", median(beside), "ms", {"beside nothing": median(alone)})
    yield Figure("longest wait beside the first /metrics", first_ms, "ms")


def _look(daemon: Daemon) -> int:
    """Ask for the figures once; how many bytes they are."""
    request = b"GET /metrics HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n"
    with connect(daemon.http()) as connection:
        connection.sendall(request)
        received = 0
        while chunk := connection.recv(1 << 20):
            received += len(chunk)
    return received


def _longest_wait_ms(daemon: Daemon, meanwhile: Callable[[], object]) -> float:
    """How long a caller that asks all the time for next to nothing waits at most while something is done."""
    request, longest_s, is_over = rpc("flow.getRun", runId="none").encode() + b"\n", 0.0, threading.Event()
    working = threading.Thread(target=lambda: (meanwhile(), is_over.set()))
    with connect(daemon.socket) as connection:
        connection.sendall(request)
        connection.recv(65536)
        working.start()
        while not is_over.is_set():
            began_s = time.perf_counter()
            connection.sendall(request)
            connection.recv(65536)
            longest_s = max(longest_s, time.perf_counter() - began_s)
        working.join()
    return longest_s * 1000
