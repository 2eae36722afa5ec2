"""Many steps at once, and much output: ``python -m bench.many_steps [steps] [runs with 1 MiB of output]``.

Targets for 1,000 steps: daemon and keeper together at most 120 MB and 2 % of a processor while all sleep; all of them
canceled within 3 s plus their grace. 10,000 runs with 1 MiB of output each leave the daemon's memory flat.
"""

import asyncio
import json
import os
import sys
import time
from pathlib import Path

import psutil

from bench.daemon import Daemon, running, scratch

STEPS_OF_A_FLOW = 100
WATCHED_S = 10.0
PARALLEL = 8


def add_steps(workspace: Path, name: str, script: str, count: int) -> None:
    """A package whose steps all wait for the same event."""
    folder = workspace / "flows" / name
    folder.mkdir(parents=True)
    program = folder / "main.sh"
    program.write_text(f"#!/bin/sh\n{script}\n", encoding="utf-8")
    program.chmod(0o755)
    steps = "".join(
        f'[[steps]]\nname = "s{n}"\nrunner = "exec"\nscript = "main.sh"\ntimeout_ms = 3600000\n'
        f'[steps.trigger]\ntype = "many.go"\n'
        for n in range(count)
    )
    (folder / "flow.toml").write_text(f'name = "{name}"\nversion = 1\n{steps}', encoding="utf-8")


def processes(daemon: Daemon) -> dict[str, psutil.Process]:
    """The two that flowd consists of."""
    with daemon.client() as client:
        keeper = int(client.status()["keeper"]["pid"])
    return {"daemon": psutil.Process(daemon.process.pid), "keeper": psutil.Process(keeper)}


def cpu_s(process: psutil.Process) -> float:
    """Processor time so far, without children."""
    times = process.cpu_times()
    return float(times.user + times.system)


def sleeping(count: int) -> None:
    """Memory and processor time while many steps sleep, and how long their cancel takes."""
    with scratch() as workspace:
        for n in range(0, count, STEPS_OF_A_FLOW):
            add_steps(workspace, f"f{n:05}", "sleep 3600", min(STEPS_OF_A_FLOW, count - n))
        os.environ["FLOWD_MAX_PARALLEL"] = str(count)
        with running(workspace) as daemon, daemon.client() as client:
            parts = processes(daemon)
            used = {name: cpu_s(process) for name, process in parts.items()}
            began = time.perf_counter()
            client.call("flow.dispatch", {"event": {"id": "e", "type": "many.go", "payload": {}}})
            while client.status()["runs"].get("running", 0) < count or started(parts["keeper"]) < count:
                time.sleep(0.1)
            print(f"  {count} steps started in {time.perf_counter() - began:.1f} s{spent(parts, used)}")
            time.sleep(2)
            used = {name: cpu_s(process) for name, process in parts.items()}
            time.sleep(WATCHED_S)
            whole_mb = whole_cpu = 0.0
            for name, process in parts.items():
                megabytes = process.memory_info().rss / 1e6
                percent = (cpu_s(process) - used[name]) / WATCHED_S * 100
                whole_mb, whole_cpu = whole_mb + megabytes, whole_cpu + percent
                print(f"    {name}: {megabytes:.1f} MB, {percent:.2f} % CPU, {process.num_fds()} descriptors")
            print(f"    together: {whole_mb:.1f} MB, {whole_cpu:.2f} % CPU (targets 120 MB, 2 %)")
            used = {name: cpu_s(process) for name, process in parts.items()}
            began = time.perf_counter()
            client.call("flow.cancelEvent", {"eventId": "e"})
            took_s = time.perf_counter() - began
            print(f"  all canceled in {took_s:.2f} s (target 3 s plus grace){spent(parts, used)}")
            counts = client.status()["runs"]
            print(f"    {json.dumps(counts)}; {started(parts['keeper'])} processes left")


def started(keeper: psutil.Process) -> int:
    """How many children the keeper has."""
    return len(Path(f"/proc/{keeper.pid}/task/{keeper.pid}/children").read_text().split())


def spent(parts: dict[str, psutil.Process], before: dict[str, float]) -> str:
    """The processor time since then, for a table."""
    return "".join(f", {name} {cpu_s(process) - before[name]:.2f} s CPU" for name, process in parts.items())


def output(count: int) -> None:
    """The daemon's memory over many runs with 1 MiB of output each."""
    with scratch() as workspace:
        script = 'head -c 1048576 /dev/zero | tr "\\\\0" x; echo; echo \'FLOW_RESULT {"status":"completed"}\''
        add_steps(workspace, "loud", script, 1)
        os.environ["FLOWD_MAX_PARALLEL"] = str(PARALLEL)
        with running(workspace) as daemon:
            parts = processes(daemon)
            for part in range(5):
                asyncio.run(_send(daemon.socket, range(part * count // 5, (part + 1) * count // 5)))
                sizes = ", ".join(f"{name} {p.memory_info().rss / 1e6:.1f} MB" for name, p in parts.items())
                print(f"  after {(part + 1) * count // 5} runs: {sizes}", flush=True)


async def _send(socket: Path, numbers: range) -> None:
    waiting = iter(numbers)

    async def caller() -> None:
        reader, writer = await asyncio.open_unix_connection(str(socket), limit=1 << 24)
        for number in waiting:
            event = {"id": f"o{number}", "type": "many.go", "payload": {}}
            request = {"jsonrpc": "2.0", "id": 1, "method": "flow.dispatch", "params": {"event": event, "wait": True}}
            writer.write(json.dumps(request).encode() + b"\n")
            answer = json.loads(await reader.readline())
            if "result" not in answer:
                raise RuntimeError(str(answer)[:300])
        writer.close()
        await writer.wait_closed()

    await asyncio.gather(*(caller() for _ in range(PARALLEL)))


def main() -> None:
    """Print both tables."""
    steps, runs = (*map(int, sys.argv[1:]), *(1000, 500)[len(sys.argv) - 1 :])
    print("many sleeping steps (each a shell and a `sleep`)")
    sleeping(steps)
    print("runs with 1 MiB of output each")
    output(runs)


if __name__ == "__main__":
    main()
