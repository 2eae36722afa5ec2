"""Limits of a step: kept, or refused with the remedy. Real processes."""

import contextlib
import os
import random
import resource
import shutil
import signal
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

import pytest
from keeper_rig import all_of, keeper, run

from flowd.domain.launching import SpawnError
from flowd.domain.limits import Limits
from flowd.keeper.limiter import Limiter
from flowd.keeper.proctree import Processes

pytestmark = pytest.mark.skipif(not Path("/proc/self/stat").exists(), reason="these tests look at processes by /proc")

CHECKOUT = Path(__file__).parents[2]
OWN_NICENESS = os.nice(0)
NICER = min(19, OWN_NICENESS + 3)
"""Whoever is not root can ask for no less than what they have."""


def test_each_limit_is_what_the_step_finds(tmp_path: Path) -> None:
    async def test() -> None:
        async with keeper(tmp_path) as (rig, client):
            limits = Limits(
                memory_bytes=1 << 32, cpu_time_s=7, open_files=33, file_bytes=1 << 20, niceness=NICER, umask=0o027
            )
            script = (
                "ulimit -v; ulimit -t; ulimit -Hn; ulimit -f; nice; umask; grep -E 'SigIgn|SigBlk' /proc/self/status;"
                " ls /proc/self/fd | tr '\\n' ' '; ps -o sid= -p $$; echo $$; cat; pwd; exit 3"
            )
            end = await rig.run(client, "all", script, limits=limits, stdin=b"hello\n", cwd="/usr")
            assert end.code == 3
            lines = rig.output("all").splitlines()
            assert lines[:6] == [str(1 << 22), "7", "33", "2048", str(NICER), "0027"]
            blocked, ignored = (int(line.split()[1], 16) for line in lines[6:8])
            # glibc's posix_spawn ignores 32 and 33 in every child, the keeper included; they are its own.
            assert (blocked, ignored & ~(3 << 31)) == (0, 0)
            # Nothing of the keeper is open in it; `ls` itself has the directory open as 3.
            assert lines[8].split()[:4] == ["0", "1", "2", "3"]
            assert lines[8].split()[4:] == [lines[9]]
            assert lines[10:] == ["hello", "/usr"]

    run(test())


def test_without_limits_nothing_changes(tmp_path: Path) -> None:
    async def test() -> None:
        async with keeper(tmp_path, step_open_files=77) as (rig, client):
            await all_of(
                rig.run(client, "free", "ulimit -Sn; ulimit -Hn; nice; umask"),
                rig.run(client, "nice", "ulimit -Sn; ulimit -Hn; nice; umask", limits=Limits(niceness=NICER)),
            )
            hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
            mask = os.umask(0o22)
            os.umask(mask)
            assert rig.output("free").split() == ["77", str(hard), str(OWN_NICENESS), f"{mask:04o}"]
            assert rig.output("nice").split() == ["77", str(hard), str(NICER), f"{mask:04o}"]

    run(test())


def test_a_step_that_uses_more_than_its_limit_hears_of_it(tmp_path: Path) -> None:
    async def test() -> None:
        async with keeper(tmp_path) as (rig, client):
            hog = "b = bytearray(300 << 20); print('survived')"
            spin = "trap '' XCPU; while :; do :; done"
            memory, deaf, files, size = await all_of(
                _python(rig, client, "memory", hog, Limits(memory_bytes=200 << 20)),
                rig.run(client, "deaf", spin, limits=Limits(cpu_time_s=1)),
                _python(rig, client, "files", "[open('/dev/null') for _ in range(40)]", Limits(open_files=20)),
                rig.run(client, "size", "exec head -c 100000 /dev/zero > big", limits=Limits(file_bytes=50_000)),
            )
            assert memory.code == 1
            assert "MemoryError" in rig.path("memory", "err").read_text()
            # SIGXCPU at one second can be caught; SIGKILL a second later cannot.
            assert (deaf.signal, deaf.cause) == (signal.SIGKILL, None)
            assert deaf.cpu_ms is not None
            assert 1_500 < deaf.cpu_ms < 4_000
            assert files.code == 1
            assert "Too many open files" in rig.path("files", "err").read_text()
            assert size.signal == signal.SIGXFSZ
            assert (tmp_path / "big").stat().st_size == 50_000

    run(test())


def test_a_limit_above_the_hard_one_is_refused_by_name(tmp_path: Path) -> None:
    async def test() -> None:
        async with keeper(tmp_path) as (rig, client):
            if os.geteuid():
                beyond = Limits(open_files=resource.getrlimit(resource.RLIMIT_NOFILE)[1] + 1)
                with pytest.raises(SpawnError, match=r"limit open_files cannot be kept: .*hard limit"):
                    await client.start(rig.launch("files", "true", limits=beyond))
                with pytest.raises(SpawnError, match=r"limit niceness cannot be kept: .*Only root"):
                    await client.start(rig.launch("nice", "true", limits=Limits(niceness=OWN_NICENESS - 5)))
            with pytest.raises(SpawnError, match="limit open_files cannot be kept"):
                # More than the kernel's own fs.nr_open, which binds root, too.
                await client.start(rig.launch("all", "true", limits=Limits(open_files=1 << 40)))
            assert not rig.path("all", "out").exists()
            assert not await client.knows("all")
            # What cannot be executed is told as it is without limits.
            with pytest.raises(SpawnError, match="program /nowhere/program"):
                await client.start(rig.launch_program("gone", "/nowhere/program", limits=Limits(niceness=NICER)))
            assert (await rig.run(client, "all", "exit 4", limits=Limits(niceness=NICER))).code == 4

    run(test())


def test_peak_memory_is_the_steps_own_or_not_told(tmp_path: Path) -> None:
    async def test() -> None:
        async with keeper(tmp_path) as (rig, client):
            large, small = await all_of(
                _python(rig, client, "large", "b = b'x' * (150 << 20)", None), rig.run(client, "small", "exec true")
            )
            assert large.max_rss_bytes is not None
            assert 150 << 20 < large.max_rss_bytes < 250 << 20
            # The kernel counts the keeper's own memory before the execution; `true` alone needs less.
            assert small.max_rss_bytes is None
            assert small.cpu_ms is not None

    run(test())


@pytest.mark.parametrize("without", ["", "subreaper", "pidfd"])
def test_a_fork_bomb_is_bounded_and_ended(without: str) -> None:
    # Root is not bound by RLIMIT_NPROC, so the keeper must run as somebody else: as one who has no process, for what is
    # left of another bomb would count. The range is the one from which systemd lends users.
    uid = os.geteuid() or random.randrange(61_184, 65_520)
    with tempfile.TemporaryDirectory(prefix="flowd-bomb-", dir="/tmp", ignore_cleanup_errors=True) as folder:
        os.chmod(folder, 0o777)
        program = [_python_for_all(uid), str(Path(_code_for_all(folder), "fork_bomb.py")), folder, without]
        somebody: dict[str, Any] = {} if os.geteuid() else {"user": uid, "group": uid, "extra_groups": []}
        environ = {"PATH": os.environ["PATH"], "PYTHONDONTWRITEBYTECODE": "1"}
        done = subprocess.run(
            program, env=environ, cwd=folder, capture_output=True, text=True, timeout=60, check=False, **somebody
        )
        assert done.returncode == 0, done.stderr


def _code_for_all(folder: str) -> str:
    """A copy of what the bomb imports: a checkout in somebody's home is often closed to others."""
    code = f"{folder}/code"
    for package in ("flowd", "clients/python/flowd_client"):
        to = Path(code, Path(package).name)
        shutil.copytree(CHECKOUT / package, to, ignore=shutil.ignore_patterns("__pycache__"))
    for name in ("fork_bomb.py", "keeper_rig.py"):
        shutil.copy(CHECKOUT / "tests" / name, code)
    for path in (Path(code), *Path(code).rglob("*")):
        path.chmod(0o755)
    return code


def _python_for_all(uid: int) -> str:
    """An interpreter that another user can run as well."""
    if os.geteuid():
        return sys.executable
    for path in (os.path.realpath(sys.executable), "/usr/bin/python3"):
        probe = [path, "-c", "import sys; sys.exit(sys.version_info < (3, 11))"]
        with contextlib.suppress(OSError):
            if subprocess.run(probe, user=uid, group=uid, cwd="/", capture_output=True).returncode == 0:
                return path
    pytest.skip("no interpreter that another user could run")


@pytest.mark.skipif(os.geteuid() != 0, reason="only root is not bound by RLIMIT_NPROC")
def test_a_limit_that_the_system_does_not_enforce_is_refused_with_the_remedy(tmp_path: Path) -> None:
    async def test() -> None:
        async with keeper(tmp_path) as (rig, client):
            with pytest.raises(SpawnError, match=r"limit processes cannot be kept: .*root.*DelegateSubgroup="):
                await client.start(rig.launch("many", "true", limits=Limits(processes=10)))
            assert (await rig.run(client, "many", "exit 4")).code == 4

    run(test())


def test_a_share_of_the_processors_is_a_cgroups_to_keep_and_refused_without_one(tmp_path: Path) -> None:
    kept = Limiter(Processes(proc=True, pidfd=True), frozenset({"cpu"}), may_clone=True).confine(
        {"cpu_percent": 150}, "/c"
    )
    assert kept is not None
    assert kept.values == {"cpu.max": "150000 100000"}

    async def test() -> None:
        async with keeper(tmp_path) as (rig, client):
            with pytest.raises(SpawnError, match=r"limit cpu_percent cannot be kept: .*no cgroup.*DelegateSubgroup="):
                await client.start(rig.launch("busy", "true", limits=Limits(cpu_percent=50)))

    run(test())


async def _python(rig, client, name, code, limits):  # type: ignore[no-untyped-def]
    await client.start(rig.launch_program(name, sys.executable, "-I", "-S", "-c", code, limits=limits))
    return await client.wait(name)
