"""Runs of /bin/true a second: through the keeper, and by a bare posix_spawn loop as the floor.

Run it as ``python -m bench.keeper_bench``.
"""

import asyncio
import os
import statistics
import tempfile
import time
from pathlib import Path

from flowd.executors.direct.executor import DirectExecutor
from flowd.ports import Command, Launch

RUNS = 1000


def floor(folder: Path, concurrency: int) -> float:
    """Runs a second of the least that a run needs: two files, a process, its exit."""
    began = time.perf_counter()
    running = 0
    for number in range(RUNS):
        fds = [
            os.open(folder / f"floor-{concurrency}-{number}.{stream}", os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
            for stream in ("out", "err")
        ]
        actions = [(os.POSIX_SPAWN_DUP2, fd, target) for target, fd in enumerate(fds, 1)]
        os.posix_spawn("/bin/true", ["true"], os.environ, file_actions=actions, setsid=True)
        for fd in fds:
            os.close(fd)
        running += 1
        if running == concurrency:
            os.wait()
            running -= 1
    for _ in range(running):
        os.wait()
    return RUNS / (time.perf_counter() - began)


async def through_keeper(client: DirectExecutor, folder: Path, concurrency: int) -> tuple[float, list[float]]:
    """Runs a second and the milliseconds of each from start to exit."""
    durations_ms: list[float] = []
    numbers = iter(range(RUNS))

    async def worker() -> None:
        for number in numbers:
            name = f"keeper-{concurrency}-{number}"
            command = Command(("/bin/true",), str(folder), {"CODEX_FLOW_RUN_ID": name}, b'{"flow":{}}\n')
            began = time.perf_counter()
            out, err = str(folder / f"{name}.out"), str(folder / f"{name}.err")
            await client.start(Launch(name, command, out, err, 600.0, 5.0, 1 << 20))
            await client.wait(name)
            durations_ms.append((time.perf_counter() - began) * 1000)
            await client.forget(name)

    began = time.perf_counter()
    await asyncio.gather(*(worker() for _ in range(concurrency)))
    return RUNS / (time.perf_counter() - began), durations_ms


def cpu_ms(pid: int) -> float:
    """User and system time of a process, without its children."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) * 1000 / os.sysconf("SC_CLK_TCK")


async def main() -> None:
    """Print the table."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        client = DirectExecutor(folder / "keeper", base_env=dict(os.environ))
        await client.open()
        assert client.pid is not None
        print(
            f"{'concurrency':>11} {'floor/s':>8} {'keeper/s':>9} {'p50 ms':>7} {'p99 ms':>7} {'keeper CPU ms/run':>18}"
        )
        for concurrency in (1, 4, 16):
            floor_rate = await asyncio.to_thread(floor, folder, concurrency)
            cpu_before = cpu_ms(client.pid)
            rate, durations_ms = await through_keeper(client, folder, concurrency)
            cpu = (cpu_ms(client.pid) - cpu_before) / RUNS
            p50, p99 = statistics.median(durations_ms), statistics.quantiles(durations_ms, n=100)[98]
            print(f"{concurrency:>11} {floor_rate:>8.0f} {rate:>9.0f} {p50:>7.2f} {p99:>7.2f} {cpu:>18.3f}")
        rss = [line for line in Path(f"/proc/{client.pid}/status").read_text().splitlines() if line.startswith("VmRSS")]
        print(f"keeper {' '.join(rss[0].split())}")
        await client.close(end_steps=True)


if __name__ == "__main__":
    asyncio.run(main())
