"""One suite for both executors: what the next daemon's executor knows, adopts and ends. Real processes."""

import asyncio
import os
import signal
from dataclasses import replace
from pathlib import Path

import pytest
from executor_rig import UNTIL_GO, Executor, ExecutorRig, numbers, said
from keeper_rig import is_alive, until

from flowd.domain.exit import Exit
from flowd.domain.launching import KeeperLostError

pytestmark = pytest.mark.skipif(not Path("/proc/self/stat").exists(), reason="these tests look at processes by /proc")


def test_an_attempt_is_known_from_its_start_until_it_is_forgotten(executor_rig: ExecutorRig) -> None:
    async def test(executor: Executor) -> None:
        launch = executor_rig.launch(UNTIL_GO + "exit 4")
        assert executor.records() == ()
        assert not await executor.knows(launch.attempt_id)
        await executor.start(launch)
        await executor.forget(launch.attempt_id)  # it runs, so there is no outcome to forget
        assert await executor.knows(launch.attempt_id)
        (executor_rig.folder / "go").touch()
        assert (await executor.wait(launch.attempt_id)).code == 4
        assert await executor.knows(launch.attempt_id)
        for _ in range(2):
            await executor.forget(launch.attempt_id)
        assert not await executor.knows(launch.attempt_id)
        assert await executor.wait(launch.attempt_id) == Exit()
        await executor.close(end_steps=False)
        assert (await executor_rig.open()).records() == ()

    executor_rig.run(test)


def test_the_next_executor_adopts_what_runs_and_learns_what_has_ended(executor_rig: ExecutorRig) -> None:
    async def test(executor: Executor) -> None:
        before = executor_rig.launch("echo before; exit 3")
        between = executor_rig.launch("echo $$; " + UNTIL_GO + "exit 4")
        after = executor_rig.launch("echo 1; while ! test -e later; do sleep 0.01; done; echo 2; exit 5")
        killed = executor_rig.launch("echo $$; exec sleep 300")
        canceled = executor_rig.launch("trap 'exit 6' TERM; echo 1; while :; do sleep 0.01; done")
        launches = (before, between, after, killed, canceled)
        await asyncio.gather(*map(executor.start, launches))
        assert (await executor.wait(before.attempt_id)).code == 3
        (pid,), (victim,), _, _ = await asyncio.gather(*map(numbers, (between, killed, after, canceled)))
        await executor.close(end_steps=False)
        (executor_rig.folder / "go").touch()
        os.kill(victim, signal.SIGKILL)
        await until(lambda: not is_alive(pid) and not is_alive(victim), "they have ended")

        executor = await executor_rig.open()
        states = {str(record["id"]): record["state"] for record in executor.records()}
        assert states.keys() == {launch.attempt_id for launch in launches}
        assert (states[before.attempt_id], states[after.attempt_id]) == ("exited", "running")
        assert [await executor.knows(launch.attempt_id) for launch in launches] == [True] * 5
        (executor_rig.folder / "later").touch()
        assert (await executor.wait(after.attempt_id)).duration_ms is not None
        await executor.stop(canceled.attempt_id, cause="canceled", grace_s=5)
        exits = [await executor.wait(launch.attempt_id) for launch in launches]
        assert [(exit_.code, exit_.signal, exit_.cause) for exit_ in exits] == [
            (3, None, None),
            (4, None, None),
            (5, None, None),
            (None, signal.SIGKILL, None),
            (6, None, "canceled"),
        ]
        assert said(after) == "1\n2\n"
        for launch in launches:
            await executor.forget(launch.attempt_id)
        await executor.close(end_steps=False)
        assert (await executor_rig.open()).records() == ()

    executor_rig.run(test)


def test_an_adopted_step_keeps_its_timeout_its_output_limit_and_its_leftovers(executor_rig: ExecutorRig) -> None:
    async def test(executor: Executor) -> None:
        late = executor_rig.launch("echo $$; exec sleep 300", timeout_s=2.0)
        loud = executor_rig.launch(UNTIL_GO + "while :; do echo 0123456789; sleep 0.001; done", max_output_bytes=1000)
        messy = executor_rig.launch(UNTIL_GO + "setsid sleep 300 & exit 0")
        launches = (late, loud, messy)
        await asyncio.gather(*map(executor.start, launches))
        await executor.close(end_steps=False)
        executor = await executor_rig.open()
        (executor_rig.folder / "go").touch()
        exits = [await executor.wait(launch.attempt_id) for launch in launches]
        assert [exit_.cause for exit_ in exits] == ["timeout", "output_limit", None]
        assert os.stat(loud.stdout_path).st_size == 1000
        assert [len(exit_.leftovers) for exit_ in exits] == [0, 0, 1]

    executor_rig.run(test)


def test_closing_may_end_all_steps_and_the_next_executor_knows_how(executor_rig: ExecutorRig) -> None:
    async def test(executor: Executor) -> None:
        polite = executor_rig.launch("trap 'exit 9' TERM; echo $$; while :; do sleep 0.01; done")
        deaf = executor_rig.launch("trap '' TERM; echo $$; while :; do sleep 0.01; done", grace_s=0.2)
        await asyncio.gather(*map(executor.start, (polite, deaf)))
        pids = [*await numbers(polite), *await numbers(deaf)]
        await executor.close(end_steps=True)
        assert not [pid for pid in pids if is_alive(pid)]
        executor = await executor_rig.open()
        exits = [await executor.wait(launch.attempt_id) for launch in (polite, deaf)]
        assert [(exit_.code, exit_.signal) for exit_ in exits] == [(9, None), (None, signal.SIGKILL)]
        assert all(exit_.cause in ("daemon_ended", "canceled") for exit_ in exits)

    executor_rig.run(test)


def test_a_closed_executor_answers_nobody_any_more(executor_rig: ExecutorRig) -> None:
    async def test(executor: Executor) -> None:
        launch = executor_rig.launch("exec sleep 300")
        await executor.start(launch)
        waiting = asyncio.create_task(executor.wait(launch.attempt_id))
        await asyncio.sleep(0)
        await executor.close(end_steps=False)
        for call in (
            waiting,
            executor.wait(launch.attempt_id),
            executor.start(executor_rig.launch("exit 0")),
            executor.knows(launch.attempt_id),
            executor.stop(launch.attempt_id, cause="canceled", grace_s=1),
        ):
            with pytest.raises(KeeperLostError):
                await call
        executor = await executor_rig.open()
        await executor.stop(launch.attempt_id, cause="canceled", grace_s=1)
        assert (await executor.wait(launch.attempt_id)).cause == "canceled"

    executor_rig.run(test)


def test_what_is_left_of_an_attempt_is_ended_and_not_that_of_another_workspace(executor_rig: ExecutorRig) -> None:
    async def test(executor: Executor) -> None:
        launch = executor_rig.launch("echo $$; exec sleep 300")
        await executor.start(launch)
        (pid,) = await numbers(launch)
        (executor_rig.folder / "other").mkdir()
        other_rig = ExecutorRig(executor_rig.kind, executor_rig.folder / "other")
        other_rig.directory.mkdir(mode=0o700)
        other = await other_rig.open()
        try:
            await other.end_strays(launch.attempt_id)
            assert is_alive(pid)
            same = replace(other_rig.launch("echo $$; exec sleep 300"), attempt_id=launch.attempt_id)
            await other.start(same)
            (other_pid,) = await numbers(same)
            await other.end_strays(launch.attempt_id)
            assert not is_alive(other_pid)
            assert is_alive(pid)
        finally:
            await other.close(end_steps=True)

    executor_rig.run(test)
