"""`python -m bench.follow_bench`: how late followers see a line, beside how late a reader of the file itself would.

A step writes the monotonic clock, which all processes of a machine share, in each of its lines. Prints a table,
asserts nothing.
"""

import contextlib
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from bench.daemon import Daemon, running, scratch
from bench.load import percentile

LINES = 200
SCRIPT = f"""
import random, sys, time
for n in range({LINES}):
    stream = sys.stdout if n % 2 else sys.stderr
    print(time.monotonic(), file=stream, flush=True)
    time.sleep(random.uniform(0.01, 0.05))
print('FLOW_RESULT {{"status": "completed"}}')
"""

Lines = Iterator[str]


def by_poll(daemon: Daemon, run_id: str) -> Lines:
    """`follow_output`."""
    with daemon.client() as client:
        for _, text in client.follow_output(run_id):
            yield from text.splitlines()


def by_subscription(daemon: Daemon, run_id: str) -> Lines:
    """`subscribe` to the output."""
    ends = 0
    with daemon.client() as client, client.subscribe(["output"], run_id=run_id) as updates:
        for update in updates:
            yield from update.text.splitlines()
            ends += update.is_end
            if ends == 2:
                return


def by_command(daemon: Daemon, run_id: str) -> Lines:
    """`flowd logs -f`."""
    argv = [sys.executable, "-m", "flowd", "logs", "-f", run_id, "-w", str(daemon.workspace)]
    with subprocess.Popen(argv, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True) as process:
        assert process.stdout is not None
        yield from process.stdout


WAYS: dict[str, Callable[[Daemon, str], Lines]] = {
    "follow_output": by_poll,
    "subscribe (output)": by_subscription,
    "flowd logs -f": by_command,
}


def add_flow(workspace: Path) -> None:
    """A package whose step tells the time."""
    folder = workspace / "flows" / "clock"
    folder.mkdir(parents=True)
    (folder / "main.py").write_text(SCRIPT, encoding="utf-8")
    (folder / "flow.toml").write_text(
        'name = "clock"\nversion = 1\n[[steps]]\nname = "main"\nrunner = "python"\nscript = "main.py"\n'
        '[steps.trigger]\ntype = "clock.go"\n',
        encoding="utf-8",
    )


def late_s(lines: Lines) -> list[float]:
    """How late each line was, sorted."""
    late = []
    for line in lines:
        with contextlib.suppress(ValueError):
            late.append(time.monotonic() - float(line))
    return sorted(late)


def main() -> None:
    """One follower, and sixteen of one run at once, each way."""
    print(f"follow ({LINES} lines on both streams in turn: how late they are seen)")
    with scratch() as workspace:
        add_flow(workspace)
        with running(workspace) as daemon, daemon.client() as client:
            for followers in (1, 16):
                for name, way in WAYS.items():
                    event = {"id": f"{name}{followers}", "type": "clock.go", "payload": {}}
                    (run_id,) = client.dispatch_event(event).run_ids
                    with ThreadPoolExecutor(followers) as threads:
                        lates = [threads.submit(late_s, way(daemon, run_id)) for _ in range(followers)]
                        found = sorted(late for one in lates for late in one.result())
                    print(
                        f"  {name:<22}{followers:>3} followers  {len(found):>5} lines"
                        f"  p50 {percentile(found, 0.5):6.1f} ms  p99 {percentile(found, 0.99):6.1f} ms",
                        flush=True,
                    )


if __name__ == "__main__":
    main()
