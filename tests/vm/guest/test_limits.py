"""Limits of whole steps, kept by the kernel: a cgroup of each attempt below the service's own."""

import time
from collections.abc import Callable
from datetime import datetime
from pathlib import Path

import pytest
from vm.rig import ALLOCATE, BOMB, QUICK, SPIN, Service, add_user, cgroup_of, files_of, processes_below, run, until

Make = Callable[..., Service]
Seen = Callable[[str], None]

KINDS = ["flowd", "root", "lin"]
LIMITS = "[steps.limits]\nmemory_bytes = 100000000\nprocesses = 40\ncpu_percent = 50"


@pytest.fixture(scope="module", params=KINDS)
def place(service: Make, request: pytest.FixtureRequest) -> Service:
    """A service of the machine as user flowd, one as root, and one of a lingering user, as they are installed."""
    if request.param == "lin":
        add_user("lin", lingers=True)
        made = service("/home/lin/work", user="lin")
    else:
        made = service(f"/srv/limits-{request.param}", run_as="root" if request.param == "root" else "")
    made.install()
    return made


def test_each_run_has_a_cgroup_with_its_limits(place: Service, seen: Seen) -> None:
    place.add("long", f"echo $$\nexec sleep 300\n{QUICK}", step=LIMITS)
    ids = place.dispatch("long.go", count=2)
    group = place.show("ControlGroup")

    def steps() -> list[int]:
        return [pid for pid, line in processes_below(group).items() if line.startswith("sleep 300")]

    until(lambda: len(steps()) == 2, what="the steps")
    groups = {cgroup_of(pid) for pid in steps()}
    assert len(groups) == 2
    assert all(found.startswith(f"{group}/flowd-") for found in groups)
    for found in groups:
        kept = files_of(found)
        assert kept["memory.max"] == str(100_000_000 // 4096 * 4096)
        assert (kept["pids.max"], kept["cpu.max"]) == ("40", "50000 100000")
    assert cgroup_of(place.main_pid()) == f"{group}/daemon"
    for run_id in ids:
        place.flowd("cancel", run_id)
        place.ended(run_id)
    assert not any(Path("/sys/fs/cgroup" + found).exists() for found in groups)
    seen(f"{min(groups)}: {kept}")


def test_a_step_beyond_its_memory_is_killed_as_a_whole_and_told_so(place: Service, seen: Seen) -> None:
    place.add("greedy", ALLOCATE, step=LIMITS, runner="python")
    began_s = time.monotonic()
    ended = place.ended(*place.dispatch("greedy.go"))
    assert time.monotonic() - began_s < 50  # its leader would sleep for a minute
    assert (ended["processStatus"], ended["reason"]) == ("failed", "signal")
    assert "ran out of memory" in ended["error"]
    attempt = ended["attempts"][0]
    assert attempt["signal"] == 9
    assert 90_000_000 < attempt["maxRssBytes"] <= 100_000_000
    assert place.show("ActiveState") == "active"
    seen(f"{ended['error']} (peak {attempt['maxRssBytes']})")


def test_a_fork_bomb_stays_within_its_count_and_ends_with_a_cancel(place: Service, seen: Seen) -> None:
    place.add("bomb", BOMB, step="[steps.limits]\nprocesses = 40\n", runner="python")
    (run_id,) = place.dispatch("bomb.go")
    group = place.show("ControlGroup")

    def fragments() -> int:
        return sum("main.py" in line for line in processes_below(group).values())

    until(lambda: "full" in place.flowd("logs", run_id), what="the bomb has used up its limit")
    most = max(fragments() for _ in range(20))
    assert 30 < most <= 40
    place.flowd("cancel", run_id)
    ended = place.ended(run_id)
    assert (ended["processStatus"], fragments()) == ("canceled", 0)
    assert run("pgrep", "-fc", "[m]ain.py", check=False).strip() == "0"
    seen(f"{most} processes of 40 allowed, as {place.runs_as or 'root'}; none left after the cancel")


def test_a_busy_step_gets_its_share_of_the_processor(place: Service, seen: Seen) -> None:
    place.add("spin", SPIN, step="[steps.limits]\ncpu_percent = 40\n", runner="python")
    ended = place.ended(*place.dispatch("spin.go"))
    assert ended["processStatus"] == "completed"
    attempt = ended["attempts"][0]
    took_ms = _took_ms(attempt)
    share = attempt["cpuMs"] / took_ms
    assert 0.25 < share < 0.48
    seen(f"cpu_percent = 40: {attempt['cpuMs']} ms of processor in {took_ms:.0f} ms, {share:.0%}")


def _took_ms(attempt: dict[str, str]) -> float:
    began, ended = (datetime.fromisoformat(attempt[name]) for name in ("startedAt", "completedAt"))
    return (ended - began).total_seconds() * 1000
