"""What steps print is recorded whole, in order and bounded, whatever they do to their streams and whoever dies."""

import asyncio
import contextlib
import itertools
import os
import resource
import signal
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest
from keeper_rig import Rig, is_alive, keeper, run, until

from flowd.executors.direct.executor import DirectExecutor
from flowd.keeper import stream_order

PROGRAMS = ["", "epoll", "splice", "epoll,splice,pidfd,proc,subreaper,memfd"]
"""What is switched off: nothing, each by itself, and what macOS lacks."""


def standbys(directory: Path) -> list[int]:
    """The processes that hold the pipes of this keeper's steps."""
    return [
        process.pid
        for process in psutil.process_iter(["cmdline"])
        if (process.info["cmdline"] or [""])[:2] == ["flowd-standby", str(directory)]
    ]


def kill_standbys(directory: Path) -> None:
    for pid in standbys(directory):
        os.kill(pid, signal.SIGKILL)


async def kill_both(client: DirectExecutor) -> None:
    """The daemon is gone, and its keeper is killed."""
    pid = client.pid
    assert pid is not None
    await client.close(end_steps=False)
    os.kill(pid, signal.SIGKILL)
    await until(lambda: not is_alive(pid), "the keeper is gone")


def printed_pieces(rig: Rig, name: str) -> list[tuple[str, str]]:
    """What a step printed, in the recorded order: stream and text."""
    texts = {"stdout": rig.path(name, "out").read_bytes(), "stderr": rig.path(name, "err").read_bytes()}
    order = Path(f"{rig.path(name, 'out')}.order")
    record = order.read_bytes() if order.exists() else b""
    pieces = []
    for stream, size in stream_order.pieces(record, (len(texts["stdout"]), len(texts["stderr"]))):
        pieces.append((stream, texts[stream][:size].decode()))
        texts[stream] = texts[stream][size:]
    return pieces


REOPENED = [
    ("echo 1 >&2; echo 2 > /dev/stderr; echo 3 >&2; echo 4 > /proc/self/fd/2", "err"),
    ("echo 1; echo 2 > /dev/stdout; echo 3; echo 4", "out"),
    ("echo 1 >&2; echo 2 | tee /dev/stderr; echo 3 >&2; echo 4 | tee /dev/stderr", "err"),
    ("echo 1; (echo 2; echo 3) >> /proc/self/fd/1; echo 4", "out"),
    ("echo 1 >&2; exec 3>/dev/stderr; echo 2 >&3; echo 3 >&2; echo 4 >&3", "err"),
    ("echo 1; exec 1>/dev/stdout; echo 2; exec 1<>/dev/fd/1; echo 3; echo 4", "out"),
    ("echo 1; echo 2 | dd of=/dev/stdout status=none; echo 3; : > /dev/stdout; echo 4", "out"),
    ("echo 1; truncate -s 0 /dev/stdout; echo 2; echo 3; echo 4", "out"),
]


@pytest.mark.parametrize("without", PROGRAMS)
def test_a_script_that_opens_its_output_anew_cuts_nothing(tmp_path: Path, without: str) -> None:
    async def test() -> None:
        async with keeper(tmp_path, without) as (rig, client):
            for index, (script, stream) in enumerate(REOPENED):
                assert (await rig.run(client, f"r{index}", f"{script}; exit 3")).code == 3
                printed = rig.path(f"r{index}", stream).read_text()
                assert [line for line in printed.splitlines() if len(line) == 1] == ["1", "2", "3", "4"], script

    run(test())


@pytest.mark.parametrize("without", PROGRAMS)
def test_the_order_between_both_streams_is_recorded(tmp_path: Path, without: str) -> None:
    def say(step: str, text: str) -> str:
        """Print something and wait until it is recorded: closer together, the keeper may find both at one look."""
        stream, there = ("out", "") if text.startswith("o") else ("err", " >&2")
        path = tmp_path / f"{step}.{stream}"
        return f"echo {text}{there}; until grep -qs {text} {path}; do sleep 0.01; done"

    script = "; ".join(say("both", f"{stream}{i}") for i in range(4) for stream in "oe")
    expected = [piece for i in range(4) for piece in (("stdout", f"o{i}\n"), ("stderr", f"e{i}\n"))]

    async def test() -> None:
        async with keeper(tmp_path, without) as (rig, client):
            await rig.run(client, "both", script)
            assert printed_pieces(rig, "both") == expected
            await rig.run(client, "first", f"{say('first', 'e')}; echo o")
            assert printed_pieces(rig, "first") == [("stderr", "e\n"), ("stdout", "o\n")]
            await rig.run(client, "one", f"{say('one', 'o')}; echo o")
            await rig.run(client, "other", f"{say('other', 'e')}; echo e >&2")
            assert not list(tmp_path.glob("o*.order"))

    run(test())


GO_ON = "echo $$; until [ -e $GO ]; do sleep 0.01; done; "
MANY = "i=0; while [ $i -lt 3000 ]; do echo $i; i=$((i+1)); done"
ALL = "".join(f"{i}\n" for i in range(3000))


def test_what_is_printed_while_daemon_and_keeper_are_dead_is_recorded(tmp_path: Path) -> None:
    async def test() -> None:
        rig = Rig(tmp_path)
        client = await rig.client()
        env = {"GO": str(tmp_path / "go")}
        await client.start(
            rig.launch(
                "step",
                f"{GO_ON} echo e >&2; until [ -s step.err ]; do sleep 0.01; done; {MANY}; "
                f"until tail -n 1 step.out | grep -q 2999; do sleep 0.01; done; echo e >&2",
                env=env,
            )
        )
        (pid,) = await rig.pids("step")
        await kill_both(client)
        (tmp_path / "go").touch()
        await until(lambda: not is_alive(pid), "the step ended by itself, with nobody there")
        client = await rig.client()
        await client.wait("step")
        assert rig.output("step") == f"{pid}\n{ALL}"
        assert printed_pieces(rig, "step") == [
            ("stdout", f"{pid}\n"), ("stderr", "e\n"), ("stdout", ALL), ("stderr", "e\n"),
        ]  # fmt: skip
        await client.close(end_steps=True)
        await until(lambda: not standbys(rig.directory), "no standby is left behind")
        rig.end()

    run(test())


def test_what_a_step_prints_is_recorded_when_its_keeper_dies_before_the_standby_has_heard_of_it(tmp_path: Path) -> None:
    async def test() -> None:
        rig = Rig(tmp_path)
        client = await rig.client()
        env = {"GO": str(tmp_path / "go")}
        await client.start(rig.launch("first", GO_ON, env=env))  # has the first pipes, so there is a standby
        await rig.pids("first")
        await until(lambda: standbys(rig.directory), "there is a standby")
        (standby,) = standbys(rig.directory)
        os.kill(standby, signal.SIGSTOP)
        await client.start(rig.launch("second", f"{GO_ON} echo e >&2; echo late", env=env))
        (pid,) = await rig.pids("second")
        await kill_both(client)
        (tmp_path / "go").touch()
        await until(lambda: not is_alive(pid), "the step ended by itself")
        os.kill(standby, signal.SIGCONT)
        client = await rig.client()
        await client.wait("second")
        assert rig.output("second") == f"{pid}\nlate\n"
        assert rig.path("second", "err").read_text() == "e\n"
        await client.close(end_steps=True)
        await until(lambda: not standbys(rig.directory), "no standby is left behind")
        rig.end()

    run(test())


@pytest.mark.parametrize("without", ["", "epoll"])
def test_no_byte_is_lost_or_doubled_when_keepers_and_standbys_are_killed(tmp_path: Path, without: str) -> None:
    async def test() -> None:
        async with keeper(tmp_path, without) as (rig, client):
            script = f"{MANY.replace('echo $i', 'echo $i; echo e$i >&2')}; until [ -e $GO ]; do sleep 0.01; done"
            await client.start(rig.launch("step", script, env={"GO": str(tmp_path / "go")}))
            for _ in range(2):
                await until(lambda: standbys(rig.directory), "there is a standby")
                kill_standbys(rig.directory)
                old_pid = await rig.kill_keeper(client)
                await rig.reconnected(client, old_pid)
            (tmp_path / "go").touch()
            await client.wait("step")
            assert rig.output("step") == ALL
            assert rig.path("step", "err").read_text() == "".join(f"e{i}\n" for i in range(3000))
            pieces = printed_pieces(rig, "step")
            assert "".join(text for stream, text in pieces if stream == "stdout") == ALL
            assert all(one[0] != next_[0] for one, next_ in itertools.pairwise(pieces))

    run(test())


def test_with_everybody_dead_a_step_waits_at_a_full_pipe_and_goes_on(tmp_path: Path) -> None:
    async def test() -> None:
        rig = Rig(tmp_path)
        client = await rig.client()
        size = 300_000  # more than a pipe holds
        await client.start(
            rig.launch("step", f"{GO_ON} head -c {size} /dev/zero; touch done; exit 5", env={"GO": "go"})
        )
        (pid,) = await rig.pids("step")
        await until(lambda: standbys(rig.directory), "there is a standby")
        kill_standbys(rig.directory)
        await kill_both(client)

        def is_everybody_dead() -> bool:
            kill_standbys(rig.directory)  # the keeper may have begun another one, which had no name yet
            return not standbys(rig.directory)

        await until(is_everybody_dead, "everybody is dead")
        (tmp_path / "go").touch()
        await asyncio.sleep(0.2)  # it has time to die, if it does
        assert is_alive(pid)
        assert not (tmp_path / "done").exists()
        client = await rig.client()
        await client.wait("step")
        assert (tmp_path / "done").exists()
        assert rig.path("step", "out").read_bytes() == f"{pid}\n".encode() + bytes(size)
        await client.close(end_steps=True)
        rig.end()

    run(test())


def test_ending_the_first_step_of_a_keeper_spares_its_standby(tmp_path: Path) -> None:
    async def test() -> None:
        async with keeper(tmp_path) as (rig, client):
            await client.start(rig.launch("first", "echo $$; exec sleep 300"))
            (standby,) = await until(lambda: standbys(rig.directory), "there is a standby")
            await client.stop("first", cause="canceled", grace_s=5.0)
            assert (await client.wait("first")).signal == signal.SIGTERM
            assert await rig.run(client, "second", "exit 0")
            assert standbys(rig.directory) == [standby]

    run(test())


def test_a_standby_that_dies_is_replaced_and_ends_with_the_keeper(tmp_path: Path) -> None:
    async def test() -> None:
        async with keeper(tmp_path) as (rig, client):
            await rig.run(client, "first", "exit 1")
            (first,) = await until(lambda: standbys(rig.directory), "there is a standby")
            os.kill(first, signal.SIGKILL)
            await until(lambda: standbys(rig.directory) not in ([], [first]), "there is another")
            assert (await rig.run(client, "second", "echo x; exit 2")).leftovers == ()
        await until(lambda: not standbys(tmp_path / "keeper"), "it ended with the keeper")

    run(test())


def test_what_a_detached_process_prints_later_blocks_it_never_and_grows_nowhere(tmp_path: Path) -> None:
    async def test() -> None:
        rig = Rig(tmp_path)
        client = await rig.client()
        loop = (
            "until [ -e $GO ]; do sleep 0.01; done; head -c 300000 /dev/zero; touch one; head -c 300000 /dev/zero >&2"
        )
        script = f"({loop}; touch two; until [ -e end ]; do sleep 0.01; done) & echo $!; exit 0"
        end = await rig.run(client, "step", script, detach=True, env={"GO": "go"})
        assert (end.code, end.leftovers) == (0, ())
        (pid,) = await rig.pids("step")
        await client.forget("step")
        os.unlink(rig.path("step", "out"))
        (tmp_path / "go").touch()
        await until((tmp_path / "two").exists, "nothing blocks it")
        assert is_alive(pid)
        assert not rig.path("step", "out").exists()
        deleted = [file for file in psutil.Process(pid).open_files() if "deleted" in file.path]
        assert not deleted
        await client.close(end_steps=True)
        assert is_alive(pid)
        (tmp_path / "end").touch()
        await until(lambda: not is_alive(pid), "it ended by itself")
        await until(lambda: not standbys(rig.directory), "and then nobody waits for it any more")
        rig.end()

    run(test())


def test_output_is_recorded_to_the_byte_up_to_its_limit(tmp_path: Path) -> None:
    async def test() -> None:
        async with keeper(tmp_path) as (rig, client):
            end = await rig.run(
                client, "over", "head -c 10001 /dev/zero; sleep 60", max_output_bytes=10_000, grace_s=0.1
            )
            assert (end.cause, rig.path("over", "out").stat().st_size) == ("output_limit", 10_000)
            end = await rig.run(client, "even", "head -c 10000 /dev/zero; exit 3", max_output_bytes=10_000)
            assert (end.cause, end.code, rig.path("even", "out").stat().st_size) == (None, 3, 10_000)
            end = await rig.run(client, "flood", "trap '' TERM; cat /dev/zero", max_output_bytes=10_000)
            assert (end.cause, rig.path("flood", "out").stat().st_size) == ("output_limit", 10_000)

    run(test())


@contextlib.contextmanager
def files_no_larger(pid: int, size: int) -> Iterator[None]:
    """This process finds its disk full, as far as it can tell."""
    old = resource.prlimit(pid, resource.RLIMIT_FSIZE, (size, resource.RLIM_INFINITY))
    yield
    resource.prlimit(pid, resource.RLIMIT_FSIZE, old)


@pytest.mark.parametrize("without", ["", "splice"])
def test_on_a_full_disk_a_step_waits_and_all_is_recorded_when_there_is_room(tmp_path: Path, without: str) -> None:
    async def test() -> None:
        async with keeper(tmp_path, without) as (rig, client):
            assert client.pid is not None
            await client.start(rig.launch("step", f"{GO_ON} head -c 300000 /dev/zero; exit 4", env={"GO": "go"}))
            await rig.pids("step")
            with files_no_larger(client.pid, 100_000):
                (tmp_path / "go").touch()
                await until(lambda: rig.path("step", "out").stat().st_size == 100_000, "it is full")
            end = await client.wait("step")
            assert (end.code, end.unwritten_bytes) == (4, 0)
            assert rig.path("step", "out").stat().st_size > 300_000
            with files_no_larger(client.pid, 5000):
                end = await rig.run(client, "lost", "head -c 15000 /dev/zero; exit 4")
            assert (end.code, end.unwritten_bytes, rig.path("lost", "out").stat().st_size) == (4, 10_000, 5000)

    run(test())


def test_a_silent_program_costs_no_file_and_closed_streams_are_fine(tmp_path: Path) -> None:
    async def test() -> None:
        async with keeper(tmp_path) as (rig, client):
            end = await rig.run(client, "closed", "echo x; exec >&- 2>&-; sleep 0.05; exit 6")
            assert (end.code, rig.output("closed")) == (6, "x\n")

    run(test())


def test_a_keeper_that_is_stopped_keeps_no_step_from_printing(tmp_path: Path) -> None:
    async def test() -> None:
        async with keeper(tmp_path) as (rig, client):
            script = f"{GO_ON} head -c 300000 /dev/zero; echo e >&2; touch done"
            script += f"; until [ -e end ]; do sleep 0.01; done; {MANY}"
            await client.start(rig.launch("step", f"{script}; exit 5", env={"GO": "go"}))
            (pid,) = await rig.pids("step")
            assert client.pid is not None
            for _ in range(2):  # it may be stopped again and again
                os.kill(client.pid, signal.SIGSTOP)
                (tmp_path / "go").touch()
                await until((tmp_path / "done").exists, "it has printed more than a pipe holds")
                os.kill(client.pid, signal.SIGCONT)
            (tmp_path / "end").touch()
            assert (await client.wait("step")).code == 5
            head = f"{pid}\n".encode() + bytes(300_000)
            assert rig.path("step", "out").read_bytes() == head + ALL.encode()
            assert [(stream, len(text)) for stream, text in printed_pieces(rig, "step")] == [
                ("stdout", len(head)), ("stderr", 2), ("stdout", len(ALL)),
            ]  # fmt: skip

    run(test())
