"""``flowd service install`` over a service that runs: new units are in force at once, and its steps go on."""

import json
from typing import Any

import pytest
from daemon_rig import say, until
from systemd_rig import FLOWD, OTHER_USER, Box
from systemd_rig import OTHER_USER_UNITS as UNITS


def wait_for(path: str) -> str:
    """A script that goes on when a file is there."""
    return f"echo started >> {path}.started\nwhile ! test -e {path}; do sleep 0.1; done\n{say('changed')}"


def is_handed(box: Box, pid: int) -> bool:
    """Whether a daemon got its socket from systemd."""
    return box.run("grep", "-qaz", "^LISTEN_FDS=1", f"/proc/{pid}/environ", check=False).returncode == 0


def units(box: Box, user: str | None = OTHER_USER) -> str:
    """Every unit file of flowd with its time of change."""
    where = "/etc/systemd/system" if user is None else UNITS
    return box.run("find", where, "-name", "flowd*", "-printf", "%p %T@\\n").stdout


def checks(box: Box, workspace: str) -> dict[str, tuple[str, str]]:
    """Level and remedy of each of the doctor's checks."""
    done = box.run(str(FLOWD), "doctor", "--json", "-w", workspace, user=OTHER_USER, check=False)
    found = json.loads(done.stdout)["findings"]
    return {entry["check"]: (entry["level"], entry.get("remedy", "")) for entry in found}


def test_a_socket_moves_under_a_running_step(box: Box, lingering: str) -> None:
    old, new = f"{lingering}/.codex/flowd/flowd.sock", f"/home/{OTHER_USER}/moved.sock"
    box.flow(lingering, "long", wait_for("/var/tmp/go"), owner=OTHER_USER)
    box.flowd(lingering, "service", "install", user=OTHER_USER)
    run_id = box.flowd(lingering, "dispatch", "--type", "long.go", "--json", user=OTHER_USER)["runs"][0]["id"]
    until(lambda: box.read("/var/tmp/go.started"), what="the step's start")
    box.write(f"{lingering}/.codex/flowd.toml", f'socket = "{new}"\n', owner=OTHER_USER)

    installed = box.flowd(lingering, "service", "install", user=OTHER_USER)

    assert f"is ready at {new}" in installed
    status = box.flowd(lingering, "status", "--json", user=OTHER_USER)
    assert (status["socket"], status["runs"]["running"]) == (new, 1)
    assert is_handed(box, status["pid"])
    assert box.run("test", "-e", old, check=False).returncode == 1
    box.run("touch", "/var/tmp/go")

    def ended() -> dict[str, Any] | None:
        shown: dict[str, Any] = box.flowd(lingering, "run", run_id, "--json", user=OTHER_USER)["run"]
        return shown if shown["status"] != "running" else None

    run = until(ended, what="the run's end")
    assert (run["effectiveStatus"], run["attemptCount"]) == ("changed", 1)
    assert box.read("/var/tmp/go.started").count("started") == 1
    box.run("rm", "/var/tmp/go", "/var/tmp/go.started")


def test_callers_wait_while_an_install_changes_nothing_of_the_socket(box: Box, lingering: str) -> None:
    box.flowd(lingering, "service", "install", user=OTHER_USER)
    unit = box.flowd(lingering, "status", "--json", user=OTHER_USER)["manager"]["unit"].replace(".service", ".socket")
    since = box.show(unit, "ActiveEnterTimestampMonotonic", user=OTHER_USER)
    box.flowd(lingering, "service", "install", user=OTHER_USER)
    assert box.show(unit, "ActiveEnterTimestampMonotonic", user=OTHER_USER) == since


def test_a_socket_that_systemd_lost_is_found_and_mended(box: Box, lingering: str) -> None:
    """As it is after a package upgrade that changes the socket's path, reloads systemd and restarts the service."""
    box.flowd(lingering, "service", "install", user=OTHER_USER)
    unit = box.flowd(lingering, "status", "--json", user=OTHER_USER)["manager"]["unit"]
    text = f"[Socket]\nListenStream=\nListenStream=/home/{OTHER_USER}/dropped.sock\n"
    folder = f"/home/{OTHER_USER}/.config/systemd/user/{unit.replace('.service', '.socket')}.d"
    box.write(f"{folder}/place.conf", text, owner=OTHER_USER)
    box.write(f"{lingering}/.codex/flowd.toml", f'socket = "/home/{OTHER_USER}/dropped.sock"\n', owner=OTHER_USER)
    box.systemctl("daemon-reload", user=OTHER_USER)
    box.systemctl("restart", unit, user=OTHER_USER)
    assert not is_handed(box, box.flowd(lingering, "status", "--json", user=OTHER_USER)["pid"])
    level, remedy = checks(box, lingering)["service.user.socket"]
    assert level == "warn"
    assert "systemctl --user restart" in remedy

    box.flowd(lingering, "service", "install", user=OTHER_USER)

    assert is_handed(box, box.flowd(lingering, "status", "--json", user=OTHER_USER)["pid"])
    assert "service.user.socket" not in checks(box, lingering)
    removed = box.flowd(lingering, "service", "uninstall", user=OTHER_USER)
    assert f"Yours, and not removed: {folder}" in removed
    box.run("rm", "-r", folder)


@pytest.mark.parametrize(
    ("setting", "says"),
    [
        ('state_dir = "elsewhere"\n', "has 1 running and 1 queued runs in {workspace}/.codex/flowd, and its settings"),
        ('executor = "systemd"\n', 'The executor "direct" still has steps'),
    ],
)
def test_settings_that_would_part_flowd_from_its_steps_are_refused(
    box: Box, lingering: str, setting: str, says: str
) -> None:
    settings = f"{lingering}/.codex/flowd.toml"
    box.run("install", "-d", "-o", OTHER_USER, f"{lingering}/.codex")
    box.write(settings, "max_parallel = 1\n", owner=OTHER_USER)
    box.flowd(lingering, "service", "install", user=OTHER_USER)
    for _ in range(2):
        box.flowd(lingering, "dispatch", "--type", "long.go", user=OTHER_USER)
    until(lambda: len(box.alive("sleep 300")) == 2, what="the step and what it started")
    before = (units(box), box.flowd(lingering, "status", "--json", user=OTHER_USER)["pid"])
    box.write(settings, f"max_parallel = 1\n{setting}", owner=OTHER_USER)

    refused = box.run(str(FLOWD), "service", "install", "-w", lingering, user=OTHER_USER, check=False)

    assert refused.returncode == 5
    assert says.format(workspace=lingering) in refused.stderr
    assert refused.stderr.endswith("Nothing has been changed.\n")
    box.write(settings, "max_parallel = 1\n", owner=OTHER_USER)
    status = box.flowd(lingering, "status", "--json", user=OTHER_USER)
    assert (units(box), status["pid"]) == before
    assert status["runs"]["running"] == 1
    assert len(box.alive("sleep 300")) == 2


def test_settings_may_change_under_a_service_that_has_nothing_to_do(box: Box, lingering: str) -> None:
    box.flowd(lingering, "service", "install", user=OTHER_USER)
    answer = box.flowd(lingering, "dispatch", "--type", "quick.go", "--wait", "--json", user=OTHER_USER)
    assert answer["runs"][0]["effectiveStatus"] == "changed"
    settings = 'state_dir = "elsewhere"\nexecutor = "systemd"\n'
    box.write(f"{lingering}/.codex/flowd.toml", settings, owner=OTHER_USER)
    box.flowd(lingering, "service", "install", user=OTHER_USER)
    status = box.flowd(lingering, "status", "--json", user=OTHER_USER)
    assert (status["stateDir"], status["keeper"]["id"]) == (f"{lingering}/elsewhere", "systemd-user")


@pytest.mark.parametrize("scope", ["--system", "--user"])
def test_a_path_that_is_not_ascii_keeps_its_socket_over_reloads(box: Box, lingering: str, scope: str) -> None:
    path = f"/home/{OTHER_USER}/Über's {scope[2:]}"
    user = OTHER_USER if scope == "--user" else None
    box.flow(path, "quick", say("changed"), owner=OTHER_USER)

    def flowd(*argv: str, as_user: str | None = OTHER_USER) -> str:
        return box.run(str(FLOWD), "-w", path, *argv, user=as_user, bound_s=60).stdout

    flowd("service", "install", scope, as_user=user)
    unit = json.loads(flowd("status", "--json"))["manager"]["unit"]
    box.systemctl("daemon-reload", user=user)
    box.systemctl("restart", unit, user=user)
    assert is_handed(box, json.loads(flowd("status", "--json"))["pid"])
    box.systemctl("stop", unit, user=user)
    answer = json.loads(flowd("dispatch", "--type", "quick.go", "--wait", "--json"))
    assert answer["runs"][0]["effectiveStatus"] == "changed"
    flowd("service", "uninstall", scope, as_user=user)
    assert box.run("find", "/run/flowd-sockets", "-name", "*.sock", check=False).stdout == ""
    box.run("rm", "-r", path)
