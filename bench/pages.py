"""What open pages of the web page cost: accepts beside them, the daemon's time, and how soon one is drawn."""

import contextlib
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from statistics import median

from bench import visitors
from bench.daemon import Daemon, add_flow, cpu_s, running, scratch
from bench.figures import Figure
from bench.history import multiply
from bench.load import Load, dispatch, send
from bench.subjects import Subject

PAGES = 50
KINDS = ("/ui/", "/ui/runs", "/ui/flows", "/ui/events/seen", "/ui/runs/{run}")
BLOCKS = 9
RUNS = 10_000
RUNS_A_SECOND = 5
WATCHED_S = 10
PAINTS = 7
SERVED = ("--http", "127.0.0.1:0")


def page(subject: Subject) -> Iterator[Figure]:
    """Accepts beside 50 open pages, a page on 10,000 runs, and its first paint in Chromium."""
    yield from _accepts(subject)
    yield from _many_runs(subject)


def _accepts(subject: Subject) -> Iterator[Figure]:
    with contextlib.ExitStack() as stack:
        quiet, looked_at = (stack.enter_context(scratch()) for _ in range(2))
        alone = stack.enter_context(running(subject, quiet, *SERVED, FLOWD_HTTP_OPEN="1"))
        beside = stack.enter_context(running(subject, looked_at, *SERVED, FLOWD_HTTP_OPEN="1"))
        for daemon in (alone, beside):
            add_flow(daemon.workspace, "one", "one.go")
            daemon.call("daemon.reload")
            send(Load(daemon.socket, [dispatch("seen", "one.go", wait=True)]))
        p50_ms: dict[int, list[float]] = {alone.pid: [], beside.pid: []}
        cpu_ms: dict[int, list[float]] = {alone.pid: [], beside.pid: []}
        with _open(beside, [path.format(run=_a_run(beside)) for path in KINDS] * (PAGES // len(KINDS))):
            for block in range(BLOCKS):
                for daemon in (alone, beside) if block % 2 else (beside, alone):
                    before_s = cpu_s(daemon.pid)
                    requests = [dispatch(f"b{block}-{n}", "none") for n in range(1000)]
                    sent = send(Load(daemon.socket, requests))
                    if block:  # the first one warms them up
                        p50_ms[daemon.pid].append(sent.percentile_ms(0.5))
                        cpu_ms[daemon.pid].append(cpu_s(daemon.pid) - before_s)
    rival = {"no page": median(p50_ms[alone.pid])}
    yield Figure(f"accept beside {PAGES} open pages, p50", median(p50_ms[beside.pid]), "ms", rival)
    rival = {"no page": median(cpu_ms[alone.pid])}
    yield Figure(f"daemon's CPU an accept beside {PAGES} open pages", median(cpu_ms[beside.pid]), "ms", rival)


def _a_run(daemon: Daemon) -> str:
    return str(daemon.call("flow.listRuns")["runs"][0]["id"])


def _many_runs(subject: Subject) -> Iterator[Figure]:
    with scratch() as workspace:
        add_flow(workspace, "one", "one.go")
        with running(subject, workspace) as daemon:
            send(Load(daemon.socket, [dispatch("first", "one.go", wait=True)]))
        multiply(workspace / ".codex" / "flowd" / "flowd.db", RUNS)
        with running(subject, workspace, *SERVED, FLOWD_HTTP_OPEN="1") as daemon:
            without = _percent(daemon, "without")
            with _open(daemon, ["/ui/runs"]):
                beside = _percent(daemon, "with")
            name = f"page on {RUNS:,} runs, {RUNS_A_SECOND} more a second"
            yield Figure(f"{name}: daemon's CPU for it", beside - without, "%")
            yield from _first_paint(daemon)


def _percent(daemon: Daemon, tag: str) -> float:
    """The daemon's processor time while runs come in their time, in percent of one processor."""
    began_s, before_s = time.monotonic(), cpu_s(daemon.pid)
    for n in range(RUNS_A_SECOND * WATCHED_S):
        daemon.call("flow.dispatch", event={"id": f"{tag}-{n}", "type": "one.go", "payload": {}})
        time.sleep(max(0.0, began_s + (n + 1) / RUNS_A_SECOND - time.monotonic()))
    return (cpu_s(daemon.pid) - before_s) / (time.monotonic() - began_s) * 100


@contextlib.contextmanager
def _open(daemon: Daemon, paths: Sequence[str]) -> Iterator[None]:
    host, port = daemon.http()
    argv = [sys.executable, "-I", "-S", str(Path(visitors.__file__)), str(host), str(port), *paths]
    process = subprocess.Popen(argv, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    assert process.stdin is not None
    assert process.stdout is not None
    try:
        if process.stdout.readline() != "open\n":
            raise RuntimeError("the pages could not be opened")
        yield
        process.stdin.close()
        looks = process.stdout.readline().partition(" ")[0]
        if not looks or int(looks) < len(paths):
            raise RuntimeError("the pages were not asked for anew")
    finally:
        process.kill()
        process.wait()


def _first_paint(daemon: Daemon) -> Iterator[Figure]:
    """In a Chromium that has never seen it, each time anew."""
    chromium = shutil.which("chromium")
    if chromium is None:
        raise RuntimeError("chromium is not installed; its first paint is not measured")
    from playwright.sync_api import sync_playwright  # noqa: PLC0415 - for this bench alone

    host, port = daemon.http()
    painted_ms: dict[str, list[float]] = {"/healthz": [], "/ui/": [], "/ui/runs": []}
    wire_kb: dict[str, float] = {}
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=chromium, args=["--no-sandbox"])
        for _ in range(PAINTS):
            for path, took_ms in painted_ms.items():
                context = browser.new_context()
                tab = context.new_page()
                tab.goto(f"http://{host}:{port}{path}")
                took_ms.append(float(tab.evaluate(_PAINTED)))
                wire_kb[path] = float(tab.evaluate(_TRANSFERRED)) / 1000
                context.close()
        browser.close()
    rival = {"a line of text": median(painted_ms["/healthz"])}
    for path in ("/ui/", "/ui/runs"):
        yield Figure(f"first paint of {path}, {RUNS:,} runs", median(painted_ms[path]), "ms", rival)
        yield Figure(f"{path} over the wire, {RUNS:,} runs", wire_kb[path], "kB")


_PAINTED = """() => new Promise((told) => new PerformanceObserver((list) => told(list.getEntries()[0].startTime))
    .observe({type: "paint", buffered: true}))"""
_TRANSFERRED = """() => ["navigation", "resource"].flatMap((kind) => performance.getEntriesByType(kind))
    .reduce((sum, entry) => sum + entry.transferSize, 0)"""
