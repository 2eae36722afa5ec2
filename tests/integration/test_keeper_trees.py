"""Nothing of a step is left behind, however it hides. Real processes."""

import asyncio
import os
import signal
from pathlib import Path

import pytest
from keeper_rig import FALLBACKS, is_alive, keeper, run

pytestmark = pytest.mark.skipif(not Path("/proc/self/stat").exists(), reason="these tests look at processes by /proc")

BACKGROUND = "sleep 300 & echo $!"
ESCAPED = "setsid sh -c 'echo $$; exec sleep 300' &"
DOUBLE_FORKED = "(setsid sh -c '(sleep 300 & echo $!)' &)"
WAIT_FOR_THREE = "while [ $(wc -l < $OUT) -lt 3 ]; do sleep 0.01; done"


@pytest.mark.parametrize("without", FALLBACKS)
def test_leftovers_of_a_good_end_are_ended_and_named(tmp_path: Path, without: str) -> None:
    async def test() -> None:
        async with keeper(tmp_path, without) as (rig, client):
            script = f"{BACKGROUND}; {ESCAPED}\n {DOUBLE_FORKED}; {WAIT_FOR_THREE}; exit 3"
            end = await rig.run(client, "mess", script, env={"OUT": str(rig.path("mess", "out"))})
            pids = await rig.pids("mess", 3)
            assert (end.code, end.cause, end.survivors) == (3, None, ())
            assert not [pid for pid in pids if is_alive(pid)]
            assert set(end.leftovers) >= {f"{pid} sleep" for pid in pids}

    run(test())


@pytest.mark.parametrize("without", FALLBACKS)
def test_a_stop_reaches_escapees_that_ignore_sigterm(tmp_path: Path, without: str) -> None:
    async def test() -> None:
        async with keeper(tmp_path, without) as (rig, client):
            deaf = "setsid sh -c 'trap \"\" TERM; echo $$; while :; do sleep 1; done' & wait"
            await client.start(rig.launch("deaf", deaf))
            (pid,) = await rig.pids("deaf")
            await client.stop("deaf", cause="canceled", grace_s=0.3)
            end = await client.wait("deaf")
            assert (end.signal, end.cause) == (signal.SIGTERM, "canceled")
            assert not is_alive(pid)
            assert f"{pid} sh" in end.leftovers

    run(test())


def test_an_escapee_without_the_environment_is_found_by_descent(tmp_path: Path) -> None:
    async def test() -> None:
        async with keeper(tmp_path) as (rig, client):
            script = "(env -i setsid sh -c 'echo $$; exec sleep 300' &); while [ ! -s $OUT ]; do sleep 0.01; done"
            end = await rig.run(client, "bare", script, env={"OUT": str(rig.path("bare", "out"))})
            (pid,) = await rig.pids("bare")
            assert not is_alive(pid)
            assert end.leftovers == (f"{pid} sleep",)

    run(test())


def test_a_detached_step_may_leave_processes(tmp_path: Path) -> None:
    async def test() -> None:
        async with keeper(tmp_path) as (rig, client):
            end = await rig.run(client, "detached", f"{BACKGROUND}; exit 0", detach=True)
            (pid,) = await rig.pids("detached")
            assert (end.code, end.leftovers) == (0, ())
            # Another step's end must not take it for its own.
            other = await rig.run(client, "other", "sleep 0.05 & wait; exit 1")
            assert (other.code, other.leftovers) == (1, ())
            assert is_alive(pid)
            os.kill(pid, signal.SIGKILL)

    run(test())


def test_one_steps_leftovers_are_not_anothers(tmp_path: Path) -> None:
    async def test() -> None:
        async with keeper(tmp_path) as (rig, client):
            await client.start(rig.launch("long", f"{DOUBLE_FORKED}; sleep 300"))
            (pid,) = await rig.pids("long")
            ends = [await rig.run(client, f"short{number}", "exit 0") for number in range(5)]
            assert {(end.code, end.leftovers) for end in ends} == {(0, ())}
            assert is_alive(pid)
            await client.stop("long", cause="canceled", grace_s=1)
            await client.wait("long")
            assert not is_alive(pid)

    run(test())


def test_what_ends_with_its_leader_is_no_leftover(tmp_path: Path) -> None:
    async def test() -> None:
        async with keeper(tmp_path) as (rig, client):
            # `cat` ends when its input does, a moment after the leader, and must get everything out before.
            script = "sh -c 'sleep 0.03; echo late' & exit 0"
            end = await rig.run(client, "tee", script)
            assert (end.code, end.leftovers) == (0, ())
            assert rig.output("tee") == "late\n"

    run(test())


def test_a_grandchild_that_holds_stdout_delays_nobody(tmp_path: Path) -> None:
    async def test() -> None:
        async with keeper(tmp_path) as (rig, client):
            end = await rig.run(client, "holder", "(trap '' TERM; sleep 300) & exit 0", grace_s=0.2)
            assert end.code == 0
            assert end.leftovers

    run(test())


@pytest.mark.parametrize("without", ["", "subreaper"])
def test_a_storm_of_forks_is_ended_to_the_last(tmp_path: Path, without: str) -> None:
    async def test() -> None:
        async with keeper(tmp_path, without) as (rig, client):
            storm = "for i in $(seq 50); do (trap '' TERM; setsid sleep 300 & echo $!) & done; wait; exit 2"
            end = await rig.run(client, "storm", storm, grace_s=0.2)
            pids = await rig.pids("storm", 50)
            assert end.code == 2
            assert not [pid for pid in pids if is_alive(pid)]
            assert len(end.leftovers) >= 50

    run(test())


def test_a_step_that_keeps_forking_away_is_ended(tmp_path: Path) -> None:
    async def test() -> None:
        async with keeper(tmp_path) as (rig, client):
            # Each generation starts the next in a new session and ends.
            (tmp_path / "hop").write_text('#!/bin/sh\ntrap "" TERM\necho $$\nsleep 0.02\nsetsid "$0" &\n')
            (tmp_path / "hop").chmod(0o700)
            await client.start(rig.launch("hop", f"{tmp_path}/hop; sleep 300"))
            await rig.pids("hop", 3)
            await client.stop("hop", cause="canceled", grace_s=0.1)
            end = await client.wait("hop")
            assert end.survivors == ()
            seen = rig.output("hop")
            await asyncio.sleep(0.3)
            assert rig.output("hop") == seen

    run(test())


def test_one_steps_sweep_does_not_delay_another(tmp_path: Path) -> None:
    async def test() -> None:
        async with keeper(tmp_path) as (rig, client):
            deaf = "(trap '' TERM; echo 1; while :; do sleep 1; done) & echo $!; exit 0"
            await client.start(rig.launch("sweep", deaf, grace_s=300))
            sweep = asyncio.create_task(client.wait("sweep"))
            child = max(await rig.pids("sweep", 2))
            for number in range(20):
                assert (await rig.run(client, f"quick{number}", "exit 0")).code == 0
            assert not sweep.done()
            os.kill(child, signal.SIGKILL)
            assert (await sweep).code == 0

    run(test())


@pytest.mark.parametrize("without", ["", "subreaper", "pidfd", "pidfd,pidfd_info,subreaper,memfd", "proc"])
def test_an_escapee_from_session_parent_environment_and_descriptors_is_told_from_another_steps(
    tmp_path: Path, without: str
) -> None:
    async def test() -> None:
        async with keeper(tmp_path, without) as (rig, client):
            hide = "(env -i setsid sh -c '(sleep 300 </dev/null >/dev/null 2>&1 & echo $!)' &)"
            await client.start(rig.launch("other", f"{hide}; sleep 300"))
            (others,) = await rig.pids("other")
            script = f"{hide}; while [ ! -s $OUT ]; do sleep 0.01; done; exit 3"
            end = await rig.run(client, "hidden", script, env={"OUT": str(rig.path("hidden", "out"))})
            (pid,) = await rig.pids("hidden")
            assert not is_alive(pid)
            assert (end.code, end.leftovers) == (3, (f"{pid} sleep",))
            assert is_alive(others)
            old = await rig.kill_keeper(client)
            await rig.reconnected(client, old)
            await client.stop("other", cause="canceled", grace_s=0.2)
            await client.wait("other")
            assert not is_alive(others)

    run(test())


def test_a_step_that_signals_its_own_parents_ends_with_the_rest(tmp_path: Path) -> None:
    async def test() -> None:
        async with keeper(tmp_path) as (rig, client):
            await client.start(rig.launch("calm", "echo $$; sleep 300"))
            await rig.pids("calm")
            # Its parent is the keeper: SIGINT, SIGHUP and SIGPIPE are nothing to it.
            for number in ("INT", "HUP", "PIPE", "CHLD"):
                assert (await rig.run(client, number, f"kill -{number} $PPID; exit 3")).code == 3
            # SIGTERM ends all steps by design, and each is told why.
            end = await rig.run(client, "term", "kill -TERM $PPID; sleep 300")
            assert (end.signal, end.cause) == (signal.SIGTERM, "keeper_ended")
            calm = await client.wait("calm")
            assert (calm.signal, calm.cause) == (signal.SIGTERM, "keeper_ended")

    run(test())
