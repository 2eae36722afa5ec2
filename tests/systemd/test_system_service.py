"""The shipped system units in a booted systemd, run by an unprivileged user."""

import json
import re
import sys
import time
import uuid
from collections.abc import Callable

from daemon_rig import say, until
from systemd_rig import UID, USER, Box, Service

Make = Callable[..., Service]

QUICK = say("changed")


def wait_for_file(path: str) -> str:
    """A script that goes on when a file is there."""
    return f"echo started >> {path}.started\nwhile ! test -e {path}; do sleep 0.1; done\n{QUICK}"


def cgroups(box: Box, place: Service) -> str:
    """What there is of the service's cgroup. systemd removes it a moment after the last process."""
    return box.run("sh", "-c", f"find /sys/fs/cgroup -path '*{place.unit}*'").stdout


def test_the_first_dispatch_starts_flowd_through_its_socket(box: Box, service: Make) -> None:
    place = service()
    place.flow("quick", f"id -u\n{QUICK}")
    place.systemctl("start", place.socket_unit)
    assert box.show(place.unit, "ActiveState") == "inactive"

    answer = place.flowd("dispatch", "--type", "quick.go", "--wait", "--json")

    assert [run["effectiveStatus"] for run in answer["runs"]] == ["changed"]
    assert box.show(place.unit, "ActiveState") == "active"
    assert box.run("ps", "-o", "uid=", "-p", str(place.main_pid())).stdout.split() == [str(UID)]
    assert box.run("stat", "-c", "%U %a", place.socket).stdout.split() == [USER, "600"]


def test_the_service_is_active_only_once_it_is_ready(box: Box, service: Make) -> None:
    hold = f"/var/tmp/hold-{uuid.uuid4().hex[:8]}"
    place = service(Environment=f"PYTHONPATH={hold}")
    # Python loads this before anything of flowd's, which waits here until we write.
    held = f"import sys\nif 'serve' in sys.orig_argv:\n    open({hold + '/go'!r}).read()\n"
    box.write(f"{hold}/sitecustomize.py", held)
    box.run("mkfifo", "-m", "666", f"{hold}/go")

    box.systemctl("start", "--no-block", place.unit)

    until(lambda: place.main_pid() and "serve" in box.read(f"/proc/{place.main_pid()}/cmdline"), what="flowd's process")
    assert box.show(place.unit, "ActiveState") == "activating"
    box.run("sh", "-c", f"echo go > {hold}/go")
    until(lambda: box.show(place.unit, "ActiveState") == "active", what="readiness")
    assert place.flowd("status", "--json")["state"] == "ready"
    box.run("rm", "-r", hold)


def test_a_started_service_tells_who_manages_it(box: Box, service: Make) -> None:
    place = service()
    place.flow("quick", QUICK)
    place.systemctl("start")
    manager = place.flowd("status", "--json")["manager"]
    assert (manager["unit"], manager["scope"], manager["watchdogMs"]) == (place.unit, "system", 30_000)
    assert box.show(place.unit, "StatusText") == "ready: 0 running, 0 queued, 1 flows"


def test_the_status_line_counts_what_runs(box: Box, service: Make) -> None:
    place = service(Environment="FLOWD_MAX_PARALLEL=2")
    place.flow("long", wait_for_file("/var/tmp/never"))
    place.systemctl("start")
    place.dispatch("long.go", count=3)
    until(
        lambda: box.show(place.unit, "StatusText") == "ready: 2 running, 1 queued, 1 flows",
        what="a status with live counts",
    )


def test_settings_that_cannot_be_used_are_not_tried_again(box: Box, service: Make) -> None:
    place = service(Environment="FLOWD_MAX_PARALLEL=many")
    box.systemctl("start", place.unit, check=False)
    assert box.show(place.unit, "Result") == "exit-code"
    assert box.show(place.unit, "ExecMainStatus") == "78"
    assert box.show(place.unit, "NRestarts") == "0"
    assert "max_parallel must be a whole number" in place.log()


def test_a_restart_under_fifty_running_steps_loses_none(box: Box, service: Make) -> None:
    place = service(Environment="FLOWD_MAX_PARALLEL=64")
    go = f"{place.path}/go"
    place.flow("long", wait_for_file(go))
    place.systemctl("start", place.socket_unit)
    run_ids = place.dispatch("long.go", count=50)
    until(lambda: box.read(f"{go}.started").count("started") == 50, what="the start of 50 steps")
    before = place.main_pid()

    place.systemctl("restart")

    assert place.main_pid() not in (0, before)
    assert place.flowd("status", "--json")["runs"]["running"] == 50
    box.run("touch", go)
    until(lambda: place.flowd("status", "--json")["runs"].get("completed") == 50, what="the end of all runs")
    runs = {run["id"]: run for run in place.runs()}
    assert set(runs) == set(run_ids)
    assert {(run["effectiveStatus"], run["attemptCount"]) for run in runs.values()} == {("changed", 1)}
    assert box.read(f"{go}.started").count("started") == 50


def test_a_stop_ends_all_steps_and_what_they_left_in_the_background(box: Box, service: Make) -> None:
    place = service()
    place.flow("long", "setsid sh -c 'sleep 300' &\nsleep 300")
    place.systemctl("start")
    place.dispatch("long.go", count=2)
    until(lambda: len(place.steps()) >= 6, what="the steps' processes")

    place.systemctl("stop")

    assert box.show(place.unit, "Result") == "success"
    until(lambda: cgroups(box, place) == "", what="the end of its cgroup: nothing is left in it")
    place.systemctl("start")
    assert [run["status"] for run in place.runs()] == ["canceled", "canceled"]


def test_a_stop_that_winds_steps_down_for_longer_than_the_timeout_is_given_the_time(box: Box, service: Make) -> None:
    place = service(TimeoutStopSec="3")
    place.flow("deaf", "trap '' TERM\nwhile :; do sleep 0.05; done", step="grace_ms = 5000")
    place.systemctl("start")
    place.dispatch("deaf.go")
    until(place.steps, what="the step's process")

    began_s = time.monotonic()
    place.systemctl("stop")

    assert time.monotonic() - began_s > 4
    assert box.show(place.unit, "Result") == "success"  # and not "timeout"
    place.systemctl("start")
    assert [run["status"] for run in place.runs()] == ["canceled"]


def test_a_stop_of_a_flowd_that_hangs_ends_its_steps_within_the_timeout(box: Box, service: Make) -> None:
    place = service(Environment="FLOWD_DEBUG_HANG=1", TimeoutStopSec="5")
    place.flow("long", "sleep 300")
    place.systemctl("start")
    place.dispatch("long.go")
    until(place.steps, what="the step's process")
    box.run("kill", "-USR2", str(place.main_pid()))

    place.systemctl("stop")  # the manager's own timeout, 90 s, is beyond this command's bound

    until(lambda: cgroups(box, place) == "", what="the end of its cgroup")
    place.systemctl("start")
    until(lambda: [run["status"] for run in place.runs()] == ["canceled"], what="the record of what was stopped")


def test_a_stuck_loop_is_killed_by_the_watchdog_and_the_next_start_adopts_its_steps(box: Box, service: Make) -> None:
    place = service(Environment="FLOWD_DEBUG_HANG=1", WatchdogSec="3")
    go = f"{place.path}/go"
    place.flow("long", wait_for_file(go))
    place.systemctl("start")
    place.dispatch("long.go")
    until(lambda: box.read(f"{go}.started"), what="the step's start")
    before = place.main_pid()

    box.run("kill", "-USR2", str(before))

    until(lambda: place.main_pid() not in (0, before), what="the next daemon")
    assert "Watchdog timeout" in place.log()
    box.run("touch", go)
    until(lambda: [run["effectiveStatus"] for run in place.runs()] == ["changed"], what="the adopted run's end")
    assert box.read(f"{go}.started").count("started") == 1


def test_a_killed_flowd_is_started_anew_and_adopts_its_steps(box: Box, service: Make) -> None:
    place = service()
    go = f"{place.path}/go"
    place.flow("long", wait_for_file(go))
    place.systemctl("start")
    place.dispatch("long.go")
    until(lambda: box.read(f"{go}.started"), what="the step's start")
    before = place.main_pid()
    box.run("kill", "-KILL", str(before))
    until(lambda: place.main_pid() not in (0, before), what="the next daemon")
    box.run("touch", go)
    until(lambda: [run["effectiveStatus"] for run in place.runs()] == ["changed"], what="the adopted run's end")


def test_the_journal_shows_a_runs_life_by_its_id(box: Box, service: Make) -> None:
    place = service(Environment="DEPLOY_TOKEN=s3cr3t-in-the-environment")
    place.flow("quick", f'echo "payload and output stay out: $DEPLOY_TOKEN"\n{QUICK}')
    place.systemctl("start")
    answer = place.flowd("dispatch", "--type", "quick.go", "--payload", '{"of": "pay10ad"}', "--wait", "--json")
    run_id, event_id = answer["runs"][0]["id"], answer["event"]["id"]

    life = until(
        lambda: len(found := box.journal(f"FLOWD_RUN_ID={run_id}")) == 3 and found, what="three entries of the run"
    )

    assert [(entry["MESSAGE"].split(" run_id=")[0], entry["PRIORITY"]) for entry in life] == [
        ("run queued", "7"),
        ("run started", "6"),
        ("run ended", "6"),
    ]
    assert len({entry["MESSAGE_ID"] for entry in life}) == 3
    assert {(entry["FLOWD_EVENT_ID"], entry["FLOWD_FLOW"], entry["FLOWD_STEP"]) for entry in life} == {
        (event_id, "quick", "main")
    }
    assert {entry["_SYSTEMD_UNIT"] for entry in life} == {place.unit}
    everything = json.dumps(box.journal(f"_SYSTEMD_UNIT={place.unit}"))
    assert "pay10ad" not in everything
    assert "s3cr3t" not in everything


def test_the_journal_finds_steps_that_a_restart_leaves_running_by_their_flow(box: Box, service: Make) -> None:
    place = service()
    place.flow("lasting", "sleep 300")
    place.systemctl("start")
    (run_id,) = place.dispatch("lasting.go")
    until(place.steps, what="the step's process")
    place.systemctl("restart")
    found = [entry for entry in box.journal("FLOWD_FLOW=lasting") if entry["MESSAGE"].startswith("running step")]
    assert [(entry["FLOWD_STEP"], entry["FLOWD_RUN_ID"]) for entry in found] == [("main", run_id)]


def test_the_status_says_what_a_stop_and_a_restart_do_to_running_steps(box: Box, service: Make) -> None:
    place = service()
    place.systemctl("start")
    assert place.flowd("status", "--json")["onServiceStop"] == "cancel"
    assert "a stop of the service ends running steps; a restart leaves them" in place.flowd("status")
    kept = service(Environment="FLOWD_ON_STOP=keep")
    kept.systemctl("start")
    assert "onServiceStop" not in kept.flowd("status", "--json")
    assert "keep: running steps go on, for the next daemon" in kept.flowd("status")


def test_a_reload_has_looked_at_the_packages_when_it_returns(box: Box, service: Make) -> None:
    place = service()
    place.flow("quick", QUICK)
    place.systemctl("start")
    before = place.main_pid()
    place.flow("second", QUICK)
    place.systemctl("reload")
    assert {flow["name"] for flow in place.flowd("flows", "--json")["flows"]} == {"quick", "second"}
    assert place.main_pid() == before


def test_credentials_arrive_and_http_comes_through_a_socket_of_systemd(box: Box, service: Make) -> None:
    place = service(
        Environment="FLOWD_HTTP=systemd:http", LoadCredential="flowd-http-token:/run/flowd-test-http-secret"
    )
    place.flow("quick", 'echo "secret: $(env | grep -c 4b1d5ecre7)"\n' + QUICK)
    box.write("/run/flowd-test-http-secret", "4b1d5ecre7-of-the-test-4b1d5ecre7\n", mode="600")
    address = f"/run/{place.instance}-http.sock"
    unit = f"flowd-http@{place.instance}.socket"
    box.write(f"/run/systemd/system/{unit}.d/unix.conf", f"[Socket]\nListenStream=\nListenStream={address}\n")
    box.systemctl("daemon-reload")
    place.systemctl("start", place.socket_unit, unit)

    def get(secret: str) -> int:
        return int(box.run(sys.executable, "-c", _GET, address, secret).stdout)

    assert get("wrong") == 401
    assert get("4b1d5ecre7-of-the-test-4b1d5ecre7") == 200
    answer = place.flowd("dispatch", "--type", "quick.go", "--wait", "--json")
    shown = place.flowd("run", answer["runs"][0]["id"], "--json")
    assert "secret: 0" in json.dumps(shown["run"]["output"])
    place.systemctl("stop")
    assert box.show(place.unit, "Result") == "success"  # what runs after the daemon may not read its credentials
    box.run("rm", "/run/flowd-test-http-secret")


_GET = """
import http.client, socket, sys
class Connection(http.client.HTTPConnection):
    def connect(self):
        self.sock = socket.socket(socket.AF_UNIX)
        self.sock.connect(sys.argv[1])
connection = Connection("localhost", timeout=20)
connection.request("GET", "/runs", headers={"Authorization": f"Bearer {sys.argv[2]}"})
print(connection.getresponse().status)
connection.close()
"""


def test_the_units_verify_and_are_no_more_exposed_than_they_must_be(box: Box, service: Make) -> None:
    place = service()
    verified = box.run("systemd-analyze", "verify", "--man=no", place.unit, place.socket_unit)
    assert (verified.stdout, verified.stderr) == ("", "")
    analysed = box.run("systemd-analyze", "security", "--no-pager", place.unit).stdout
    exposure = re.search(r"Overall exposure level for \S+: ([\d.]+)", analysed)
    assert exposure is not None
    assert float(exposure[1]) <= 5.0
