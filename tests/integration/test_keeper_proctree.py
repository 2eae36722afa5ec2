"""Looking at processes: the same picture by /proc and by ps, and signals that only reach who was looked at."""

import os
import shutil
import signal
import subprocess
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

import pytest
from daemon_rig import until
from hypothesis import given
from hypothesis import strategies as st

from flowd.keeper.proctree import Process, Processes, Table, _parse_ps

pytestmark = pytest.mark.skipif(not Path("/proc/self/stat").exists(), reason="compares with /proc")

WAYS = [Processes(proc=True, pidfd=True), Processes(proc=True, pidfd=False), Processes(proc=False, pidfd=True)]


@pytest.fixture
def sleeper(tmp_path: Path) -> Iterator["subprocess.Popen[bytes]"]:
    """A process with a mark and a name that would confuse a careless reader, ended by its test."""
    program = tmp_path / "a) Z (b"
    program.symlink_to("/bin/sleep")
    with subprocess.Popen([program, "60"], env={"FLOWD_MARK": "outer@1,run_1:2@3"}, start_new_session=True) as child:
        yield child
        child.kill()


@pytest.mark.parametrize("processes", WAYS)
def test_a_process_is_seen_with_family_and_marks(processes: Processes, sleeper: "subprocess.Popen[bytes]") -> None:
    start = processes.start_of(sleeper.pid)  # at once, as it is meant to be
    # The kernel closes what closes on exec, which is what Popen waits for, before it has laid out the environment.
    until(lambda: Path(f"/proc/{sleeper.pid}/environ").read_bytes(), what="the new program's environment")
    for seen in (processes.look(sleeper.pid), processes.all()[sleeper.pid]):
        assert seen is not None
        assert (seen.ppid, seen.pgid, seen.sid) == (os.getpid(), sleeper.pid, sleeper.pid)
        assert seen.marks == {b"outer@1", b"run_1:2@3"}
        assert processes.is_same(seen, start)
        assert not processes.is_same(seen, seen.start + 1000)


def test_a_process_is_the_same_to_a_ps_that_is_kept_waiting(
    sleeper: "subprocess.Popen[bytes]", tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    start = WAYS[2].start_of(sleeper.pid)
    slow = tmp_path / "ps"
    slow.write_text(f'#!/bin/sh\n{shutil.which("ps")} "$@"\nsleep 4\n')
    slow.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:{os.environ['PATH']}")
    seen = WAYS[2].look(sleeper.pid)
    assert WAYS[2].is_same(seen, start)


@given(instant=st.datetimes(min_value=datetime(1970, 1, 1), max_value=datetime(2099, 12, 31)))
def test_starts_are_read_as_ps_writes_them(instant: datetime) -> None:
    seconds = instant.replace(microsecond=0, tzinfo=UTC)
    line = f"7 1 7 7 {seconds:%a %b} {seconds.day:2} {seconds:%H:%M:%S %Y} S sleep sleep 60"
    process = _parse_ps(line.encode())
    assert process is not None
    assert process.start == seconds.timestamp()


def test_a_name_with_parentheses_is_read_whole(sleeper: "subprocess.Popen[bytes]") -> None:
    assert str(WAYS[0].look(sleeper.pid)) == f"{sleeper.pid} a) Z (b"


@pytest.mark.parametrize("processes", WAYS)
def test_a_signal_reaches_only_who_was_looked_at(processes: Processes, sleeper: "subprocess.Popen[bytes]") -> None:
    seen = processes.look(sleeper.pid)
    assert seen is not None
    seen.start -= 1000  # as if the pid had been given to another since
    assert not processes.signal(seen, signal.SIGKILL)
    assert sleeper.poll() is None
    seen.start += 1000
    assert processes.signal(seen, signal.SIGTERM)
    assert sleeper.wait(60) == -signal.SIGTERM
    assert not processes.signal(seen, signal.SIGTERM)


def test_a_zombie_tells_its_exit_status_by_proc_and_never_by_ps() -> None:
    child = os.posix_spawn("/bin/sh", ["sh", "-c", "exit 7"], {})
    try:
        os.waitid(os.P_PID, child, os.WEXITED | os.WNOWAIT)
        by_proc, by_ps = WAYS[0].look(child), WAYS[2].look(child)
        assert by_proc is not None
        assert by_ps is not None
        assert by_proc.is_dead
        assert by_ps.is_dead
        assert by_proc.exit_status_if_visible() == 7 << 8
        assert by_ps.exit_status_if_visible() is None
    finally:
        os.waitpid(child, 0)


def test_descendants_are_found_at_any_depth_and_nobody_else() -> None:
    def process(pid: int, ppid: int) -> Process:
        return Process(pid, ppid=ppid, pgid=pid, sid=pid, start=0, state="S", name="x")

    table = {pid: process(pid, ppid) for pid, ppid in [(2, 1), (3, 2), (4, 3), (5, 1), (6, 5)]}
    assert sorted(found.pid for found in Table(table).with_descendants([table[2]])) == [2, 3, 4]
