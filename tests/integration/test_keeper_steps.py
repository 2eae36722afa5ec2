"""What a step gets, and how its end is told. Real processes."""

import asyncio
import os
import resource
import shlex
import signal
import sys
from dataclasses import replace
from pathlib import Path

import fault_shims
import pytest
from keeper_rig import FALLBACKS, all_of, is_alive, keeper, run, until

from flowd.domain.launching import NoRoomError, SpawnError
from flowd.domain.limits import Limits

pytestmark = pytest.mark.skipif(not Path("/proc/self/stat").exists(), reason="these tests look at processes by /proc")


@pytest.mark.parametrize("without", FALLBACKS)
def test_exit_codes_signals_and_output_are_told_exactly(tmp_path: Path, without: str) -> None:
    async def test() -> None:
        async with keeper(tmp_path, without) as (rig, client):
            ends = await all_of(
                rig.run(client, "good", "echo out; echo err >&2"),
                rig.run(client, "seven", "exit 7"),
                rig.run(client, "signal", "kill -USR1 $$"),
            )
            assert [(end.code, end.signal, end.cause) for end in ends] == [
                (0, None, None),
                (7, None, None),
                (None, signal.SIGUSR1, None),
            ]
            assert all(not end.leftovers and not end.survivors for end in ends)
            assert rig.output("good") == "out\n"
            assert rig.path("good", "err").read_text() == "err\n"
            assert rig.path("good", "out").stat().st_mode & 0o777 == 0o600
            assert ends[0].cpu_ms is not None

    run(test())


@pytest.mark.parametrize("without", ["", "memfd"])
def test_stdin_of_any_size_is_there_and_need_not_be_read(tmp_path: Path, without: str) -> None:
    async def test() -> None:
        content = os.urandom(5 << 20)
        async with keeper(tmp_path, without) as (rig, client):
            unread, counted = await all_of(
                rig.run(client, "unread", "exit 0", stdin=content), rig.run(client, "counted", "wc -c", stdin=content)
            )
            assert (unread.code, counted.code) == (0, 0)
            assert rig.output("counted").strip() == str(len(content))

    run(test())


def test_a_step_sees_nothing_of_its_keeper(tmp_path: Path) -> None:
    async def test() -> None:
        async with keeper(tmp_path) as (rig, client):
            script = "ls /proc/self/fd; grep -E 'SigIgn|SigBlk' /proc/self/status; ulimit -Sn; pwd; ps -o sid= -p $$"
            await rig.run(client, "look", script, cwd="/usr")
            lines = rig.output("look").split("\n")
            # `ls` itself has the directory open as 3.
            assert lines[:4] == ["0", "1", "2", "3"]
            blocked, ignored = (int(line.split()[1], 16) for line in lines[4:6])
            # glibc's posix_spawn itself ignores 32 and 33 in every child; they are private to the thread library.
            assert (blocked, ignored & ~(3 << 31)) == (0, 0)
            limit = str(resource.getrlimit(resource.RLIMIT_NOFILE)[0])
            assert lines[6:8] == [limit, "/usr"]
            assert int(lines[8]) != os.getsid(0)

    run(test())


def test_the_environment_is_the_base_with_the_launch_on_top(tmp_path: Path) -> None:
    async def test() -> None:
        async with keeper(tmp_path) as (rig, client):
            await rig.run(client, "env", "env", env={"ADDED": "ä\udcff", "PATH": "/bin:/usr/bin"})
            variables = dict(line.split(b"=", 1) for line in rig.path("env", "out").read_bytes().splitlines())
            assert variables[b"BASE"] == b"base"
            assert variables[b"ADDED"] == "ä".encode() + b"\xff"
            assert variables[b"PATH"] == b"/bin:/usr/bin"
            assert variables[b"FLOWD_MARK"].startswith(b"env@")

    run(test())


def test_what_cannot_be_started_is_refused_with_its_reason_and_leaves_nothing(tmp_path: Path) -> None:
    async def test() -> None:
        async with keeper(tmp_path) as (rig, client):
            plain, orphaned = tmp_path / "plain", tmp_path / "orphaned"
            plain.write_text("echo no\n")
            orphaned.write_text("#!/nowhere/interpreter -x\n")
            orphaned.chmod(0o700)
            rig.path("taken", "out").write_text("old")
            refused = [
                (rig.launch("cwd", "true", cwd="/nowhere"), "working directory /nowhere"),
                (rig.launch_program("gone", "/nowhere/program"), "program /nowhere/program"),
                (rig.launch_program("mode", str(plain)), "Permission denied"),
                (rig.launch_program("shebang", str(orphaned)), "/nowhere/interpreter"),
                (rig.launch_program("zero", "/bin/echo", "a\0b"), "null"),
                (rig.launch("taken", "true"), "standard output"),
            ]
            for launch, reason in refused:
                with pytest.raises(SpawnError, match=reason):
                    await client.start(launch)
                assert not await client.knows(launch.attempt_id)
            assert rig.output("taken") == "old"
            assert not rig.path("gone", "out").exists()
            # A refused attempt may be tried again under its id.
            assert (await rig.run(client, "gone", "exit 4")).code == 4

    run(test())


def test_starting_twice_runs_once(tmp_path: Path) -> None:
    async def test() -> None:
        async with keeper(tmp_path) as (rig, client):
            launch = rig.launch("twice", "echo run; read line < /dev/zero; exit 3", timeout_s=2.0)
            pids = await all_of(client.start(launch), client.start(launch))
            pids.append(await client.start(launch))
            assert len(set(pids)) == 1
            await client.wait("twice")
            assert await client.start(launch) == pids[0]
            assert rig.output("twice") == "run\n"

    run(test())


@pytest.mark.parametrize("without", FALLBACKS)
def test_a_timeout_terminates_and_then_kills_what_ignores_that(tmp_path: Path, without: str) -> None:
    async def test() -> None:
        async with keeper(tmp_path, without) as (rig, client):
            deaf = "trap '' TERM; echo $$; sh -c 'trap \"\" TERM; echo $$; while :; do sleep 60; done'; :"
            polite = "trap 'exit 9' TERM; echo $$; while :; do sleep 0.05; done"
            end, calm = await all_of(
                # On a busy machine it takes a shell longer than one would think to set its trap.
                rig.run(client, "deaf", deaf, timeout_s=2.0, grace_s=0.3),
                rig.run(client, "polite", polite, timeout_s=2.0),
            )
            assert (end.signal, end.cause) == (signal.SIGKILL, "timeout")
            assert (calm.code, calm.cause) == (9, "timeout")
            assert not any(map(is_alive, await rig.pids("deaf", 2)))

    run(test())


def test_the_first_cause_of_a_stop_stays_and_a_later_stop_may_hurry(tmp_path: Path) -> None:
    async def test() -> None:
        async with keeper(tmp_path) as (rig, client):
            await client.start(rig.launch("slow", "trap '' TERM; echo $$; while :; do sleep 1; done"))
            await rig.pids("slow")
            await client.stop("slow", cause="canceled", grace_s=60)
            await client.stop("slow", cause="timeout", grace_s=0)
            end = await client.wait("slow")
            assert (end.signal, end.cause) == (signal.SIGKILL, "canceled")
            await client.stop("slow", cause="canceled", grace_s=0)
            await client.stop("never", cause="canceled", grace_s=0)

    run(test())


def test_a_stopped_process_hears_the_end_as_well(tmp_path: Path) -> None:
    async def test() -> None:
        async with keeper(tmp_path) as (rig, client):
            await client.start(rig.launch("frozen", "trap 'exit 5' TERM; echo $$; kill -STOP $$; exit 6"))
            (pid,) = await rig.pids("frozen")
            await until(lambda: ") T " in Path(f"/proc/{pid}/stat").read_text(), "it is stopped")
            await client.stop("frozen", cause="canceled", grace_s=20)
            end = await client.wait("frozen")
            assert (end.code, end.cause) == (5, "canceled")

    run(test())


def test_output_beyond_the_limit_ends_the_step_and_is_cut(tmp_path: Path) -> None:
    async def test() -> None:
        async with keeper(tmp_path) as (rig, client):
            flood, deaf, brief = await all_of(
                rig.run(client, "flood", "exec yes", max_output_bytes=5000),
                rig.run(client, "deaf", "trap '' TERM; while :; do echo flooding; done", max_output_bytes=5000),
                rig.run(client, "brief", "head -c 6000 /dev/zero >&2", max_output_bytes=5000),
            )
            assert (flood.signal, flood.cause) == (signal.SIGTERM, "output_limit")
            assert (deaf.signal, deaf.cause) == (signal.SIGKILL, "output_limit")
            assert brief.cause == "output_limit"
            assert brief.code == 0 or brief.signal == signal.SIGTERM  # whichever comes first, its end or ours
            sizes = [rig.path("flood", "out"), rig.path("deaf", "out"), rig.path("brief", "err")]
            assert [path.stat().st_size for path in sizes] == [5000] * 3

    run(test())


@pytest.mark.parametrize("limits", [None, Limits(open_files=64)])
def test_a_script_that_is_being_written_starts_once_it_is_closed(tmp_path: Path, limits: Limits | None) -> None:
    async def test() -> None:
        async with keeper(tmp_path) as (rig, client):
            script = tmp_path / "script"
            script.write_text("#!/bin/sh\nexit 5\n")
            script.chmod(0o700)
            launch = rig.launch("busy", "", limits=limits)
            launch = replace(launch, command=replace(launch.command, argv=(str(script),)))
            with script.open("ab"):
                starting = asyncio.create_task(client.start(launch))
                # Until a start was refused: it leaves no output file behind, and another one is made.
                with pytest.raises(TimeoutError):
                    await asyncio.wait_for(asyncio.shield(starting), 0.1)
            await starting
            assert (await client.wait("busy")).code == 5

    run(test())


@pytest.fixture
def shortage(tmp_path: Path) -> tuple[str, Path]:
    """A Python for a keeper that can make no process while the file exists; each refusal adds a byte to that."""
    shim = fault_shims.environment(tmp_path, "spawn")
    python = tmp_path / "python"
    variables = "\n".join(f"export {name}={shlex.quote(value)}" for name, value in shim.items())
    python.write_text(f'#!/bin/sh\n{variables}\nexec {sys.executable} "$@"\n')
    python.chmod(0o700)
    return str(python), Path(shim["SHIM_FILE"])


@pytest.mark.parametrize("limits", [None, Limits(open_files=64)])
def test_a_start_that_is_refused_for_too_many_processes_is_tried_again(
    tmp_path: Path, shortage: tuple[str, Path], limits: Limits | None
) -> None:
    async def test() -> None:
        python, refusals = shortage
        async with keeper(tmp_path, "clone3", python=python) as (rig, client):
            refusals.touch()
            starting = asyncio.create_task(client.start(rig.launch("short", "exit 5", limits=limits)))
            await until(lambda: refusals.stat().st_size, "a start was refused")
            refusals.unlink()
            await starting
            assert (await client.wait("short")).code == 5

    run(test())


def test_a_shortage_of_processes_that_lasts_is_no_fault_of_the_steps(
    tmp_path: Path, shortage: tuple[str, Path]
) -> None:
    async def test() -> None:
        python, refusals = shortage
        async with keeper(tmp_path, python=python) as (rig, client):
            refusals.touch()
            with pytest.raises(NoRoomError, match="The system cannot start another process"):
                await client.start(rig.launch("short", "exit 5"))
            assert refusals.stat().st_size > 1
            assert not await client.knows("short")
            refusals.unlink()
            assert (await rig.run(client, "short", "exit 5")).code == 5

    run(test())


def test_a_script_that_stays_open_for_writing_is_refused_with_the_reason(tmp_path: Path) -> None:
    async def test() -> None:
        async with keeper(tmp_path) as (rig, client):
            script = tmp_path / "script"
            script.write_text("#!/bin/sh\nexit 5\n")
            script.chmod(0o700)
            launch = rig.launch("busy", "")
            launch = replace(launch, command=replace(launch.command, argv=(str(script),)))
            with script.open("ab"), pytest.raises(SpawnError, match="has been open for writing for a second"):
                await client.start(launch)
            assert not await client.knows("busy")

    run(test())
