"""A service of the machine, installed as the README says, under a systemd that is PID 1."""

import http.client
import os
import pwd
import re
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from vm.rig import CHECKS, QUICK, Service, processes_below, run, steps_of, until

from flowd_client import create_flow_client

Make = Callable[..., Service]
Seen = Callable[[str], None]


def wait_for(path: str) -> str:
    """A script that goes on when a file is there."""
    return f"echo started >> {path}.started\nwhile ! test -e {path}; do sleep 0.3; done\n{QUICK}"


@pytest.fixture(scope="module")
def automation(service: Make) -> Service:
    """What `sudo flowd service install --system -w /srv/automation` makes."""
    run("sh", "-c", "userdel flowd; rm -rf /etc/sysusers.d/flowd.conf /etc/flowd /var/lib/flowd", check=False)
    with pytest.raises(KeyError):
        pwd.getpwnam("flowd")
    place = service("/srv/automation")
    assert "is ready at /run/flowd-sockets/srv/automation.sock" in place.install()
    return place


def test_an_install_on_a_fresh_system_runs_flowd_as_a_user_of_its_own(automation: Service, seen: Seen) -> None:
    place = automation
    place.add("quick", f"id -un\n{QUICK}")
    assert Path(f"/proc/{place.main_pid()}").stat().st_uid == pwd.getpwnam("flowd").pw_uid
    answer = place.flowd("dispatch", "--type", "quick.go", "--wait", "--json")
    assert answer["runs"][0]["effectiveStatus"] == "changed"
    assert "flowd" in place.flowd("logs", answer["runs"][0]["id"])
    assert (place.show("ActiveState"), place.show("UnitFileState")) == ("active", "enabled")
    seen(f"{place.unit}, user flowd ({pwd.getpwnam('flowd').pw_uid}), Type={place.show('Type')}")


def test_a_reload_is_done_when_systemctl_returns(automation: Service, seen: Seen) -> None:
    assert automation.show("Type") == "notify-reload"
    limit = Path("/proc/sys/fs/inotify/max_user_instances")
    before = limit.read_text()
    limit.write_text("0")  # the daemon cannot watch folders then, and looks at them once a second
    took_s, stale = [], 0
    try:
        automation.restart_with("")
        pid = automation.main_pid()
        with create_flow_client(mode="socket", workspace=automation.path, timeout_s=60) as client:
            for number in range(6):
                automation.flow(f"late{number}", QUICK)
                stale += f"late{number}" not in [flow.name for flow in client.list_flows().flows]
                began_s = time.monotonic()
                automation.systemctl("reload", automation.unit)
                took_s.append(time.monotonic() - began_s)
                assert f"late{number}" in [flow.name for flow in client.list_flows().flows]
        assert stale >= 3  # else nothing was shown
        assert automation.main_pid() == pid
    finally:
        limit.write_text(before)
    seen(f"Type=notify-reload: {stale} changes were in force after it and not before; {max(took_s) * 1000:.0f} ms")


def test_systemd_finds_nothing_to_say_of_the_units(automation: Service, seen: Seen) -> None:
    names = (automation.unit, automation.unit.replace(".service", ".socket"))
    # The manual page that the units name comes with a distribution's package.
    assert run("systemd-analyze", "verify", "--man=no", *names, check=False) == ""
    analysed = run("systemd-analyze", "security", "--no-pager", automation.unit)
    exposure = re.search(r"Overall exposure level for \S+: ([\d.]+)", analysed)
    assert exposure is not None
    assert float(exposure[1]) <= 3.0
    seen(f"systemd-analyze verify: nothing; security: {exposure[1]}")


def test_a_restart_under_fifty_running_steps_loses_none(automation: Service, seen: Seen) -> None:
    automation.restart_with("Environment=FLOWD_MAX_PARALLEL=64")
    go = "/srv/automation/go"
    automation.add("held", wait_for(go))
    run("chown", "flowd", automation.path)  # where the steps note their starts
    ids = automation.dispatch("held.go", count=50)
    started = Path(f"{go}.started")
    until(lambda: started.exists() and started.read_text().count("started") == 50, what="the start of 50 steps")
    before = automation.main_pid()
    pids = set(steps_of(automation))

    began_s = time.monotonic()
    automation.systemctl("restart", automation.unit)
    took_s = time.monotonic() - began_s

    assert automation.main_pid() not in (0, before)
    assert len([pid for pid in pids if os.path.exists(f"/proc/{pid}/fd")]) >= 50
    assert [run["processStatus"] for run in automation.runs("held")] == ["running"] * 50
    Path(go).touch()
    until(
        lambda: {run["processStatus"] for run in automation.runs("held")} == {"completed"}, what="the end of all runs"
    )
    runs = {run["id"]: (run["effectiveStatus"], run["attemptCount"]) for run in automation.runs("held")}
    assert runs == dict.fromkeys(ids, ("changed", 1))
    assert started.read_text().count("started") == 50
    seen(f"50 of 50 completed, 1 attempt each; the restart took {took_s:.1f} s")


def test_a_stop_ends_every_process_of_the_unit(automation: Service, seen: Seen) -> None:
    automation.restart_with("")
    automation.add("left", "setsid sh -c 'sleep 300' &\nenv -i setsid sleep 300 &\nsleep 300")
    automation.dispatch("left.go", count=3)
    until(lambda: list(steps_of(automation).values()).count("sleep 300 ") == 9, what="the steps' processes")
    group = automation.show("ControlGroup")
    automation.systemctl("stop", automation.unit)
    assert processes_below(group) == {}
    assert automation.show("Result") == "success"
    automation.systemctl("start", automation.unit)
    assert [(run["status"], run["attemptCount"]) for run in automation.runs("left")] == [("canceled", 1)] * 3
    seen("9 sleeping processes of 3 steps, some in sessions of their own: none left; 3 runs are canceled")


def test_a_start_after_a_crash_finds_the_unit_as_systemd_wants_it(automation: Service, seen: Seen) -> None:
    go = "/var/tmp/crash-go"
    automation.restart_with("")
    automation.add("crash", f"while ! test -e {go}; do sleep 0.3; done\n{QUICK}")
    (run_id,) = automation.dispatch("crash.go")
    until(lambda: automation.run(run_id)["processStatus"] == "running", what="the step")
    for _ in range(3):
        before = automation.main_pid()
        run("kill", "-KILL", str(before))
        until(lambda before=before: automation.main_pid() not in (0, before), what="the next daemon")  # type: ignore[misc]
        until(lambda: automation.show("ActiveState") == "active", what="its readiness")
    Path(go).touch()
    ended = automation.ended(run_id)
    Path(go).unlink()
    assert (ended["effectiveStatus"], ended["attemptCount"]) == ("changed", 1)
    seen(f"kill -9 three times: NRestarts={automation.show('NRestarts')}, the step completed in 1 attempt")


def test_the_watchdog_ends_a_stuck_daemon_and_the_next_adopts_its_steps(automation: Service, seen: Seen) -> None:
    automation.restart_with("Environment=FLOWD_DEBUG_HANG=1\nWatchdogSec=5")
    go = "/var/tmp/hang-go"
    automation.add("hung", f"while ! test -e {go}; do sleep 0.3; done\n{QUICK}")
    (run_id,) = automation.dispatch("hung.go")
    until(lambda: automation.run(run_id)["processStatus"] == "running", what="the step")
    before = automation.main_pid()
    began_s = time.monotonic()
    run("kill", "-USR2", str(before))
    until(lambda: automation.main_pid() not in (0, before), what="the next daemon")
    took_s = time.monotonic() - began_s
    assert "Watchdog timeout" in automation.log()
    Path(go).touch()
    ended = automation.ended(run_id)
    Path(go).unlink()
    assert (ended["effectiveStatus"], ended["attemptCount"]) == ("changed", 1)
    seen(f"WatchdogSec=5: another daemon after {took_s:.1f} s; the step completed in 1 attempt")


def test_a_hung_daemon_is_stopped_with_its_steps(automation: Service, seen: Seen) -> None:
    automation.restart_with("Environment=FLOWD_DEBUG_HANG=1\nTimeoutStopSec=3")
    automation.add("stopped", "sleep 300")
    automation.dispatch("stopped.go")
    until(lambda: "sleep 300 " in steps_of(automation).values(), what="the step")
    group = automation.show("ControlGroup")
    run("kill", "-USR2", str(automation.main_pid()))
    automation.systemctl("stop", automation.unit)
    assert processes_below(group) == {}
    automation.systemctl("start", automation.unit)
    until(
        lambda: [run["status"] for run in automation.runs("stopped")] == ["canceled"],
        what="the record of what was stopped",
    )
    seen("ExecStopPost= ended what the daemon could not")


@pytest.fixture
def http_socket(automation: Service) -> Iterator[str]:
    """The packaged socket of HTTP."""
    unit = automation.unit.replace("flowd@", "flowd-http@").replace(".service", ".socket")
    file = Path("/etc/systemd/system/flowd-http@.socket")
    file.write_text((CHECKS / "systemd" / "system" / file.name).read_text())
    yield unit
    run("systemctl", "disable", "--now", unit, check=False)
    file.unlink()


def test_credentials_arrive_and_http_comes_through_systemds_socket(
    automation: Service, http_socket: str, seen: Seen
) -> None:
    token = "4b1d5ecre7-of-this-machine-4b1d5ecre7"
    secret = Path("/etc/flowd/http-token")
    secret.parent.mkdir(exist_ok=True)
    secret.write_text(token + "\n")
    secret.chmod(0o600)
    automation.systemctl("stop", automation.unit)
    run("systemctl", "enable", "--now", http_socket)
    automation.restart_with(f"Environment=FLOWD_HTTP=systemd:http\nLoadCredential=flowd-http-token:{secret}")
    automation.add("looker", f'echo "secrets: $(env | grep -c {token})"\n{QUICK}')

    def get(given: str) -> int:
        connection = http.client.HTTPConnection("127.0.0.1", 7345, timeout=60)
        connection.request("GET", "/runs", headers={"Authorization": f"Bearer {given}"})
        status = connection.getresponse().status
        connection.close()
        return status

    assert (get("wrong"), get(token)) == (401, 200)
    answer = automation.flowd("dispatch", "--type", "looker.go", "--wait", "--json")
    assert "secrets: 0" in automation.flowd("logs", answer["runs"][0]["id"])
    seen("127.0.0.1:7345 held by systemd: 401 with a wrong token, 200 with the credential's")


def test_the_out_of_memory_killer_spares_flowd_and_its_keeper_and_not_steps(automation: Service, seen: Seen) -> None:
    automation.add("lasting", "exec sleep 300")
    automation.dispatch("lasting.go")
    step = until(lambda: [pid for pid, line in steps_of(automation).items() if line.startswith("sleep 300")], what="it")
    keeper = automation.flowd("status", "--json")["keeper"]["pid"]
    pids = (automation.main_pid(), keeper, step[0])
    scores = [Path(f"/proc/{pid}/oom_score_adj").read_text(encoding="ascii").strip() for pid in pids]
    assert scores == ["-500", "-500", "0"]
    seen(f"oom_score_adj of daemon, keeper and step: {', '.join(scores)}")
