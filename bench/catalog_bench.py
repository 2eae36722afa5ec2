"""What the catalog costs: scanning, rescanning, matching, and the time from a save to its being in force.

Run it with ``python -m bench.catalog_bench``.
"""

import asyncio
import contextlib
import statistics
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

from flowd.catalog.scan import Scanner
from flowd.catalog.watched import WatchedCatalog
from flowd.domain.event import normalise
from flowd.domain.flow import Snapshot
from flowd.domain.matching import match

MANIFEST = """\
name = "flow-{number}"
version = 1
[[steps]]
name = "build"
runner = "bun"
script = "exec/build.ts"
[steps.trigger]
type = "event.{number}"
schema = "schemas/event.json"
"""
SCHEMA = '{"type": "object", "required": ["tag"], "properties": {"tag": {"type": "string"}}}'
EVENT = {"id": "e", "type": "event.0", "payload": {"tag": "v1"}}


def write_packages(workspace: Path, count: int) -> None:
    """Write so many packages, each with a script and a schema."""
    for number in range(count):
        folder = workspace / "flows" / f"flow-{number}"
        (folder / "exec").mkdir(parents=True)
        (folder / "schemas").mkdir()
        (folder / "flow.toml").write_text(MANIFEST.format(number=number))
        (folder / "exec" / "build.ts").write_text("console.log('FLOW_RESULT {}')\n")
        (folder / "schemas" / "event.json").write_text(SCHEMA)


def took_ms(work: Callable[[], object]) -> float:
    """Milliseconds that one call takes."""
    start = time.perf_counter()
    work()
    return (time.perf_counter() - start) * 1000


def measure_scans(count: int) -> list[tuple[str, float]]:
    """First scan, rescan and match with so many packages."""
    with tempfile.TemporaryDirectory() as folder:
        workspace = Path(folder)
        write_packages(workspace, count)
        time.sleep(2.1)  # younger files are read again at each scan, see flowd.catalog.files
        scanner = Scanner(workspace)
        first = took_ms(scanner.scan)
        rescan = statistics.median(took_ms(scanner.scan) for _ in range(9))
        snapshot = scanner.scan()
        folders = took_ms(scanner.folders)
        return [
            (f"first scan, {count} packages (ms)", first),
            (f"rescan, {count} unchanged packages (ms)", rescan),
            (f"folders to watch, {count} packages (ms)", folders),
            (f"match of one event, {count} packages (µs)", match_us(snapshot)),
        ]


def match_us(snapshot: Snapshot) -> float:
    """Microseconds that matching one event takes."""
    event = normalise(EVENT, now="2026-01-01T00:00:00.000Z")
    assert len(match(snapshot, event)) == 1
    rounds = 20_000
    return took_ms(lambda: [match(snapshot, event) for _ in range(rounds)]) * 1000 / rounds


async def measure_saves(count: int, saves: int = 20) -> list[tuple[str, float]]:
    """From a save to its being in force, with so many packages."""
    with tempfile.TemporaryDirectory() as folder:
        workspace = Path(folder)
        write_packages(workspace, count)
        changed = asyncio.Event()
        catalog = WatchedCatalog(workspace, on_change=lambda _old, _new: changed.set())
        await catalog.open()
        await asyncio.sleep(2.5)
        taken: list[float] = []
        manifest = workspace / "flows" / "flow-0" / "flow.toml"
        for number in range(saves):
            changed.clear()
            start = time.perf_counter()
            manifest.write_text(MANIFEST.format(number=0) + f"# {number}\n")
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(changed.wait(), 5)
            taken.append((time.perf_counter() - start) * 1000)
            await asyncio.sleep(0.05)
        cpu = time.process_time()
        await asyncio.sleep(2)
        idle = (time.process_time() - cpu) / 2 * 100
        start = time.perf_counter()
        await catalog.close()
        return [
            (f"save to in force, {count} packages, p50 (ms)", statistics.median(taken)),
            (f"save to in force, {count} packages, max (ms)", max(taken)),
            (f"idle CPU, {count} packages (%)", idle),
            (f"close, {count} packages (ms)", (time.perf_counter() - start) * 1000),
        ]


def main() -> None:
    """Measure and print a table."""
    for count in (1, 2_000):
        for name, value in [*measure_scans(count), *asyncio.run(measure_saves(count))]:
            print(f"{name:55} {value:10.2f}", flush=True)


if __name__ == "__main__":
    main()
