"""A keeper takes over what a dead one left: it times, stops and sweeps steps that are not its children."""

import asyncio
import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest
from keeper_rig import UNTIL_FILE, Rig, all_of, is_alive, keeper, run, until

from flowd.domain.exit import Exit
from flowd.keeper.argv_print import imprint

pytestmark = pytest.mark.skipif(not Path("/proc/self/stat").exists(), reason="these tests look at processes by /proc")


def test_daemon_and_keeper_die_and_the_next_pair_takes_over(tmp_path: Path) -> None:
    async def test() -> None:
        rig = Rig(tmp_path)
        first = await rig.client()
        go = tmp_path / "go"
        await first.start(rig.launch("lives", UNTIL_FILE + "9", env={"GO": str(go)}, timeout_s=90))
        await first.start(rig.launch("ended", "exit 5"))
        assert (await first.wait("ended")).code == 5
        unseen = await first.start(rig.launch("unseen", "exec sleep 300"))
        await rig.pids("lives")
        pid = first.pid
        assert pid is not None
        await first.close(end_steps=False)
        os.kill(pid, signal.SIGKILL)
        await until(lambda: not is_alive(pid), "the keeper is gone")
        os.kill(unseen, signal.SIGKILL)
        await until(lambda: not Path(f"/proc/{unseen}").exists(), "the unseen step is reaped")
        async with keeper(tmp_path) as (rig, second):
            states = {record["id"]: record["state"] for record in second.records()}
            assert states == {"lives": "running", "ended": "exited", "unseen": "exited"}
            assert (await second.wait("ended")).code == 5
            assert await second.wait("unseen") == Exit()
            go.touch()
            end = await second.wait("lives")
            assert end.code == (9 if "pidfd_info" in second.capabilities else end.code)
        rig.end()

    run(test())


@pytest.mark.parametrize("without", ["", "pidfd", "pidfd_group", "proc"])
def test_an_adopted_step_can_be_stopped_and_swept(tmp_path: Path, without: str) -> None:
    async def test() -> None:
        async with keeper(tmp_path, without) as (rig, client):
            tree = "echo $$; (trap '' TERM; setsid sh -c 'echo $$; while :; do sleep 1; done') & sleep 300"
            await client.start(rig.launch("stopped", tree))
            await client.start(rig.launch("late", tree, timeout_s=3.0, grace_s=0.2))
            pids = await rig.pids("stopped", 2) + await rig.pids("late", 2)
            old_pid = await rig.kill_keeper(client)
            await rig.reconnected(client, old_pid)
            await client.stop("stopped", cause="canceled", grace_s=0.2)
            stopped, late = await all_of(client.wait("stopped"), client.wait("late"))
            assert (stopped.cause, late.cause) == ("canceled", "timeout")
            assert not [pid for pid in pids if is_alive(pid)]

    run(test())


def test_a_start_that_was_only_announced_may_have_run_and_one_that_was_not_never_did(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    async def test() -> None:
        rig = Rig(tmp_path)
        rig.directory.mkdir(mode=0o700)
        spec = {"timeout_s": 60, "grace_s": 0.2, "max_output_bytes": 1000, "detach": False}
        begun = [
            {"op": "begin", "id": name, "stdout": "/nowhere/o", "stderr": "/nowhere/e", "mark": f"{name}@x", **spec}
            for name in ("nothing", "found", "rebooted", "refused")
        ]
        begun[1]["imprint"] = imprint(["/bin/sleep", "300"])
        begun.append({"op": "started", "id": "rebooted", "pid": os.getpid(), "start": 1, "boot": "another"})
        begun.append({"op": "refused", "id": "refused"})
        begun.append({"op": "begin", "id": "ended"})  # its exit is the line that is not json
        lines = [json.dumps(entry) for entry in begun]
        (rig.directory / "keeper.journal").write_text("\n".join(["not json", *lines, '{"op":"exit","id":"found","co']))
        with subprocess.Popen(
            ["/bin/sleep", "300"], env={"FLOWD_MARK": "outer@y,found@x"}, start_new_session=True
        ) as found:
            async with keeper(tmp_path) as (rig, client):
                assert [vars(record)["unreadable_lines"] for record in caplog.records] == [2]
                assert await client.wait("nothing") == Exit()
                assert await client.wait("rebooted") == Exit()
                assert await client.wait("ended") == Exit()
                assert not await client.knows("refused")
                assert not await client.knows("never")
                states = {record["id"]: record for record in client.records()}
                assert states["found"]["state"] == "running"
                assert states["found"]["pid"] == found.pid
                await client.stop("found", cause="canceled", grace_s=1)
                await asyncio.to_thread(found.wait)
                assert (await client.wait("found")).cause == "canceled"
        assert found.returncode == -signal.SIGTERM

    run(test())


DAEMON = "import os; os.fork() and os._exit(0); os.setsid(); open('ready', 'w').close(); input(); os._exit(4)"
"""What is left of this step leads a session and has its command line, its mark, its all."""


@pytest.mark.parametrize(
    ("argv", "is_leader"),
    [
        (["/bin/sh", "-c", ">ready; read line; exit 4"], True),
        (["./script"], True),
        (["./wrapper", "word"], True),
        (["/bin/sh", "-c", "exec sh -c '>ready; read line; exit 4'"], False),
        ([sys.executable, "-c", DAEMON], False),
    ],
    ids=["the leader", "a script", "a wrapped script", "maybe the leader", "a child of the leader"],
)
def test_only_who_is_the_leader_for_certain_is_taken_for_it(tmp_path: Path, argv: list[str], is_leader: bool) -> None:
    """The keeper died between a spawn and its journaling: only the mark says which processes are the step's."""
    (tmp_path / "script").write_text("#!/bin/sh -e\n>ready\nread line\nexit 4\n")
    (tmp_path / "wrapper").write_text('#!/bin/sh\nexec ./script "$@"\n')
    for name in ("script", "wrapper"):
        (tmp_path / name).chmod(0o700)
    mark = f"step@{tmp_path.name}"
    begin = {"op": "begin", "id": "step", "stdout": f"{tmp_path}/o", "stderr": f"{tmp_path}/e", "mark": mark}
    begin |= {"timeout_s": 60, "grace_s": 0.2, "max_output_bytes": 1000, "detach": False, "imprint": imprint(argv)}
    for path in (begin["stdout"], begin["stderr"]):
        Path(str(path)).touch()

    async def test() -> None:
        rig = Rig(tmp_path)
        rig.directory.mkdir(mode=0o700)
        (rig.directory / "keeper.journal").write_text(json.dumps(begin) + "\n")
        with subprocess.Popen(
            argv, cwd=tmp_path, env={"FLOWD_MARK": mark, "PATH": os.environ["PATH"]}, start_new_session=True,
            stdin=subprocess.PIPE,
        ) as process:  # fmt: skip
            await until((tmp_path / "ready").exists, "it runs")
            async with keeper(tmp_path) as (rig, client):
                if is_leader:
                    # One more keeper, which has it from the journal of the one before.
                    await rig.reconnected(client, await rig.kill_keeper(client))
                    assert process.stdin is not None
                    process.stdin.write(b"line\n")
                    process.stdin.close()
                    assert (await client.wait("step")).code == 4
                else:
                    end = await client.wait("step")
                    assert (end.code, end.signal, len(end.leftovers)) == (None, None, 1)

    run(test())
