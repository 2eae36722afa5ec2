"""A fork bomb in a step with a limit, as a program of its own: it must not run as root, who has no such limit."""

import asyncio
import os
import signal
import sys
from pathlib import Path

from keeper_rig import is_alive, keeper, run, until

from flowd.domain.limits import Limits

LIMIT = 60

BOMB = """
import os, signal, time
signal.signal(signal.SIGTERM, signal.SIG_IGN)
while True:
    try:
        os.fork() or os.setsid()
    except OSError:
        os.write(1, b"full ")
        time.sleep(0.01)
"""


async def explode(folder: Path, without: str) -> None:
    """Let it go off, see that it stays within its limit, and that nothing of it outlives its end."""
    async with keeper(folder, without) as (rig, client):
        bomb = folder / "bomb.py"
        bomb.write_text(BOMB)
        await client.start(
            rig.launch_program("bomb", sys.executable, "-I", "-S", str(bomb), limits=Limits(processes=LIMIT))
        )
        most = 0
        await until(lambda: "full" in rig.output("bomb"), "the bomb has used up its limit")
        others = allowed(fragments(str(bomb))[0]) - LIMIT
        for _ in range(20):
            most = max(most, len(fragments(str(bomb))))
            await asyncio.sleep(0.01)
        await client.stop("bomb", cause="canceled", grace_s=0.1)
        end = await client.wait("bomb")
        assert (end.cause, end.survivors) == ("canceled", ()), end
        # The kernel counts all that the user has, and so others who were there at the start, and may have ended since.
        assert most <= LIMIT + others, (most, others)
        assert most > LIMIT // 2 or others > LIMIT // 2, (most, others)
        assert not fragments(str(bomb))


def fragments(program: str) -> list[int]:
    """The living processes of a program."""
    found = []
    for name in filter(str.isdecimal, os.listdir("/proc")):
        try:
            command = Path(f"/proc/{name}/cmdline").read_bytes()
        except OSError:
            continue
        if program.encode() in command and is_alive(int(name)):
            found.append(int(name))
    return found


def allowed(pid: int) -> int:
    """How many processes its user may have, as far as this one is concerned."""
    (line,) = (line for line in Path(f"/proc/{pid}/limits").read_text().splitlines() if "Max processes" in line)
    return int(line.split()[2])


if __name__ == "__main__":
    signal.alarm(50)
    run(explode(Path(sys.argv[1]), sys.argv[2]))
