"""How late followers see a line that a step writes.

The step writes the monotonic clock, which all processes of a machine share, in each of its lines. The followers use
the client library, so they run as a program of their own under the interpreter that has the checkout's client: this
module, which therefore imports nothing of `bench` there.
"""

import contextlib
import json
import subprocess
import sys
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from statistics import quantiles
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from bench.figures import Figure
    from bench.subjects import Subject

AT_ONCE = (1, 16)
SCRIPT = """
import random, sys, time
for n in range(100):
    stream = sys.stdout if n % 2 else sys.stderr
    print(time.monotonic(), file=stream, flush=True)
    time.sleep(random.uniform(0.01, 0.05))
print('FLOW_RESULT {"status": "completed"}')
"""


def follow(subject: "Subject") -> "Iterator[Figure]":
    """`follow_output`, `subscribe` and `flowd logs -f`, by one follower and by 16 of one run."""
    from bench.daemon import add_flow, running, scratch  # noqa: PLC0415 - the followers' interpreter has no bench
    from bench.figures import Figure  # noqa: PLC0415

    with scratch() as workspace:
        add_flow(workspace, "clock", "clock.go", script=SCRIPT, runner="python")
        with running(subject, workspace):
            argv = [subject.python, "-I", __file__, str(workspace)]
            seen = subprocess.run(argv, stdout=subprocess.PIPE, check=True)
    for name, late_ms in json.loads(seen.stdout).items():
        percentiles = quantiles(late_ms, n=100)
        yield Figure(f"line seen by {name}, p50", percentiles[49], "ms")
        yield Figure(f"line seen by {name}, p99", percentiles[98], "ms")


def _by_poll(workspace: str, run_id: str) -> Iterator[str]:
    with _client(workspace) as client:
        for _, text in client.follow_output(run_id):
            yield from text.splitlines()


def _by_subscription(workspace: str, run_id: str) -> Iterator[str]:
    streams_ended = 0
    with _client(workspace) as client, client.subscribe(["output"], run_id=run_id) as updates:
        for update in updates:
            yield from update.text.splitlines()
            streams_ended += update.is_end
            if streams_ended == 2:
                return


def _by_command(workspace: str, run_id: str) -> Iterator[str]:
    flowd = Path(sys.executable).with_name("flowd")
    argv = [str(flowd), "logs", "-f", run_id, "-w", workspace]
    with subprocess.Popen(argv, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True) as process:
        assert process.stdout is not None
        yield from process.stdout


FOLLOWERS = {"follow_output": _by_poll, "subscribe": _by_subscription, "flowd logs -f": _by_command}


def _client(workspace: str) -> Any:
    from flowd_client import create_flow_client  # noqa: PLC0415 - that of the interpreter that runs this

    return create_flow_client(mode="socket", workspace=workspace, timeout_s=300)


def _late_ms(lines: Iterator[str]) -> list[float]:
    late_ms = []
    for line in lines:
        with contextlib.suppress(ValueError):
            late_ms.append((time.monotonic() - float(line)) * 1000)
    return late_ms


def _main(workspace: str) -> None:
    late_ms: dict[str, list[float]] = {}
    with _client(workspace) as client:
        for count in AT_ONCE:
            for name, follower in FOLLOWERS.items():
                event = {"id": f"{name}{count}", "type": "clock.go", "payload": {}}
                (run_id,) = client.dispatch_event(event).run_ids
                with ThreadPoolExecutor(count) as threads:
                    lates = [threads.submit(_late_ms, follower(workspace, run_id)) for _ in range(count)]
                    late_ms[f"{name} ({count} at once)"] = [late for one in lates for late in one.result()]
    json.dump(late_ms, sys.stdout)


if __name__ == "__main__":
    _main(*sys.argv[1:])
