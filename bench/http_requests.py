"""Requests over HTTP: durable accepts, one page of 99,000 runs, and what 500 readers of the stream cost."""

import json
from collections.abc import Iterator

from bench.daemon import Daemon, add_flow, rss_mb, running, scratch
from bench.figures import Figure
from bench.load import Load, Sent, connect, dispatch, send
from bench.subjects import Subject

STEPS = 1000
RUNS = 99_000  # the default of `max_queued` is 100,000
READERS = 500


def http(subject: Subject) -> Iterator[Figure]:
    """Durable accepts, a page of runs, /healthz, and the memory of stream readers."""
    with scratch() as workspace:
        add_flow(workspace, "many", "many.go", steps=STEPS)
        with running(subject, workspace, "--http", "127.0.0.1:0", FLOWD_HTTP_OPEN="1") as daemon:
            _queue_runs(daemon)
            for callers, count in ((1, 500), (64, 8000)):
                sent = _ask(daemon, [_post(f"a{callers}-{n}") for n in range(count)], callers)
                yield from _figures("POST /events", sent, callers)
            for callers, count in ((1, 200), (16, 1000)):
                sent = _ask(daemon, [_get("/runs?limit=50")] * count, callers)
                yield from _figures(f"GET /runs?limit=50 of {RUNS:,}", sent, callers)
            yield from _figures("GET /healthz", _ask(daemon, [_get("/healthz")] * 8000, 16), 16)
            yield Figure(f"memory of {READERS} stream readers", _readers_mb(daemon), "MB")


def _queue_runs(daemon: Daemon) -> None:
    # A daemon that drains accepts events and starts none of their runs: they are there in seconds.
    daemon.call("daemon.drain")
    send(Load(daemon.socket, [dispatch(f"fill-{n}", "many.go") for n in range(RUNS // STEPS)]))


def _ask(daemon: Daemon, requests: list[str], callers: int) -> Sent:
    return send(Load(daemon.http(), requests, callers=callers, is_http=True))


def _figures(what: str, sent: Sent, callers: int) -> Iterator[Figure]:
    name = f"{what}, {callers} caller{'s' if callers > 1 else ''}"
    yield Figure(f"{name}, rate", sent.rate, "/s")
    yield Figure(f"{name}, p50", sent.percentile_ms(0.5), "ms")
    yield Figure(f"{name}, p99", sent.percentile_ms(0.99), "ms")


def _readers_mb(daemon: Daemon) -> float:
    before_mb = rss_mb(daemon.pid)
    held = []
    for _ in range(READERS):
        connection = connect(daemon.http())
        connection.sendall(_get("/stream").encode())
        connection.recv(65536)
        held.append(connection)
    _ask(daemon, [_post(f"beside-{n}") for n in range(20)], 1)
    more_mb = rss_mb(daemon.pid) - before_mb
    for connection in held:
        connection.close()
    return more_mb


def _post(event_id: str) -> str:
    body = json.dumps({"id": event_id, "type": "bench.nothing", "payload": {"n": 1}})
    head = f"POST /events HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\nContent-Length: {len(body)}"
    return f"{head}\r\n\r\n{body}"


def _get(path: str) -> str:
    return f"GET {path} HTTP/1.1\r\nHost: localhost\r\n\r\n"
