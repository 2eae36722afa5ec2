"""The executor ``systemd``: limits and ends of transient units, with the system manager and a user's."""

import time
from collections.abc import Callable
from pathlib import Path

import pytest
from vm.rig import ALLOCATE, BOMB, SPIN, Service, add_user, files_of, processes_below, run, show, until

from flowd.domain.ids import unit_name

Make = Callable[..., Service]
Seen = Callable[[str], None]

LIMITS = "[steps.limits]\nmemory_bytes = 100000000\nprocesses = 40\ncpu_percent = 50"


@pytest.fixture(scope="module", params=["root", "lin"])
def place(service: Make, request: pytest.FixtureRequest) -> Service:
    """A service of root, whose steps are the system manager's, and one of a user who lingers."""
    if request.param == "lin":
        add_user("lin", lingers=True)
        made = service("/home/lin/units", user="lin")
    else:
        made = service("/srv/units", run_as="root")
    made.install()
    made.restart_with("Environment=FLOWD_EXECUTOR=systemd")
    return made


def group_of(place: Service, run_id: str) -> str:
    """The cgroup of a run's unit."""
    return until(lambda: show(f"{unit_name(run_id)}.service", "ControlGroup", user=place.user), what="the unit")


def test_a_units_limits_are_the_kernels(place: Service, seen: Seen) -> None:
    place.add("long", "sleep 300", step=LIMITS)
    (run_id,) = place.dispatch("long.go")
    kept = files_of(group := group_of(place, run_id))
    assert kept["memory.max"] == str(100_000_000 // 4096 * 4096)
    assert (kept["pids.max"], kept["cpu.max"]) == ("40", "50000 100000")
    place.flowd("cancel", run_id)
    place.ended(run_id)
    seen(f"{group}: {kept}")


def test_a_step_beyond_its_memory_is_killed_as_a_whole_and_told_so(place: Service, seen: Seen) -> None:
    place.add("greedy", ALLOCATE, step=LIMITS, runner="python")
    began_s = time.monotonic()
    (run_id,) = place.dispatch("greedy.go")
    ended = place.ended(run_id)
    assert time.monotonic() - began_s < 50  # its leader would sleep for a minute
    assert (ended["processStatus"], ended["reason"], ended["attempts"][0]["signal"]) == ("failed", "signal", 9)
    assert "ran out of memory" in ended["error"]
    assert place.show("ActiveState") == "active"
    seen(f"{ended['error']} (peak {ended['attempts'][0].get('maxRssBytes')})")


def test_a_fork_bomb_stays_within_its_count_and_ends_with_a_cancel(place: Service, seen: Seen) -> None:
    place.add("bomb", BOMB, step="[steps.limits]\nprocesses = 40\n", runner="python")
    (run_id,) = place.dispatch("bomb.go")
    group = group_of(place, run_id)
    until(lambda: "full" in place.flowd("logs", run_id), what="the bomb has used up its limit")
    most = max(len(processes_below(group)) for _ in range(20))
    assert 30 < most <= 40
    place.flowd("cancel", run_id)
    ended = place.ended(run_id)
    assert ended["processStatus"] == "canceled"
    assert run("pgrep", "-fc", "[m]ain.py", check=False).strip() == "0"
    seen(f"{most} processes of 40 allowed; none left after the cancel")


def test_a_busy_step_gets_its_share_of_the_processor(place: Service, seen: Seen) -> None:
    place.add("spin", SPIN, step="[steps.limits]\ncpu_percent = 40\n", runner="python")
    ended = place.ended(*place.dispatch("spin.go"))
    assert ended["processStatus"] == "completed"
    used_ms, took_ms = ended["attempts"][0]["cpuMs"], ended["attempts"][0]["durationMs"]
    assert 0 < used_ms <= 0.4 * took_ms + 2 * 100  # periods of the limit: one begun at each end
    seen(f"cpu_percent = 40: {used_ms} ms of processor in {took_ms} ms, 4 s of which it was busy")


def test_a_cancel_leaves_nothing_of_a_unit(place: Service, seen: Seen) -> None:
    script = "setsid sh -c 'trap \"\" TERM; while :; do sleep 1; done' &\nenv -i setsid sleep 300 &\nsleep 300"
    place.add("daemonised", script, step="grace_ms = 1000")
    (run_id,) = place.dispatch("daemonised.go")
    group = group_of(place, run_id)
    until(lambda: len(processes_below(group)) >= 4, what="what the step starts")
    place.flowd("cancel", run_id)
    assert place.ended(run_id)["processStatus"] == "canceled"
    assert processes_below(group) == {}
    until(lambda: not Path("/sys/fs/cgroup" + group).exists(), what="the end of its cgroup")
    seen("children in sessions of their own, one deaf to SIGTERM, one with an empty environment: none left")


def test_units_go_on_over_a_restart_and_end_with_a_stop(place: Service, seen: Seen) -> None:
    place.add("long", "sleep 300 & sleep 300")
    ids = place.dispatch("long.go", count=3)
    groups = [group_of(place, run_id) for run_id in ids]
    place.systemctl("restart", place.unit)
    assert {place.run(run_id)["processStatus"] for run_id in ids} == {"running"}
    place.systemctl("stop", place.unit)
    assert [processes_below(group) for group in groups] == [{}, {}, {}]
    place.systemctl("start", place.unit)
    assert {(place.run(run_id)["processStatus"], place.run(run_id)["attemptCount"]) for run_id in ids} == {
        ("canceled", 1)
    }
    seen("3 of 3 adopted, then ended and recorded as canceled in their first attempt")
