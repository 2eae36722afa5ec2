"""What 2,000 packages cost: starting, scanning again, and the time from a save to its being in force."""

import time
from collections.abc import Iterator
from pathlib import Path
from statistics import median

from bench.daemon import Daemon, add_flow, cpu_s, rss_mb, running, scratch
from bench.figures import Figure
from bench.subjects import Subject

PACKAGES = 2000
SAVES = 20
RELOADS = 5
IDLE_S = 5.0


def catalog(subject: Subject) -> Iterator[Figure]:
    """Start, rescan, save to in force, idle CPU and memory."""
    with scratch() as workspace:
        for n in range(PACKAGES):
            add_flow(workspace, f"f{n:04}", f"type.{n}")
        with running(subject, workspace) as daemon:
            yield Figure("start to ready, 2,000 packages", daemon.ready_s, "s")
            time.sleep(2.5)  # files younger than two seconds are read again at each scan
            yield Figure("rescan, 2,000 packages", median(_reload_ms(daemon) for _ in range(RELOADS)), "ms")
            saves_ms = [_save_ms(daemon, workspace, n) for n in range(SAVES)]
            yield Figure("save to in force, 2,000 packages, p50", median(saves_ms), "ms")
            yield Figure("save to in force, 2,000 packages, slowest", max(saves_ms), "ms")
            time.sleep(1)
            before_s = cpu_s(daemon.pid)
            time.sleep(IDLE_S)
            yield Figure("CPU idle, 2,000 packages", (cpu_s(daemon.pid) - before_s) / IDLE_S * 100, "%")
            yield Figure("RSS idle, 2,000 packages", rss_mb(daemon.pid), "MB")


def _reload_ms(daemon: Daemon) -> float:
    began = time.perf_counter()
    daemon.call("daemon.reload")
    return (time.perf_counter() - began) * 1000


def _save_ms(daemon: Daemon, workspace: Path, number: int) -> float:
    """Change what a step waits for, and ask until an event of that type matches."""
    manifest = workspace / "flows" / "f0000" / "flow.toml"
    before, _, _ = manifest.read_text(encoding="utf-8").rpartition("type = ")
    event_type = f"saved.{number}"
    time.sleep(0.1)
    began = time.perf_counter()
    manifest.write_text(f'{before}type = "{event_type}"\n', encoding="utf-8")
    while not daemon.call("flow.explain", event={"id": "e", "type": event_type, "payload": {}})["matched"]:
        if time.perf_counter() - began > 10:
            raise RuntimeError("a saved package is not in force after 10 s")
        time.sleep(0.002)
    return (time.perf_counter() - began) * 1000
