"""The keeper dies by SIGKILL again and again under load. No step runs twice, none is lost, no exit is made up."""

import asyncio
import os
import random
import signal
from pathlib import Path

import pytest
from keeper_rig import Rig, is_alive, keeper, run, until

import flowd.executors.direct.keeper_link
from flowd.domain.launching import KeeperLostError
from flowd.executors.direct.executor import DirectExecutor

pytestmark = pytest.mark.skipif(not Path("/proc/self/stat").exists(), reason="these tests look at processes by /proc")

STEPS = 150
CRASHES = 6


def test_every_step_runs_at_most_once_and_no_exit_is_made_up(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(flowd.executors.direct.keeper_link, "MAX_DEATHS", CRASHES + 1)
    rng = random.Random(7)
    unknown: list[str] = []

    async def one(rig: Rig, client: DirectExecutor, number: int) -> None:
        name, code = f"s{number}", number % 250
        ran = rig.folder / f"{name}.ran"
        launch = rig.launch(name, f"echo x >> {ran}; sleep 0.0{number % 10}; exit {code}", env={"OF": str(rig.folder)})
        try:
            await client.start(launch)
        except KeeperLostError:
            if not await client.knows(name):
                assert not ran.exists()  # never begun, so it may be started now
                rig.path(name, "out").unlink(missing_ok=True)
                rig.path(name, "err").unlink(missing_ok=True)
                await one(rig, client, number)
                return
        end = await client.wait(name)
        if end.is_known:
            assert (end.code, ran.read_text()) == (code, "x\n")
        else:
            assert not ran.exists() or ran.read_text() == "x\n"
            unknown.append(name)
        await client.forget(name)

    async def crash(rig: Rig, client: DirectExecutor) -> None:
        for _ in range(CRASHES):
            await asyncio.sleep(rng.uniform(0.02, 0.25))  # any moment will do
            pid = await until(lambda: client.pid, "a keeper lives")
            assert pid is not None
            os.kill(pid, signal.SIGKILL)
            await rig.reconnected(client, pid)

    async def test() -> None:
        async with keeper(tmp_path) as (rig, client):
            numbers = iter(range(STEPS))

            async def worker() -> None:
                for number in numbers:
                    await one(rig, client, number)

            crashing = asyncio.create_task(crash(rig, client))
            await asyncio.gather(*(worker() for _ in range(8)))
            await crashing
            # Unknown is honest only for what was under way, or only announced, at the moment of a crash.
            assert len(unknown) <= 8 * CRASHES
            if "pidfd_info" in client.capabilities:
                assert len(unknown) <= 2 * CRASHES
            pids = [int(name) for name in os.listdir("/proc") if name.isdecimal()]
            assert not [pid for pid in pids if _is_step_of(pid, rig.folder)]
            await client.close(end_steps=False)  # which sends what it has not told the keeper yet
            again = await rig.client()
            assert again.records() == ()  # everything was forgotten
            await again.close(end_steps=True)

    run(test())


def _is_step_of(pid: int, folder: Path) -> bool:
    try:
        return is_alive(pid) and f"OF={folder}".encode() in Path(f"/proc/{pid}/environ").read_bytes()
    except OSError:
        return False
