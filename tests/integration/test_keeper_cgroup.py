"""Steps in cgroups of their own, in a real part of the tree that was given to the keeper."""

import asyncio
import contextlib
import os
import signal
from collections.abc import Iterator
from pathlib import Path

import pytest
from daemon_rig import until as until_gone
from keeper_rig import is_alive, keeper, run, until

from flowd.domain.limits import Limits
from flowd.keeper import cgroup

ESCAPE = "(env -i setsid sh -c 'echo $$; exec sleep 300' >>$OUT 2>&1 &)"
WAIT_FOR_ONE = "while [ ! -s $OUT ]; do sleep 0.01; done"
WAYS = ["", "clone3", "subreaper", "pidfd,pidfd_info,subreaper,memfd"]


def _mount() -> Path | None:
    for line in Path("/proc/self/mountinfo").read_text().splitlines() if Path("/proc/self/mountinfo").exists() else []:
        fields, _, rest = line.partition(" - ")
        if rest.startswith("cgroup2 "):
            return Path(fields.split()[4])
    return None


@pytest.fixture
def part() -> Iterator[Path]:
    """A cgroup that is ours for the test."""
    mount = _mount()
    if mount is None:
        pytest.skip("no cgroup v2 here")
    path = mount / f"flowd-test-{os.getpid()}"
    try:
        path.mkdir()
    except OSError:
        pytest.skip("we may not make a cgroup here")
    yield path

    def is_gone() -> bool:
        for folder, _, _ in os.walk(path, topdown=False):
            with contextlib.suppress(OSError):  # a process is in it until the kernel has done away with it
                os.rmdir(folder)
        return not path.exists()

    until_gone(is_gone, what="the end of the cgroup")


def groups(part: Path) -> list[Path]:
    """The attempts' cgroups."""
    return [Path(folder) for folder, _, _ in os.walk(part) if Path(folder).name.startswith("run-")]


@pytest.mark.parametrize("without", WAYS)
def test_an_escapee_without_a_trace_is_ended_and_its_cgroup_removed(tmp_path: Path, part: Path, without: str) -> None:
    async def test() -> None:
        async with keeper(tmp_path, without, cgroup=str(part)) as (rig, client):
            assert "cgroup" in client.capabilities
            # A second step runs, so that nothing can be told by there being only one.
            await client.start(rig.launch("other", "cat /proc/self/cgroup; sleep 300"))
            env = {"OUT": str(rig.path("escape", "out"))}
            end = await rig.run(client, "escape", f"{ESCAPE}; {WAIT_FOR_ONE}; exit 3", env=env)
            (pid,) = await rig.pids("escape")
            assert not is_alive(pid)
            assert (end.code, end.leftovers, end.survivors) == (3, (f"{pid} sleep",), ())
            (other,) = groups(part)
            assert other.name in rig.output("other")

    run(test())
    assert groups(part) == []


@pytest.mark.parametrize("without", WAYS)
def test_a_stop_kills_what_ignores_sigterm_and_forks_away(tmp_path: Path, part: Path, without: str) -> None:
    async def test() -> None:
        async with keeper(tmp_path, without, cgroup=str(part)) as (rig, client):
            (tmp_path / "hop").write_text('#!/bin/sh\ntrap "" TERM\necho $$\nsleep 0.02\nenv -i setsid "$0" &\n')
            (tmp_path / "hop").chmod(0o700)
            await client.start(rig.launch("hop", f"trap '' TERM; {tmp_path}/hop; sleep 300"))
            await rig.pids("hop", 3)
            await client.stop("hop", cause="canceled", grace_s=0.1)
            end = await client.wait("hop")
            assert (end.signal, end.survivors) == (signal.SIGKILL, ())
            seen = rig.output("hop")
            await asyncio.sleep(0.2)
            assert rig.output("hop") == seen

    run(test())


def test_processor_time_of_the_whole_tree_is_counted(tmp_path: Path, part: Path) -> None:
    async def test() -> None:
        async with keeper(tmp_path, cgroup=str(part)) as (rig, client):
            # The child is never waited for by its parent, so no parent's usage has its time.
            spin = "import time\nwhile time.process_time() < 0.4: pass"
            script = f"(setsid python3 -c '{spin}' && touch done &) ; while [ ! -e done ]; do sleep 0.02; done"
            end = await rig.run(client, "spin", script)
            assert end.cpu_ms is not None
            assert 400 <= end.cpu_ms < 3_000

    run(test())


def test_limits_and_refusals_are_the_same_in_a_cgroup(tmp_path: Path, part: Path) -> None:
    async def test() -> None:
        async with keeper(tmp_path, cgroup=str(part)) as (rig, client):
            nicer = min(19, os.nice(0) + 4)
            limits = Limits(niceness=nicer, open_files=50)
            await rig.run(client, "nice", "nice; ulimit -n; cat", limits=limits, stdin=b"in")
            assert rig.output("nice").split() == [str(nicer), "50", "in"]
            with contextlib.suppress(Exception):
                await client.start(rig.launch_program("gone", "/nowhere/program"))
            assert not await client.knows("gone")

    run(test())
    assert groups(part) == []


def test_the_next_keeper_takes_over_a_steps_cgroup(tmp_path: Path, part: Path) -> None:
    async def test() -> None:
        async with keeper(tmp_path, cgroup=str(part)) as (rig, client):
            env = {"OUT": str(rig.path("step", "out"))}
            await client.start(rig.launch("step", f"{ESCAPE}; {WAIT_FOR_ONE}; sleep 300", env=env))
            (pid,) = await rig.pids("step")
            (folder,) = groups(part)
            stray = folder.parent / "run-1-stray-1"
            stray.mkdir()
            old = await rig.kill_keeper(client)
            await rig.reconnected(client, old)
            await until(lambda: not stray.exists(), "what nobody uses is swept")
            await client.stop("step", cause="canceled", grace_s=1)
            end = await client.wait("step")
            assert (end.cause, end.survivors) == ("canceled", ())
            assert not is_alive(pid)

    run(test())
    assert groups(part) == []


@pytest.mark.parametrize("how", ["setting", "FLOWD_WITHOUT", "auto", "nowhere"])
def test_without_a_delegated_cgroup_steps_run_as_ever(tmp_path: Path, part: Path, how: str) -> None:
    setting = {"setting": "off", "auto": "auto", "nowhere": str(tmp_path)}.get(how, str(part))

    async def test() -> None:
        without = "cgroup" if how == "FLOWD_WITHOUT" else ""
        async with keeper(tmp_path, without, cgroup=setting) as (rig, client):
            assert "cgroup" not in client.capabilities
            assert (await rig.run(client, "step", "exit 4")).code == 4
            assert not list(part.iterdir()) or not groups(part)

    run(test())


def test_only_what_is_marked_as_delegated_to_our_own_unit_is_used(part: Path) -> None:
    unit, below, users, app = part / "flowd.service", part / "flowd.service/daemon", part / "user@0.service", part / "x"
    for path in (unit, below, users, users / "init", app):
        path.mkdir()
    assert cgroup.delegated(str(unit)) == ("", False)
    for path in (unit, users):
        os.setxattr(path, "user.delegate", b"1")
    # The unit's own processes are in it, so it can have no controllers; with DelegateSubgroup= it can.
    assert cgroup.delegated(str(unit)) == (str(unit), False)
    assert cgroup.delegated(str(below)) == (str(unit), True)
    # A user's session belongs to its systemd, and a neighbour's cgroup to nobody we know.
    assert cgroup.delegated(str(users / "init")) == ("", False)
    assert cgroup.delegated(str(app)) == ("", False)
    assert cgroup.delegated("") == ("", False)


def test_what_a_users_systemd_delegates_to_our_unit_is_used_though_it_marks_nothing(part: Path) -> None:
    manager = part / "user@7.service"
    unit, other, outside = manager / "flowd@srv.service", manager / "other.service", part / "flowd@srv.service"
    for path in (unit / "daemon", unit / "else", other / "daemon", outside / "daemon"):
        path.mkdir(parents=True)
    assert cgroup.delegated(str(unit / "daemon")) == (str(unit), True)
    for path in (unit, unit / "else", other / "daemon", outside / "daemon"):
        assert cgroup.delegated(str(path)) == ("", False)
