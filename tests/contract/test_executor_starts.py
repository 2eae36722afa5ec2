"""One suite for both executors: starts that are asked for twice, given up, or refused. Real processes."""

import asyncio
import contextlib
import os
import shlex
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
from executor_rig import UNTIL_GO, Executor, ExecutorRig, ended, numbers, said

from flowd.domain.launching import NoRoomError, SpawnError


def test_what_is_started_twice_runs_once(executor_rig: ExecutorRig) -> None:
    async def test(executor: Executor) -> None:
        launch = executor_rig.launch("echo $$; " + UNTIL_GO + "exit 5")
        pids = await asyncio.gather(executor.start(launch), executor.start(launch))
        pids += await numbers(launch)
        assert len({*pids, await executor.start(launch)}) == 1
        (executor_rig.folder / "go").touch()
        assert (await executor.wait(launch.attempt_id)).code == 5
        assert isinstance(await executor.start(launch), int)
        assert (await executor.wait(launch.attempt_id)).code == 5
        assert len(said(launch).split()) == 1

    executor_rig.run(test)


def test_cancelling_the_call_does_not_undo_the_start(executor_rig: ExecutorRig) -> None:
    async def test(executor: Executor) -> None:
        launch = executor_rig.launch("echo 1; exit 5")
        starting = asyncio.create_task(executor.start(launch))
        await asyncio.sleep(0)
        starting.cancel()
        await asyncio.gather(starting, return_exceptions=True)
        assert await executor.knows(launch.attempt_id)
        assert (await executor.wait(launch.attempt_id)).code == 5
        assert said(launch) == "1\n"

    executor_rig.run(test)


@pytest.mark.parametrize("what", ["program", "interpreter", "directory"])
def test_a_start_that_fails_names_what_is_missing_and_leaves_nothing(executor_rig: ExecutorRig, what: str) -> None:
    async def test(executor: Executor) -> None:
        script = executor_rig.folder / "script"
        script.write_text("#!/no/such/interpreter\n")
        script.chmod(0o700)
        launch, named = {
            "program": (executor_rig.launch_program("/no/such/program"), "/no/such/program"),
            "interpreter": (executor_rig.launch_program(str(script)), str(script)),
            "directory": (executor_rig.launch("exit 0", cwd="/no/such/directory"), "/no/such/directory"),
        }[what]
        with pytest.raises(SpawnError, match=named) as caught:
            await executor.start(launch)
        assert not isinstance(caught.value, NoRoomError)
        assert not await executor.knows(launch.attempt_id)
        assert not os.path.exists(launch.stdout_path)
        assert not os.path.exists(launch.stderr_path)
        await executor.close(end_steps=False)
        assert (await executor_rig.open()).records() == ()

    executor_rig.run(test)


@pytest.mark.parametrize("stream", ["stdout", "stderr"])
def test_an_output_file_that_is_there_already_is_refused_and_left_alone(executor_rig: ExecutorRig, stream: str) -> None:
    async def test(executor: Executor) -> None:
        launch = executor_rig.launch("exit 0")
        path = Path(launch.stdout_path if stream == "stdout" else launch.stderr_path)
        path.write_text("of somebody")
        with pytest.raises(SpawnError):
            await executor.start(launch)
        assert path.read_text() == "of somebody"
        assert sorted(executor_rig.folder.glob("run_*")) == [path]
        assert not await executor.knows(launch.attempt_id)

    executor_rig.run(test)


@contextlib.contextmanager
def small_disk(path: Path) -> Iterator[Path]:
    """A file system of 256 KB and 60 files, and where it is seen: at the path, or for who may not mount below /proc."""
    path.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=256k,nr_inodes=60", "tmpfs", str(path)]
    if os.geteuid() == 0:
        subprocess.run(mount, check=True)
        try:
            yield path
        finally:
            subprocess.run(["umount", "--lazy", str(path)], check=True)
        return
    script = f"{shlex.join(mount)} && echo mounted && exec sleep 600"
    unshared = ["unshare", "--user", "--map-root-user", "--mount", "sh", "-c", script]
    with subprocess.Popen(unshared, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as holder:
        assert holder.stdout is not None
        assert holder.stderr is not None
        if holder.stdout.readline() != "mounted\n":
            pytest.skip(f"NOT TESTED: a full disk, because a user may not mount here: {holder.stderr.readlines()[:1]}")
        try:
            yield Path(f"/proc/{holder.pid}/root{path}")
        finally:
            holder.kill()


def fill(path: Path) -> None:
    """Leave no room for another file, nor for more in one."""
    with contextlib.suppress(OSError), (path / "filler").open("wb", buffering=0) as file:
        while True:
            file.write(bytes(4096))
    with contextlib.suppress(OSError):
        for number in range(100):
            (path / f"filler-{number}").touch()


def test_on_a_full_disk_nothing_starts_and_once_there_is_room_the_same_start_works(executor_rig: ExecutorRig) -> None:
    async def test(executor: Executor) -> None:
        await executor.close(end_steps=False)
        with small_disk(executor_rig.folder / "disk") as disk:
            folder, executor_rig.folder = executor_rig.folder, disk
            executor_rig.directory = executor_rig.folder / "keeper"
            executor_rig.directory.mkdir()
            executor = await executor_rig.open()
            running = executor_rig.launch(UNTIL_GO + "exit 7", cwd=str(folder))
            await executor.start(running)
            fill(executor_rig.folder)
            launch = executor_rig.launch("exit 5")
            with pytest.raises(NoRoomError):
                await executor.start(launch)
            assert not await executor.knows(launch.attempt_id)
            (folder / "go").touch()
            for filler in executor_rig.folder.glob("filler*"):
                filler.unlink()
            assert (await executor.wait(running.attempt_id)).code == 7
            assert (await ended(executor, launch)).code == 5
            await executor.close(end_steps=True)

    executor_rig.run(test)


def writable_script(executor_rig: ExecutorRig) -> Path:
    script = executor_rig.folder / "script"
    script.write_text("#!/bin/sh\nexit 5\n")
    script.chmod(0o755)
    return script


def test_a_program_that_is_being_written_starts_once_it_is_closed(executor_rig: ExecutorRig) -> None:
    async def test(executor: Executor) -> None:
        script = writable_script(executor_rig)
        launch = executor_rig.launch_program(str(script))
        with script.open("ab"):
            starting = asyncio.create_task(executor.start(launch))
            with pytest.raises(TimeoutError):  # so that it was refused once
                await asyncio.wait_for(asyncio.shield(starting), 0.2)
        await starting
        assert (await executor.wait(launch.attempt_id)).code == 5

    executor_rig.run(test)


def test_a_program_that_stays_open_for_writing_is_refused_with_the_reason_and_leaves_nothing(
    executor_rig: ExecutorRig,
) -> None:
    async def test(executor: Executor) -> None:
        script = writable_script(executor_rig)
        launch = executor_rig.launch_program(str(script))
        with script.open("ab"), pytest.raises(SpawnError, match="open for writing"):
            await executor.start(launch)
        assert not await executor.knows(launch.attempt_id)
        assert not Path(launch.stdout_path).exists()
        assert (await ended(executor, launch)).code == 5

    executor_rig.run(test)
