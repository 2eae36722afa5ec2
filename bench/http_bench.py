"""HTTP, measured: ``python -m bench.http_bench``. The callers share the machine with the daemon.

Prints accepts (durable, nothing matches), one page of runs out of 100,000, and what 500 stream readers cost.
"""

import asyncio
import contextlib
import json
import os
import socket
import sqlite3
import time
from pathlib import Path

import psutil

from bench.daemon import Daemon, add_flow, running, scratch
from bench.load import percentile

RUNS = 100_000
READERS = 500


def post(event_id: str) -> bytes:
    """A dispatch that matches nothing: the cost of the shim and of the commit."""
    body = json.dumps({"id": event_id, "type": "bench.nothing", "payload": {"n": 1}}).encode()
    head = f"POST /events HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\nContent-Length: {len(body)}"
    return head.encode() + b"\r\n\r\n" + body


def get(path: str) -> bytes:
    """A request for something."""
    return f"GET {path} HTTP/1.1\r\nHost: localhost\r\n\r\n".encode()


async def _answer(reader: asyncio.StreamReader) -> bytes:
    head = await reader.readuntil(b"\r\n\r\n")
    if head[9:10] != b"2":
        raise RuntimeError(head.decode())
    length = head.index(b"content-length: ") + 16
    await reader.readexactly(int(head[length : head.index(b"\r", length)]))
    return head


async def _caller(port: int, requests: list[bytes], took_s: list[float]) -> None:
    reader, writer = await asyncio.open_connection("127.0.0.1", port, limit=1 << 22)
    for request in requests:
        began = time.perf_counter()
        writer.write(request)
        await _answer(reader)
        took_s.append(time.perf_counter() - began)
    writer.close()


def measure(label: str, port: int, requests: list[bytes], callers: int) -> None:
    """Send all of them, and print a line."""

    async def everything() -> tuple[float, list[float]]:
        took_s: list[float] = []
        began = time.perf_counter()
        await asyncio.gather(*(_caller(port, requests[n::callers], took_s) for n in range(callers)))
        return time.perf_counter() - began, sorted(took_s)

    whole_s, took_s = asyncio.run(everything())
    p50, p99 = percentile(took_s, 0.5), percentile(took_s, 0.99)
    print(f"{label:<44} {callers:>4} callers {len(requests) / whole_s:>8.0f}/s   p50 {p50:>6.2f}   p99 {p99:>6.2f} ms")


def fill(workspace: Path) -> None:
    """Copy the one run that is there until there are enough; the daemon is not running."""
    database = sqlite3.connect(workspace / ".codex" / "flowd" / "flowd.db")
    with contextlib.closing(database), database:
        for table, key in (("runs", "seq"), ("attempts", "run_seq")):
            columns = [row[1] for row in database.execute(f"PRAGMA table_info({table})")]
            values = [
                f"{key} + n" if name == key else "'run_' || printf('%012x', n)" if name == "id" else name
                for name in columns
            ]
            database.execute(
                f"WITH RECURSIVE counter(n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM counter WHERE n < {RUNS})"
                f" INSERT INTO {table} ({', '.join(columns)}) SELECT {', '.join(values)} FROM {table}, counter"
                f" WHERE {key} = (SELECT min({key}) FROM {table})"
            )


def readers(daemon: Daemon, port: int) -> None:
    """What many readers of the stream add to the daemon's memory."""
    process = psutil.Process(daemon.process.pid)
    before = process.memory_info().rss
    held = []
    for _ in range(READERS):
        connection = socket.create_connection(("127.0.0.1", port))
        connection.sendall(get("/stream"))
        connection.recv(65536)
        held.append(connection)
    measure("durable accept beside the readers", port, [post(f"beside-{n}") for n in range(20)], 1)
    more = (process.memory_info().rss - before) / 1024 / 1024
    print(f"{'memory of stream readers':<44} {READERS:>4} readers {more:>7.1f} MiB")
    for connection in held:
        connection.close()


def main() -> None:
    """Measure and print."""
    with scratch() as workspace:
        add_flow(workspace, "bench", "bench.go")
        with running(workspace) as daemon, daemon.client() as client:
            client.call("flow.dispatch", {"event": {"id": "first", "type": "bench.go"}, "wait": True})
        fill(workspace)
        with running(workspace, "--http", "127.0.0.1:0") as daemon:
            with daemon.client() as client:
                port = int(client.call("daemon.status", {})["http"].rpartition(":")[2])
            tag = os.urandom(4).hex()
            measure("durable accept", port, [post(f"{tag}-1-{n}") for n in range(500)], 1)
            measure("durable accept", port, [post(f"{tag}-64-{n}") for n in range(8000)], 64)
            measure(f"GET /runs?limit=50 of {RUNS:,}", port, [get("/runs?limit=50")] * 300, 1)
            measure(f"GET /runs?limit=50 of {RUNS:,}", port, [get("/runs?limit=50")] * 3000, 16)
            measure("GET /healthz", port, [get("/healthz")] * 8000, 16)
            readers(daemon, port)


if __name__ == "__main__":
    main()
