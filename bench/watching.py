"""What 50,000 watched files cost: a start, a save until its step runs, memory, and the processor while idle."""

import os
import time
from collections.abc import Iterator
from datetime import datetime
from pathlib import Path
from statistics import median

from bench.daemon import Daemon, add_flow, cpu_s, rss_mb, running, scratch
from bench.figures import Figure
from bench.subjects import Subject

FILES, FOLDERS = 50_000, 1_000
SAVES = 20
IDLE_S = 20.0
SETTLE_MS = 300

_WATCH = f"""
[[watches]]
name = "sources"
paths = ["src/**", "!src/gen/**"]
type = "source.changed"
settle_ms = {SETTLE_MS}
"""


def watching(subject: Subject) -> Iterator[Figure]:
    """A watch of a large tree."""
    with scratch() as workspace:
        _make_tree(workspace)
        program = add_flow(workspace, "watched", "source.changed")
        with running(subject, workspace) as daemon:
            without_mb = rss_mb(daemon.pid)
            before_s = cpu_s(daemon.pid)
            manifest = program.with_name("flow.toml")
            manifest.write_text(_with_watch(manifest.read_text(encoding="utf-8")), encoding="utf-8")
            began = time.perf_counter()
            _until_watching(daemon)
            yield Figure("watch of 50,000 new files until it stands", time.perf_counter() - began, "s")
            yield Figure("CPU for that", cpu_s(daemon.pid) - before_s, "s")
            yield Figure("RSS for that", rss_mb(daemon.pid) - without_mb, "MB")
        with running(subject, workspace) as daemon:
            began = time.perf_counter()
            _until_watching(daemon)
            yield Figure("start to watching, 50,000 files", daemon.ready_s + time.perf_counter() - began, "s")
            yield Figure("CPU of that start", cpu_s(daemon.pid), "s")
            yield Figure("RSS, 50,000 files", rss_mb(daemon.pid), "MB")
            time.sleep(1)
            saves_ms = [_save_ms(daemon, workspace, number) for number in range(SAVES)]
            yield Figure(f"save to step started, less settle_ms ({SETTLE_MS}), p50", median(saves_ms) - SETTLE_MS, "ms")
            yield Figure("the same, slowest", max(saves_ms) - SETTLE_MS, "ms")
            time.sleep(1)
            before_s = cpu_s(daemon.pid)
            time.sleep(IDLE_S)
            yield Figure("CPU idle, 50,000 files", (cpu_s(daemon.pid) - before_s) / IDLE_S * 100, "%")
            yield from _burst(daemon, workspace)


def _burst(daemon: Daemon, workspace: Path) -> Iterator[Figure]:
    """100,000 new names of ten files, made as fast as they can be."""
    folders = [workspace / "src" / f"burst{number}" for number in range(2)]
    before_s, began = cpu_s(daemon.pid), time.perf_counter()
    for folder in folders:
        folder.mkdir()
        for number in range(50_000):
            os.link(workspace / "src" / f"{number % 10}" / "1", folder / f"{number}")
    while True:
        (watch,) = daemon.call("flow.watches")["watches"]
        if watch["files"] == FILES + 100_000 and not watch["changing"]:
            break
        time.sleep(0.05)
    yield Figure("100,000 changes in a burst until all are told", time.perf_counter() - began, "s")
    yield Figure("CPU for that burst", cpu_s(daemon.pid) - before_s, "s")
    yield Figure("RSS after that burst", rss_mb(daemon.pid), "MB")


def _make_tree(workspace: Path) -> None:
    for number in range(FOLDERS):
        folder = workspace / "src" / f"{number}"
        folder.mkdir(parents=True)
        for name in range(FILES // FOLDERS):
            (folder / f"{name}").touch()
    ignored = "\n".join(["build/", "node_modules/", "*.o", "__pycache__/", *(f"*.x{number}" for number in range(20))])
    (workspace / ".gitignore").write_text(ignored, encoding="utf-8")


def _with_watch(manifest: str) -> str:
    head, steps, rest = manifest.partition("[[steps]]")
    return f"{head}{_WATCH}{steps}{rest}"


def _until_watching(daemon: Daemon) -> None:
    while not any(one["status"] == "watching" for one in daemon.call("flow.watches")["watches"]):
        time.sleep(0.005)


def _save_ms(daemon: Daemon, workspace: Path, number: int) -> float:
    """From a save to the instant at which its step started, which the daemon notes."""
    before = {run["id"] for run in daemon.call("flow.listRuns", limit=5)["runs"]}
    at_ms = time.time_ns() / 1e6
    (workspace / "src" / f"{number}" / "0").write_text(f"{number}", encoding="utf-8")
    while True:
        for run in daemon.call("flow.listRuns", limit=1)["runs"]:
            if run["id"] not in before and run.get("startedAt"):
                return _epoch_ms(run["startedAt"]) - at_ms
        time.sleep(0.01)


def _epoch_ms(instant: str) -> float:
    return datetime.fromisoformat(instant).timestamp() * 1000
