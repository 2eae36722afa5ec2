"""Leases: the keeper ends a step whose lease is not renewed, whatever has become of its daemon."""

import asyncio
import contextlib
import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from keeper_rig import UNTIL_FILE, Rig, is_alive, keeper, run, until

from flowd.domain.exit import Exit
from flowd.domain.launching import SpawnError
from flowd.executors.direct.executor import DirectExecutor
from flowd.executors.systemd.executor import SystemdExecutor
from flowd.keeper.capabilities import now_s

FAR_S = 3600.0
"""A lease that no test sees the end of."""
STUBBORN = "trap '' TERM; echo $$; while :; do sleep 0.05; done"

FROZEN_DAEMON = """
import asyncio, os, signal, sys
from pathlib import Path
from keeper_rig import Rig
from flowd.keeper.capabilities import now_s

async def main():
    rig = Rig(Path(sys.argv[1]))
    client = await rig.client(orphan_grace_s=3600.0)
    await client.start(rig.launch("leased", "echo $$; sleep 600", lease_until_s=now_s() + 3600))
    await client.start(rig.launch("free", "echo $$; sleep 600"))
    await rig.pids("leased")
    print(client.pid, flush=True)
    client.lease({"leased": now_s() + 0.2})
    await client.start(rig.launch("later", "exit 0"))  # once it has replied, it has read what came before
    os.kill(os.getpid(), signal.SIGSTOP)
    exit_ = await client.wait("leased")
    print(exit_.cause, exit_.signal, flush=True)
    await client.close(end_steps=True)

asyncio.run(main())
"""


def is_free_end(exit_: Exit) -> bool:
    return (exit_.code, exit_.cause) == (7, None)


def in_state(pid: int) -> str:
    return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]


@pytest.fixture
def frozen_daemon(tmp_path: Path) -> Iterator[subprocess.Popen[str]]:
    tests = str(Path(__file__).resolve().parents[1])
    argv = [sys.executable, "-c", FROZEN_DAEMON, str(tmp_path)]
    daemon = subprocess.Popen(argv, env={**os.environ, "PYTHONPATH": tests}, stdout=subprocess.PIPE, text=True)
    keeper_pid = 0
    try:
        assert daemon.stdout is not None
        keeper_pid = int(daemon.stdout.readline())
        yield daemon
    finally:
        daemon.kill()
        daemon.communicate()
        if keeper_pid:
            os.kill(keeper_pid, signal.SIGTERM)  # it ends all steps


def test_a_step_whose_daemon_is_stopped_by_a_signal_ends_with_its_lease(
    tmp_path: Path, frozen_daemon: subprocess.Popen[str]
) -> None:
    async def test() -> None:
        rig = Rig(tmp_path)
        [leased], [free] = await rig.pids("leased"), await rig.pids("free")
        await until(lambda: in_state(frozen_daemon.pid) == "T", "the daemon is stopped")
        await until(lambda: not is_alive(leased), "the step has ended")
        assert in_state(frozen_daemon.pid) == "T"
        assert is_alive(free)
        frozen_daemon.send_signal(signal.SIGCONT)
        assert frozen_daemon.stdout is not None
        said = await asyncio.to_thread(frozen_daemon.stdout.readline)
        assert said == f"fenced {signal.SIGTERM.value}\n"

    run(test())


def test_a_step_runs_on_for_as_long_as_its_lease_is_renewed(tmp_path: Path) -> None:
    async def test() -> None:
        async with keeper(tmp_path) as (rig, client):
            assert client.can_fence
            launch = rig.launch("a", UNTIL_FILE + "7", env={"GO": str(tmp_path / "go")}, lease_until_s=now_s() + FAR_S)
            await client.start(launch)
            short_s = now_s() + 1.0
            client.lease({"a": short_s, "nobody": short_s})
            client.lease({"a": now_s() + FAR_S})  # sent together, so it reads both at once, however late
            await until(lambda: now_s() > short_s, "the first lease is over")
            assert (await rig.run(client, "b", "exit 3")).code == 3  # the keeper had a turn since
            (tmp_path / "go").touch()
            assert is_free_end(await client.wait("a"))

    run(test())


def test_a_step_that_ignores_sigterm_is_killed_after_its_grace(tmp_path: Path) -> None:
    async def test() -> None:
        async with keeper(tmp_path) as (rig, client):
            await client.start(rig.launch("a", STUBBORN, grace_s=0.3, lease_until_s=now_s() + FAR_S))
            await rig.pids("a")
            client.lease({"a": now_s()})
            end = await client.wait("a")
            assert (end.cause, end.signal) == ("fenced", signal.SIGKILL)
            assert end.survivors == ()

    run(test())


def test_a_lease_that_was_over_long_ago_leaves_no_grace(tmp_path: Path) -> None:
    async def test() -> None:
        async with keeper(tmp_path) as (rig, client):
            await client.start(rig.launch("a", STUBBORN, grace_s=300.0, lease_until_s=now_s() + FAR_S))
            await rig.pids("a")
            client.lease({"a": now_s() - FAR_S})  # as after a night asleep
            end = await client.wait("a")
            assert (end.cause, end.signal) == ("fenced", signal.SIGKILL)

    run(test())


def test_a_step_comes_under_a_lease_while_it_runs(tmp_path: Path) -> None:
    async def test() -> None:
        async with keeper(tmp_path) as (rig, client):
            await client.start(rig.launch("a", "echo $$; sleep 600"))
            await rig.pids("a")
            client.lease({"a": now_s()})
            assert (await client.wait("a")).cause == "fenced"

    run(test())


def test_a_timeout_before_the_end_of_the_lease_is_a_timeout(tmp_path: Path) -> None:
    async def test() -> None:
        async with keeper(tmp_path) as (rig, client):
            launch = rig.launch("a", "sleep 600", timeout_s=0.1, lease_until_s=now_s() + FAR_S)
            await client.start(launch)
            assert (await client.wait("a")).cause == "timeout"

    run(test())


def test_a_start_whose_lease_is_over_is_refused(tmp_path: Path) -> None:
    async def test() -> None:
        async with keeper(tmp_path) as (rig, client):
            with pytest.raises(SpawnError, match="lease of this attempt was over before it could start"):
                await client.start(rig.launch("late", "exit 0", lease_until_s=now_s()))
            assert not rig.path("late", "out").exists()
            assert not await client.knows("late")

    run(test())


def test_a_leased_step_outlives_the_orphan_grace_and_ends_with_its_lease(tmp_path: Path) -> None:
    async def test() -> None:
        rig = Rig(tmp_path, orphan_grace_s=0.1)
        client = await rig.client()
        await client.start(rig.launch("a", UNTIL_FILE + "7", env={"GO": str(tmp_path / "go")}))
        client.lease({"a": now_s() + FAR_S})
        await client.start(rig.launch("b", "echo $$; sleep 600", lease_until_s=now_s() + FAR_S))
        client.lease({"b": now_s() + 1.0})
        [first], [second] = await rig.pids("a"), await rig.pids("b")
        await client.close(end_steps=False)
        await until(lambda: not is_alive(second), "its lease is over")  # which is after the grace for orphans
        assert is_alive(first)
        (tmp_path / "go").touch()
        await until(lambda: not is_alive(first), "it has ended")
        client = await rig.client()
        assert is_free_end(await client.wait("a"))
        assert (await client.wait("b")).cause == "fenced"
        await client.close(end_steps=True)
        rig.end()

    run(test())


@pytest.mark.parametrize("is_renewed", [False, True])
def test_the_next_keeper_ends_a_step_with_the_lease_that_the_last_one_was_told(
    tmp_path: Path, *, is_renewed: bool
) -> None:
    async def test() -> None:
        rig = Rig(tmp_path)
        client = await rig.client()
        first_s = now_s() + (1.0 if is_renewed else FAR_S)
        await client.start(rig.launch("a", UNTIL_FILE + "7", env={"GO": str(tmp_path / "go")}))
        client.lease({"a": first_s})
        client.lease({"a": now_s() + FAR_S if is_renewed else now_s() + 1.0})
        assert (await rig.run(client, "b", "exit 3")).code == 3
        [leader], keeper_pid = await rig.pids("a"), client.pid
        assert keeper_pid is not None
        await client.close(end_steps=False)
        os.kill(keeper_pid, signal.SIGKILL)
        await until(lambda: not is_alive(keeper_pid), "the keeper is gone")
        client = await rig.client()  # which says nothing of leases
        if is_renewed:
            await until(lambda: now_s() > first_s, "the first lease is over")
            assert is_alive(leader)
            (tmp_path / "go").touch()
            assert (await client.wait("a")).cause is None
        else:
            assert (await client.wait("a")).cause == "fenced"
        await client.close(end_steps=True)
        rig.end()

    run(test())


def test_a_keeper_that_takes_the_place_of_a_dead_one_is_told_of_the_leases(tmp_path: Path) -> None:
    async def test() -> None:
        async with keeper(tmp_path) as (rig, client):
            await client.start(rig.launch("a", "echo $$; sleep 600", lease_until_s=now_s() + FAR_S))
            await rig.pids("a")
            pid = client.pid
            assert pid is not None
            os.kill(pid, signal.SIGSTOP)  # it reads no more
            client.lease({"a": now_s() + 0.1})
            os.kill(pid, signal.SIGKILL)
            await rig.reconnected(client, pid)
            assert (await client.wait("a")).cause == "fenced"

    run(test())


@pytest.mark.parametrize("how", [signal.SIGKILL, signal.SIGSTOP])
def test_a_lease_is_kept_without_any_keeper(tmp_path: Path, how: signal.Signals) -> None:
    async def test() -> None:
        rig = Rig(tmp_path)
        client = await rig.client()
        closing = "exec >&- 2>&-; "  # nothing of it is a pipe's
        scripts = {"calm": "", "quiet": closing, "stubborn": "trap '' TERM; ", "free": ""}
        for name, before in scripts.items():
            script = f"echo $$; sleep 600 & echo $!; {before}while :; do sleep 0.05; done"
            until_s = None if name == "free" else now_s() + FAR_S
            await client.start(rig.launch(name, script, grace_s=0.3, lease_until_s=until_s))
        members = {name: await rig.pids(name, 2) for name in scripts}
        client.lease({name: now_s() + 1.0 for name in ("calm", "quiet", "stubborn")})
        assert (await rig.run(client, "later", "exit 3")).code == 3
        keeper_pid = client.pid
        assert keeper_pid is not None
        await client.close(end_steps=False)
        os.kill(keeper_pid, how)
        for name in ("calm", "quiet", "stubborn"):
            await until(lambda name=name: not any(map(is_alive, members[name])), f"{name} is gone")
        assert all(map(is_alive, members["free"]))
        with contextlib.suppress(ProcessLookupError):
            os.kill(keeper_pid, signal.SIGKILL)
        await until(lambda: not is_alive(keeper_pid), "the keeper is gone")
        client = await rig.client()
        for name in ("calm", "quiet", "stubborn"):
            assert (await client.wait(name)).code is None
        assert all(map(is_alive, members["free"]))
        await client.close(end_steps=True)
        rig.end()

    run(test())


def test_a_journal_with_many_leases_stays_small(tmp_path: Path) -> None:
    async def test() -> None:
        async with keeper(tmp_path) as (rig, client):
            await client.start(rig.launch("a", UNTIL_FILE + "7", env={"GO": str(tmp_path / "go")}))
            names = {f"nobody-{number:06}": 1.0 for number in range(10)}
            for number in range(30_000):
                client.lease({"a": now_s() + FAR_S + number, **names})
            assert (await rig.run(client, "b", "exit 3")).code == 3
            journal = rig.directory / "keeper.journal"
            assert journal.stat().st_size < 3 << 20
            lines = [json.loads(line) for line in journal.read_text().splitlines()]
            assert all(line["until_s"].keys() == {"a"} for line in lines if line["op"] == "lease")
            (tmp_path / "go").touch()
            assert is_free_end(await client.wait("a"))

    run(test())


def test_a_keeper_from_before_leases_is_asked_for_none(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    async def test() -> None:
        async with keeper(tmp_path) as (rig, client):
            monkeypatch.setattr("flowd.executors.direct.executor.abilities", _before_leases)
            assert not client.can_fence
            with pytest.raises(SpawnError, match="another version of flowd and cannot keep lease_until_s"):
                await client.start(rig.launch("a", "exit 0", lease_until_s=now_s() + FAR_S))
            await client.start(rig.launch("b", UNTIL_FILE + "7", env={"GO": str(tmp_path / "go")}))
            client.lease({"b": now_s()})
            assert (await rig.run(client, "c", "exit 3")).code == 3
            (tmp_path / "go").touch()
            assert is_free_end(await client.wait("b"))

    run(test())


def _before_leases(hello: dict[str, object]) -> frozenset[str]:
    assert isinstance(hello["abilities"], list)
    return frozenset(hello["abilities"]) - {"lease_until_s"}


def test_systemd_starts_nothing_that_it_cannot_fence(tmp_path: Path) -> None:
    executor = SystemdExecutor(tmp_path, base_env={}, scope="user", boot_id="")
    assert not executor.can_fence
    with pytest.raises(SpawnError, match='need executor = "direct"'):
        run(executor.start(Rig(tmp_path).launch("a", "exit 0", lease_until_s=now_s() + FAR_S)))


def test_an_executor_that_has_met_no_keeper_cannot_fence(tmp_path: Path) -> None:
    assert not DirectExecutor(tmp_path, base_env={}).can_fence
