"""`make bench`: what flowd costs, beside a floor measured in the same run. Prints tables, asserts nothing.

Machines are noisy: compare figures of one run, not of two.
"""

import os
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import psutil

from bench.daemon import add_flow, running, scratch
from bench.load import frame, percentile, send


def row(label: str, *cells: str) -> None:
    """One line of a table."""
    print(f"  {label:<46}" + "".join(f"{cell:>16}" for cell in cells), flush=True)


def accept() -> None:
    """Durable answers to events that match nothing: the cost of accepting alone."""
    print("accept (event on disk before the answer)")
    with scratch() as workspace, running(workspace) as daemon:
        descriptor = os.open(workspace / "floor", os.O_CREAT | os.O_WRONLY)
        floor_s = []
        for _ in range(300):
            began = time.perf_counter()
            os.write(descriptor, b"x" * 4096)
            os.fdatasync(descriptor)
            floor_s.append(time.perf_counter() - began)
        os.close(descriptor)
        floor = percentile(sorted(floor_s), 0.5)
        row("floor: write 4 KiB and fdatasync, p50", f"{floor:.2f} ms")
        for callers, count in ((1, 1000), (64, 20_000)):
            whole_s, took = send(
                daemon.socket, [frame(f"a{callers}-{n}", "none") for n in range(count)], callers=callers
            )
            row(
                f"{callers} callers",
                f"p50 {percentile(took, 0.5):.2f} ms",
                f"p99 {percentile(took, 0.99):.2f} ms",
                f"{count / whole_s:.0f}/s",
            )


def run() -> None:
    """An `sh` step from dispatch to recorded outcome."""
    print("run (dispatch → sh → outcome on disk)")
    with scratch() as workspace:
        script = add_flow(workspace, "one", "one.go")
        with running(workspace) as daemon:
            for label, parallel in (("floor: xargs -P1", 1), (f"floor: xargs -P{os.cpu_count()}", os.cpu_count() or 1)):
                began = time.perf_counter()
                subprocess.run(
                    ["xargs", f"-P{parallel}", "-n1", str(script)],
                    input="1\n" * 1000,
                    text=True,
                    stdout=subprocess.DEVNULL,
                    check=True,
                )
                floor = 1000 / (time.perf_counter() - began)
                row(label, f"{floor:.0f}/s")
            for callers, count in ((1, 300), (16, 2000), (64, 4000)):
                whole_s, took = send(
                    daemon.socket,
                    [frame(f"r{callers}-{n}", "one.go", wait=True) for n in range(count)],
                    callers=callers,
                )
                rate = count / whole_s
                row(
                    f"{callers} callers",
                    f"p50 {percentile(took, 0.5):.2f} ms",
                    f"{rate:.0f}/s",
                    f"{rate / floor:.2f} x floor",
                )


def packages() -> None:
    """Does dispatch depend on how many packages there are?"""
    print("dispatch with many packages (p50 of the accept)")
    base = 0.0
    for count in (1, 2000):
        with scratch() as workspace:
            for n in range(count):
                add_flow(workspace, f"f{n:04}", f"type.{n}")
            with running(workspace) as daemon:
                send(daemon.socket, [frame(f"w{n}", "none") for n in range(200)], callers=1)
                _, took = send(daemon.socket, [frame(f"p{n}", "none") for n in range(1000)], callers=1)
                p50 = percentile(took, 0.5)
                base = base or p50
                row(f"{count} packages", f"{p50:.3f} ms", f"{p50 / base:.2f} x", f"ready {daemon.ready_s:.2f} s")


def idle() -> None:
    """Memory and CPU of a daemon with nothing to do."""
    print("idle")
    with scratch() as workspace:
        add_flow(workspace, "one", "one.go")
        with running(workspace) as daemon, daemon.client() as client:
            send(daemon.socket, [frame(f"i{n}", "one.go", wait=True) for n in range(50)], callers=4)
            pids = {"daemon": daemon.process.pid, "keeper": int(client.status()["keeper"]["pid"])}
            time.sleep(1)
            before = {name: sum(psutil.Process(pid).cpu_times()[:2]) for name, pid in pids.items()}
            time.sleep(10)
            for name, pid in pids.items():
                process = psutil.Process(pid)
                used = sum(process.cpu_times()[:2]) - before[name]
                row(name, f"{process.memory_info().rss / 2**20:.1f} MB", f"{used * 10:.2f} % CPU")


def command() -> None:
    """The command line, and starting."""
    print("command line and start")
    with scratch() as workspace, running(workspace) as daemon:
        send(daemon.socket, [frame(f"c{n}", "none") for n in range(50)], callers=1)
        row("start to ready", f"{daemon.ready_s:.3f} s")
        program = Path(sys.executable).with_name("flowd")
        for label, argv in (
            ("floor: python -c pass", [sys.executable, "-c", "pass"]),
            ("flowd runs", [str(program), "runs", "-w", str(workspace)]),
            ("flowd --version", [str(program), "--version"]),
        ):
            took = []
            for _ in range(11):
                began = time.perf_counter()
                subprocess.run(argv, stdout=subprocess.DEVNULL, check=True)
                took.append(time.perf_counter() - began)
            row(label, f"p50 {percentile(sorted(took), 0.5):.0f} ms")


SECTIONS: dict[str, Callable[[], None]] = {
    "accept": accept,
    "run": run,
    "packages": packages,
    "idle": idle,
    "command": command,
}


def main() -> None:
    """Run the named sections, or all."""
    for name in sys.argv[1:] or SECTIONS:
        SECTIONS[name]()


if __name__ == "__main__":
    main()
