"""Daemon, keeper or both die by SIGKILL, and every exit is told exactly or not at all. Real processes."""

import asyncio
import fcntl
import os
import resource
import signal
import socket
import stat
import subprocess
import sys
import time
from pathlib import Path
from typing import TextIO

import pytest
from keeper_rig import UNTIL_FILE, Rig, all_of, is_alive, keeper, run, until

from flowd.domain.exit import Exit
from flowd.domain.launching import KeeperLostError, SpawnError
from flowd.executors.direct.executor import DirectExecutor
from flowd.executors.direct.exit_watch import KeeperExitWatch
from flowd.executors.direct.launcher import environment_without

pytestmark = pytest.mark.skipif(not Path("/proc/self/stat").exists(), reason="these tests look at processes by /proc")


def tells_exits() -> bool:
    """Whether this kernel's pidfds tell the exit of a process that is nobody's child here (Linux 6.15)."""
    release = os.uname().release.split(".")
    return (int(release[0]), int(release[1].split("-")[0])) >= (6, 15)


def test_a_new_daemon_learns_what_ended_and_what_runs(tmp_path: Path) -> None:
    async def test() -> None:
        async with keeper(tmp_path) as (rig, first):
            go = str(tmp_path / "go")
            await all_of(*(first.start(rig.launch(f"s{n}", UNTIL_FILE + str(n), env={"GO": go})) for n in range(4)))
            await first.start(rig.launch("long", "sleep 300"))
            await first.start(rig.launch("told", "exit 8"))
            await first.wait("told")
            await first.forget("told")
            await first.close(end_steps=False)
            Path(go).touch()
            for number in range(4):
                await until(lambda n=number: "end" in rig.output(f"s{n}"), "it has ended")
            second = await rig.client()
            try:
                assert second.id == first.id
                states = {record["id"]: record["state"] for record in second.records()}
                assert states["long"] == "running"
                assert "told" not in states
                assert await second.knows("s1")
                assert not await second.knows("told")
                ends = await all_of(*(second.wait(f"s{number}") for number in range(4)))
                assert [end.code for end in ends] == [0, 1, 2, 3]
                await second.stop("long", cause="canceled", grace_s=1)
                assert (await second.wait("long")).cause == "canceled"
                assert await second.wait("unheard of") == Exit()
            finally:
                await second.close(end_steps=True)

    run(test())


def test_a_keepers_death_leaves_a_warning_and_is_counted(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    async def test() -> None:
        async with keeper(tmp_path) as (rig, client):
            go = str(tmp_path / "go")
            await all_of(*(client.start(rig.launch(f"s{n}", UNTIL_FILE + "0", env={"GO": go})) for n in range(2)))
            assert (client.restarts, caplog.records) == (0, [])
            old_pid = await rig.kill_keeper(client)
            await rig.reconnected(client, old_pid)
            (told,) = (vars(record) for record in caplog.records)
            assert (told["levelname"], told["message"]) == ("WARNING", "keeper restarted")
            assert (told["old_pid"], told["pid"], told["adopted"]) == (old_pid, client.pid, 2)
            assert told["ended"] in ("SIGKILL", None)  # None where it was reaped, before Linux 6.15
            assert client.restarts == 1

    run(test())


@pytest.mark.parametrize("is_reaped", [False, True])
def test_how_a_watched_process_ended_is_found_out(is_reaped: bool) -> None:
    if is_reaped and not tells_exits():
        pytest.skip("NOT TESTED: how a reaped keeper ended, because this kernel does not tell (Linux 6.15 does)")
    exit_watch = KeeperExitWatch(can_pidfd=True)
    found = []
    for end in ("kill -9 $$", "exit 3"):
        with subprocess.Popen(["/bin/sh", "-c", f"read line; {end}"], stdin=subprocess.PIPE) as process:
            exit_watch.watch(process.pid)
            found.append(exit_watch.ended())
            process.stdin.close()  # type: ignore[union-attr]
            os.waitid(os.P_PID, process.pid, os.WEXITED | (0 if is_reaped else os.WNOWAIT))
            found.append(exit_watch.ended())
    exit_watch.close()
    assert found == [None, "SIGKILL", None, "exit code 3"]
    assert exit_watch.ended() is None


def test_a_daemon_that_dies_by_sigkill_leaves_its_steps_to_the_keeper(tmp_path: Path) -> None:
    daemon = """
import asyncio, sys
from pathlib import Path
from keeper_rig import Rig
async def main():
    rig = Rig(Path(sys.argv[1]))
    client = await rig.client()
    await client.start(rig.launch("orphan", "echo $$; read line; while [ ! -e go ]; do sleep 0.01; done; exit 6"))
    print(client.pid, flush=True)
    await asyncio.sleep(300)
asyncio.run(main())
"""

    async def test() -> None:
        environment = {**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, sys.path))}
        with subprocess.Popen(
            [sys.executable, "-c", daemon, str(tmp_path)], stdout=subprocess.PIPE, env=environment
        ) as process:
            assert process.stdout is not None
            keeper_pid = int(process.stdout.readline())
            process.kill()
        async with keeper(tmp_path) as (rig, client):
            assert client.pid == keeper_pid
            (pid,) = await rig.pids("orphan")
            assert is_alive(pid)
            (tmp_path / "go").touch()
            assert (await client.wait("orphan")).code == 6

    run(test())


@pytest.mark.parametrize("without", ["", "pidfd_info", "pidfd", "subreaper", "proc"])
def test_the_keeper_dies_and_running_steps_go_on(tmp_path: Path, without: str) -> None:
    async def test() -> None:
        async with keeper(tmp_path, without) as (rig, client):
            go = tmp_path / "go"
            names = [f"s{number}" for number in range(5)]
            for number, name in enumerate(names):
                await client.start(rig.launch(name, UNTIL_FILE + str(number), env={"GO": str(go)}))
                await rig.pids(name)
            waits = [asyncio.create_task(client.wait(name)) for name in names]
            old_id, old_pid = client.id, await rig.kill_keeper(client)
            await rig.reconnected(client, old_pid)
            assert client.id != old_id
            assert all([await client.knows(name) for name in names])
            assert not await client.knows("never")
            assert not any(wait.done() for wait in waits)
            go.touch()
            ends = await all_of(*waits)
            if "pidfd_info" in client.capabilities:
                assert [end.code for end in ends] == [0, 1, 2, 3, 4]
            else:  # what was not seen is not guessed: the true code, from a zombie that was looked at in time, or none
                assert all(end.code in (None, number) for number, end in enumerate(ends))
            assert all(rig.output(name).endswith("end\n") for name in names)
            assert (await rig.run(client, "after", "exit 3")).code == 3

    run(test())


@pytest.mark.skipif(not tells_exits(), reason="needs Linux 6.15")
def test_a_step_that_ends_while_there_is_no_keeper_has_its_exact_exit(tmp_path: Path) -> None:
    async def test() -> None:
        async with keeper(tmp_path) as (rig, client):
            pids = [
                await client.start(rig.launch("code", "exec sleep 300")),
                await client.start(rig.launch("gone", "trap 'exit 42' USR1; echo $$; while :; do sleep 0.01; done")),
            ]
            await rig.pids("gone")
            assert client.pid is not None
            # No turn of our loop in between: the client learns of the keeper's death only after these ended.
            os.kill(client.pid, signal.SIGKILL)
            old_pid = client.pid
            os.kill(pids[0], signal.SIGKILL)
            os.kill(pids[1], signal.SIGUSR1)
            deadline = time.monotonic() + 20
            # Reaped as well, so that nothing but the client's pidfds knows how they ended.
            while is_alive(old_pid) or any(Path(f"/proc/{pid}").exists() for pid in pids):
                assert time.monotonic() < deadline
                time.sleep(0.005)
            killed, coded = await all_of(client.wait("code"), client.wait("gone"))
            assert (killed.signal, coded.code) == (signal.SIGKILL, 42)

    run(test())


def test_a_second_daemon_takes_the_keeper_and_the_first_does_not_fight_for_it(tmp_path: Path) -> None:
    async def test() -> None:
        lost: list[KeeperLostError] = []
        rig = Rig(tmp_path)
        first = await rig.client(on_lost=lost.append)
        await first.start(rig.launch("sleeper", "exec sleep 300"))
        second = await rig.client()
        with pytest.raises(KeeperLostError, match="Another daemon"):
            await first.wait("sleeper")
        assert len(lost) == 1
        with pytest.raises(KeeperLostError):
            await first.knows("sleeper")
        await first.close(end_steps=False)
        assert (await second.stop("sleeper", cause="canceled", grace_s=0)) is None
        assert (await second.wait("sleeper")).cause == "canceled"
        await second.close(end_steps=True)

    run(test())


def test_a_keeper_that_keeps_dying_is_given_up_and_everyone_is_told(tmp_path: Path) -> None:
    async def test() -> None:
        lost: asyncio.Future[KeeperLostError] = asyncio.get_running_loop().create_future()
        rig = Rig(tmp_path)
        client = await rig.client(on_lost=lost.set_result)
        pid = await client.start(rig.launch("sleeper", "exec sleep 300"))
        waiting = asyncio.create_task(client.wait("sleeper"))
        while not lost.done():
            if client.pid is not None:
                await rig.kill_keeper(client)
            await asyncio.sleep(0.01)
        with pytest.raises(KeeperLostError, match="in a row"):
            await waiting
        with pytest.raises(KeeperLostError):
            await client.start(rig.launch("another", "exit 0"))
        await client.close(end_steps=False)
        async with keeper(tmp_path) as (rig, client):  # nothing is lost for the next daemon
            assert is_alive(pid)
            await client.stop("sleeper", cause="canceled", grace_s=1)
            assert (await client.wait("sleeper")).cause == "canceled"

    run(test())


def test_no_keeper_can_be_started(tmp_path: Path) -> None:
    async def test() -> None:
        client = DirectExecutor(tmp_path / "keeper", base_env={}, python="/bin/false")
        with pytest.raises(KeeperLostError, match="start failed"):
            await client.open()
        await client.close(end_steps=False)

    run(test())


def test_a_state_folder_that_was_removed_is_not_made_again_for_a_keeper(tmp_path: Path) -> None:
    async def test() -> None:
        folder = tmp_path / "state"
        client = DirectExecutor(folder / "keeper", base_env={})
        with pytest.raises(KeeperLostError, match="cannot be reached"):
            await client.open()
        await client.close(end_steps=False)
        assert not folder.exists()

    run(test())


def test_a_full_disk_refuses_starts_and_harms_nothing_that_runs(tmp_path: Path) -> None:
    async def test() -> None:
        async with keeper(tmp_path) as (rig, client):
            await client.start(rig.launch("before", "read x; exit 4"))
            await client.wait("before")
            running = rig.launch("running", UNTIL_FILE + "7", env={"GO": str(tmp_path / "go")})
            await client.start(running)
            size = (rig.directory / "keeper.journal").stat().st_size
            assert client.pid is not None
            old = resource.prlimit(client.pid, resource.RLIMIT_FSIZE, (size + 20, resource.RLIM_INFINITY))
            with pytest.raises(SpawnError, match="journal"):
                await client.start(rig.launch("refused", "exit 0"))
            assert not await client.knows("refused")
            (tmp_path / "go").touch()
            assert (await client.wait("running")).code == 7
            resource.prlimit(client.pid, resource.RLIMIT_FSIZE, old)
            assert (await rig.run(client, "again", "exit 2")).code == 2
            old_pid = await rig.kill_keeper(client)
            await rig.reconnected(client, old_pid)
            codes = {record["id"]: record.get("code") for record in client.records()}
            assert codes == {"before": 4, "running": 7, "again": 2}

    run(test())


def test_without_a_daemon_steps_end_after_the_orphan_grace(tmp_path: Path) -> None:
    async def test() -> None:
        rig = Rig(tmp_path, orphan_grace_s=0.3)
        client = await rig.client()
        pid = await client.start(rig.launch("orphan", "echo $$; exec sleep 300", grace_s=1))
        keeper_pid = client.pid
        assert keeper_pid is not None
        await client.close(end_steps=False)
        await until(lambda: not is_alive(keeper_pid), "the keeper has ended")
        assert not is_alive(pid)
        async with keeper(tmp_path) as (rig, client):
            assert (await client.wait("orphan")).signal == signal.SIGTERM

    run(test())


def test_sigterm_ends_the_steps_and_then_the_keeper_and_a_new_one_comes(tmp_path: Path) -> None:
    async def test() -> None:
        async with keeper(tmp_path) as (rig, client):
            await client.start(rig.launch("polite", "trap 'exit 3' TERM; echo $$; while :; do sleep 0.01; done"))
            await rig.pids("polite")
            old_pid = client.pid
            assert old_pid is not None
            os.kill(old_pid, signal.SIGINT)
            os.kill(old_pid, signal.SIGHUP)
            os.kill(old_pid, signal.SIGTERM)
            assert (await client.wait("polite")).code == 3
            await rig.reconnected(client, old_pid)
            assert (await rig.run(client, "after", "exit 1")).code == 1

    run(test())


def test_garbage_on_the_socket_costs_the_connection_only(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)  # from where the path of its socket is short

    async def test() -> None:
        async with keeper(tmp_path) as (rig, client):
            pid = client.pid
            await client.start(rig.launch("calm", UNTIL_FILE + "5", env={"GO": str(tmp_path / "go")}))
            await client.close(end_steps=False)
            bad = [
                b"\0\xff garbage\n",
                b"[]\n",
                b'{"op":"start","body_bytes":99999999999}\n',
                b"x" * (1 << 20) + b"x",
                b'{"op":"start","id":"half"}\n{"op":"nonsense"}\n{}\n{"op":"hello","v":99}\n',
                b'{"op":"adopt","id":"calm"}\n',
                b'{"op":"start","id":"half","body_bytes":10}\nabc',
            ]
            for frame in bad:
                with socket.socket(socket.AF_UNIX) as raw:
                    raw.connect("keeper/keeper.sock")
                    raw.settimeout(10)
                    try:
                        raw.sendall(frame)
                        raw.shutdown(socket.SHUT_WR)
                        while raw.recv(65536):
                            pass
                    except (BrokenPipeError, ConnectionResetError):
                        pass
            again = await rig.client()
            try:
                assert again.pid == pid
                assert not await again.knows("half")
                (tmp_path / "go").touch()
                assert (await again.wait("calm")).code == 5
            finally:
                await again.close(end_steps=True)

    run(test())


def _is_free(lock: TextIO) -> bool:
    """Whether this lock can be taken, which takes it."""
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def test_only_we_can_reach_the_keeper_and_its_lock_lives_as_long_as_it(tmp_path: Path) -> None:
    async def test() -> None:
        async with keeper(tmp_path) as (rig, client):
            assert stat.S_IMODE(rig.directory.stat().st_mode) == 0o700
            assert stat.S_IMODE((rig.directory / "keeper.sock").stat().st_mode) == 0o600
            await client.start(rig.launch("holder", "echo $$; exec sleep 300"))
            with (rig.directory / "keeper.lock").open() as lock:
                assert not _is_free(lock)
                pid = client.pid
                assert pid is not None
                await client.close(end_steps=True)
                await until(lambda: not is_alive(pid), "the keeper has ended")
                # A standby that was forked just now has a copy of the lock until it closes what is not its own.
                await until(lambda: _is_free(lock), "nobody has the lock")

    run(test())


@pytest.mark.parametrize("without", ["", "proc"])
def test_a_folder_whose_path_is_too_long_for_a_socket_works(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, without: str
) -> None:
    async def test() -> None:
        folder = tmp_path / ("d" * 100)
        folder.mkdir()
        async with keeper(folder, without) as (rig, client):
            assert (await rig.run(client, "deep", "exit 3")).code == 3
            old_pid = await rig.kill_keeper(client)
            await rig.reconnected(client, old_pid)
            assert (rig.directory / "keeper.sock.path").exists() == bool(without)

    (tmp_path / "run").mkdir()
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(tmp_path / "run"))
    run(test())


def test_what_a_daemon_said_is_obeyed_before_the_next_one_is_heard(tmp_path: Path) -> None:
    async def test() -> None:
        async with keeper(tmp_path) as (rig, client):
            await rig.run(client, "ended", "exit 0")
            assert client.pid is not None
            os.kill(client.pid, signal.SIGSTOP)
            try:
                await client.forget("ended")
                await asyncio.sleep(0.1)  # forgetting is sent some milliseconds later, with what else there is
                coming = asyncio.create_task(rig.client())
                await asyncio.sleep(0.2)  # it has connected and said hello
            finally:
                os.kill(client.pid, signal.SIGCONT)
            again = await coming
            assert again.records() == ()
            await again.close(end_steps=True)

    run(test())


def test_many_exits_are_compacted_away_once_forgotten(tmp_path: Path) -> None:
    async def test() -> None:
        async with keeper(tmp_path) as (rig, client):

            async def one(number: int) -> None:
                launch = rig.launch_program(f"{'n' * 100}{number}", "/bin/true")
                await client.start(launch)
                assert (await client.wait(launch.attempt_id)).code == 0
                await client.forget(launch.attempt_id)

            for start in range(0, 160, 16):
                await all_of(*(one(number) for number in range(start, start + 16)))
            journal = rig.directory / "keeper.journal"
            await until(lambda: journal.stat().st_size < 1 << 16, "the journal was emptied")
            old_pid = await rig.kill_keeper(client)
            await rig.reconnected(client, old_pid)
            # What the dead keeper had not heard is forgotten again.
            for record in client.records():
                assert not await client.knows(record["id"])
            await client.close(end_steps=False)
            again = await rig.client()
            assert again.records() == ()
            await again.close(end_steps=True)

    run(test())


def test_switches_come_from_the_environment(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    async def test() -> None:
        monkeypatch.setenv("FLOWD_WITHOUT", "pidfd, proc")
        client = DirectExecutor(tmp_path / "keeper", base_env={})
        await client.open()
        assert not client.capabilities & {"pidfd", "pidfd_info", "proc", "children"}
        await client.close(end_steps=True)

    assert environment_without("") == frozenset()
    run(test())
