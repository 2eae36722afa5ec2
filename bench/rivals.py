"""Programs that do the same work: what they need is measured in the same round. `None` where one is not installed."""

import contextlib
import json
import os
import shutil
import socket
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path
from statistics import median

from bench import load

CORES = os.cpu_count() or 1
WEBHOOK_CALLERS = 16


def xargs_s(script: Path, count: int, parallel: int) -> float:
    """`xargs`: starts a process for each line, and remembers nothing."""
    began = time.perf_counter()
    subprocess.run(
        ["xargs", f"-P{parallel}", "-n1", str(script)],
        input=b"1\n" * count,
        stdout=subprocess.DEVNULL,
        check=True,
    )
    return time.perf_counter() - began


def tsp_s(script: Path, count: int, folder: Path) -> float | None:
    """Task-spooler: one command hands in a job, its server runs as many at once as there are cores, output is kept."""
    tsp = shutil.which("tsp")
    if tsp is None:
        return None
    output = folder / "tsp"
    output.mkdir()
    environment = {**os.environ, "TMPDIR": str(output), "TS_SOCKET": str(output / "socket")}

    def run(*arguments: str) -> None:
        subprocess.run([tsp, *arguments], env=environment, stdout=subprocess.DEVNULL, check=True)

    run("-S", str(CORES))
    try:
        began = time.perf_counter()
        # One shell loop, as a user would write it: cheaper than to start each command from here.
        hand_in = f'i=0; while [ $i -lt {count} ]; do "$0" "$1"; i=$((i+1)); done'
        subprocess.run(
            ["/bin/sh", "-c", hand_in, tsp, str(script)], env=environment, stdout=subprocess.DEVNULL, check=True
        )
        for job in range(max(0, count - CORES), count):
            run("-w", str(job))
        return time.perf_counter() - began
    finally:
        run("-K")


def webhook_s(script: Path, count: int, folder: Path) -> float | None:
    """Debian's `webhook`: runs the script for each request, answers with its output, and remembers nothing."""
    webhook = shutil.which("webhook")
    if webhook is None:
        return None
    hooks = folder / "hooks.json"
    hook = {"id": "one", "execute-command": str(script), "include-command-output-in-response": True}
    hooks.write_text(json.dumps([hook]), encoding="utf-8")
    with _serving(webhook, hooks) as port:
        body = '{"n":1}'
        request = (
            "POST /hooks/one HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n"
            f"Content-Length: {len(body)}\r\n\r\n{body}"
        )
        requests = [request] * count
        return load.send(load.Load(("127.0.0.1", port), requests, callers=WEBHOOK_CALLERS, is_http=True)).whole_s


@contextlib.contextmanager
def _serving(webhook: str, hooks: Path) -> Iterator[int]:
    with socket.create_server(("127.0.0.1", 0)) as probe:
        port = int(probe.getsockname()[1])
    process = subprocess.Popen(
        [webhook, "-hooks", str(hooks), "-ip", "127.0.0.1", "-port", str(port)],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    try:
        deadline = time.monotonic() + 10
        while True:
            try:
                socket.create_connection(("127.0.0.1", port)).close()
                break
            except ConnectionRefusedError:
                if process.poll() is not None or time.monotonic() > deadline:
                    raise
                time.sleep(0.01)
        yield port
    finally:
        process.terminate()
        process.wait()


def fdatasync_ms(folder: Path, count: int) -> float:
    """The median of writing 4 KiB to the end of a file in that folder and having it on disk."""
    path = folder / "floor"
    descriptor = os.open(path, os.O_CREAT | os.O_WRONLY | os.O_APPEND)
    took_s = []
    for _ in range(count):
        began = time.perf_counter()
        os.write(descriptor, b"x" * 4096)
        os.fdatasync(descriptor)
        took_s.append(time.perf_counter() - began)
    os.close(descriptor)
    path.unlink()
    return median(took_s) * 1000
