"""``flowd service``: from a fresh account to a running service, and back to nothing."""

import json

import pytest
from daemon_rig import until
from systemd_rig import FLOWD, OTHER_UID, OTHER_USER, Box
from systemd_rig import OTHER_USER_UNITS as UNITS


def doctor(box: Box, workspace: str) -> dict[str, tuple[str, str]]:
    """Level and finding of every check."""
    done = box.run(str(FLOWD), "doctor", "--json", "-w", workspace, user=OTHER_USER, check=False)
    entries = json.loads(done.stdout)
    return {entry["check"]: (entry["level"], entry["found"]) for entry in entries["findings"]}


def test_an_account_without_a_manager_is_told_how_to_get_one(box: Box, home: str) -> None:
    refused = box.run(str(FLOWD), "service", "install", "-w", home, user=OTHER_USER, check=False)
    assert refused.returncode == 5
    assert f"sudo loginctl enable-linger {OTHER_USER}" in refused.stderr
    assert box.run("ls", "-A", UNITS, check=False).stdout == ""


def test_a_dry_run_shows_all_and_does_nothing(box: Box, lingering: str) -> None:
    shown = box.flowd(lingering, "service", "install", "--dry-run", user=OTHER_USER)
    escaped = box.run("systemd-escape", "--path", lingering).stdout.strip()
    unit = f"flowd@{escaped}"
    assert f"would write {UNITS}/{unit}.service" in shown
    assert f"ExecStart=:{FLOWD} serve --workspace %f" in shown
    assert f"systemctl --user enable '{unit}.socket' '{unit}.service'" in shown
    assert box.run("ls", "-A", UNITS, check=False).stdout == ""
    assert box.systemctl("list-units", "flowd@*", "--all", "--no-legend", user=OTHER_USER) == ""


def test_a_users_service_works_from_install_to_uninstall(box: Box, lingering: str) -> None:
    installed = box.flowd(lingering, "service", "install", user=OTHER_USER)
    assert "is ready at" in installed
    assert "enable-linger" not in installed  # it lingers already

    answer = box.flowd(lingering, "dispatch", "--type", "quick.go", "--wait", "--json", user=OTHER_USER)
    assert answer["runs"][0]["effectiveStatus"] == "changed"
    manager = box.flowd(lingering, "status", "--json", user=OTHER_USER)["manager"]
    assert (manager["scope"], manager["watchdogMs"]) == ("user", 30_000)
    about = box.flowd(lingering, "service", "status", "--json", user=OTHER_USER)
    assert (about["installed"], about["startsAtBoot"], about["service"]["ActiveState"]) == (True, True, "active")
    run_id = answer["runs"][0]["id"]
    life = until(lambda: len(box.journal(f"FLOWD_RUN_ID={run_id}")) == 3, what="the run's three entries")
    assert life

    found = doctor(box, lingering)
    assert found["service.manager"] == ("ok", f"{manager['unit']} of the user manager")
    assert found["service.user"] == ("ok", f"{manager['unit']} is active, enabled")
    assert not [name for name, (level, _) in found.items() if name.startswith("service") and level != "ok"]
    box.systemctl("disable", manager["unit"], user=OTHER_USER)
    mark = f"/var/lib/systemd/linger/{OTHER_USER}"
    box.run("rm", mark)  # not `disable-linger`, which would end the manager at once
    found = doctor(box, lingering)
    assert found["service.user.boot"][0] == found["service.user.lingering"][0] == "warn"
    box.run("touch", mark)

    box.flowd(lingering, "dispatch", "--type", "long.go", user=OTHER_USER)
    until(lambda: len(box.alive("sleep 300")) == 2, what="the step and what it started")
    box.systemctl("restart", manager["unit"], user=OTHER_USER)
    assert len(box.alive("sleep 300")) == 2

    removed = box.flowd(lingering, "service", "uninstall", user=OTHER_USER)
    assert "disable --now" in removed
    assert box.alive("sleep 300") == []
    assert box.run("find", f"/home/{OTHER_USER}/.config/systemd", "-name", "flowd*").stdout == ""
    assert box.systemctl("list-units", "flowd@*", "--all", "--no-legend", user=OTHER_USER) == ""
    assert box.run("test", "-s", f"{lingering}/.codex/flowd/flowd.db").returncode == 0


def test_a_users_service_is_started_by_the_first_dispatch(box: Box, lingering: str) -> None:
    box.flowd(lingering, "service", "install", "--no-start", user=OTHER_USER)
    unit = json.loads(
        box.run(str(FLOWD), "service", "status", "--json", "-w", lingering, user=OTHER_USER, check=False).stdout
    )
    assert unit["service"]["ActiveState"] == "inactive"
    box.systemctl("start", unit["socket"]["unit"], user=OTHER_USER)
    answer = box.flowd(lingering, "dispatch", "--type", "quick.go", "--wait", "--json", user=OTHER_USER)
    assert answer["runs"][0]["effectiveStatus"] == "changed"


def test_a_second_daemon_beside_one_started_by_hand_is_refused(box: Box, lingering: str) -> None:
    start = f"{FLOWD} serve -w '{lingering}' >/dev/null 2>&1 & echo $!"
    pid = box.run("sh", "-c", start, user=OTHER_USER).stdout.strip()
    until(
        lambda: box.run(str(FLOWD), "status", "-w", lingering, user=OTHER_USER, check=False).returncode == 0,
        what="the daemon by hand",
    )
    refused = box.run(str(FLOWD), "service", "install", "-w", lingering, user=OTHER_USER, check=False)
    assert refused.returncode == 5
    assert f"pid {pid}" in refused.stderr
    box.run("kill", pid)


def test_a_system_service_runs_as_the_workspaces_owner(box: Box, home: str) -> None:
    installed = box.run(str(FLOWD), "service", "install", "--system", "-w", home).stdout
    assert "is ready at /run/flowd-sockets/" in installed
    answer = box.flowd(home, "dispatch", "--type", "quick.go", "--wait", "--json", user=OTHER_USER)
    assert answer["runs"][0]["effectiveStatus"] == "changed"
    manager = box.flowd(home, "status", "--json", user=OTHER_USER)["manager"]
    assert manager["scope"] == "system"
    box.systemctl("daemon-reload")  # systemd 252 loses sockets there whose path has a backslash
    box.systemctl("restart", manager["unit"])
    assert box.flowd(home, "status", "--json", user=OTHER_USER)["manager"] == manager
    pid = box.show(manager["unit"], "MainPID")
    assert box.run("ps", "-o", "uid=", "-p", pid).stdout.split() == [str(OTHER_UID)]
    box.run(str(FLOWD), "service", "uninstall", "--system", "-w", home)
    assert box.run("find", "/etc/systemd/system", "-name", "flowd@home*").stdout == ""


def test_the_doctor_finds_the_state_of_a_system_service(box: Box, home: str) -> None:
    box.run(str(FLOWD), "service", "install", "--system", "-w", home)
    done = box.run(str(FLOWD), "doctor", "--json", "-w", home)  # as root, whose state folder it is not
    found = {entry["check"]: entry for entry in json.loads(done.stdout)["findings"]}
    assert found["daemon.lock"]["found"].startswith("held by the daemon, pid")
    assert found["daemon.answer"]["level"] == "ok"
    assert found["state.folder"]["found"].startswith("/var/lib/flowd/home/")
    assert "daemon.discovery" not in found
    assert "of the system manager" in found["service.manager"]["found"]
    box.run(str(FLOWD), "service", "uninstall", "--system", "-w", home)


def test_an_uninstall_ends_the_steps_of_a_service_that_has_failed(box: Box, home: str) -> None:
    box.run(str(FLOWD), "service", "install", "--system", "-w", home)
    unit = box.flowd(home, "status", "--json", user=OTHER_USER)["manager"]["unit"]
    box.flowd(home, "dispatch", "--type", "long.go", user=OTHER_USER)
    until(lambda: len(box.alive("sleep 300")) == 2, what="the step's processes")
    box.write(f"{home}/.codex/flowd.toml", "max_parallel = ", owner=OTHER_USER)
    box.systemctl("restart", unit, check=False)
    assert box.show(unit, "ActiveState") == "failed"
    assert len(box.alive("sleep 300")) == 2  # they wait for the next daemon
    box.run(str(FLOWD), "service", "uninstall", "--system", "-w", home)
    assert box.alive("sleep 300") == []
    left = box.run(
        "find",
        "/etc/systemd/system",
        "/run/flowd",
        "/run/flowd-sockets",
        "-name",
        "*home-flowd*",
        "-o",
        "-name",
        "*.sock",
    ).stdout
    assert left == ""


def test_an_uninstall_finds_the_steps_of_a_workspace_whose_path_systemd_quotes(box: Box) -> None:
    workspace = "/var/tmp/a$b`c` \\d \"e'"
    box.flow(workspace, "long", "sleep 300", owner=OTHER_USER)
    box.run(str(FLOWD), "service", "install", "--system", "-w", workspace)
    unit = box.flowd(workspace, "status", "--json", user=OTHER_USER)["manager"]["unit"]
    box.flowd(workspace, "dispatch", "--type", "long.go", user=OTHER_USER)
    until(lambda: box.alive("sleep 300"), what="the step's process")
    found = json.loads(box.run(str(FLOWD), "doctor", "--json", "-w", workspace, check=False).stdout)["findings"]
    assert f"/var/lib/flowd{workspace}.state" in {entry["check"]: entry for entry in found}["state.folder"]["found"]
    box.write(f"{workspace}/.codex/flowd.toml", "max_parallel = ", owner=OTHER_USER)
    box.systemctl("restart", unit, check=False)
    assert box.alive("sleep 300")
    box.run(str(FLOWD), "service", "uninstall", "--system", "-w", workspace)
    assert box.alive("sleep 300") == []
    box.run("rm", "-r", workspace)


def test_a_path_with_a_newline_adds_nothing_to_a_unit(box: Box) -> None:
    workspace = "/var/tmp/e\n[Service]\nExecStartPre=+touch pwned"
    box.run("install", "-d", "-o", OTHER_USER, workspace)
    for options in ((), ("--dry-run",)):
        refused = box.run(str(FLOWD), "service", "install", "--system", "-w", workspace, *options, check=False)
        assert (refused.returncode, refused.stdout) == (5, "")
        assert r"'/var/tmp/e\n[Service]\nExecStartPre=+touch pwned' has a control character" in refused.stderr
    box.run("rm", "-r", workspace)


def test_steps_of_a_users_service_are_canceled_when_the_user_manager_ends(box: Box, lingering: str) -> None:
    box.flowd(lingering, "service", "install", user=OTHER_USER)
    box.flowd(lingering, "dispatch", "--type", "long.go", user=OTHER_USER)
    until(lambda: len(box.alive("sleep 300")) == 2, what="the step and what it started")
    box.systemctl("restart", f"user@{OTHER_UID}.service")  # as a reboot does
    until(
        lambda: box.run(str(FLOWD), "status", "-w", lingering, user=OTHER_USER, check=False).returncode == 0,
        what="the next daemon",
    )
    runs = box.flowd(lingering, "runs", "--json", user=OTHER_USER)["runs"]
    assert [run["status"] for run in runs] == ["canceled"]
    assert box.alive("sleep 300") == []


@pytest.mark.parametrize(
    ("letters", "says"), [(90, "too long for a system service's socket"), (240, "too long for a systemd unit")]
)
def test_a_path_that_is_too_long_is_found_before_anything_is_written(box: Box, letters: int, says: str) -> None:
    workspace = f"/var/tmp/{'b' * letters}"
    box.run("mkdir", workspace)
    refused = box.run(str(FLOWD), "service", "install", "--system", "-w", workspace, check=False)
    assert (refused.returncode, refused.stdout) == (5, "")
    assert says in refused.stderr
    for verb, code in (("status", 3), ("uninstall", 4)):
        told = box.run(str(FLOWD), "service", verb, "--system", "-w", workspace, check=False)
        assert told.returncode == code, told.stderr
        assert "Fault" not in told.stderr
    box.run("rmdir", workspace)


def test_an_uninstall_removes_units_that_systemd_cannot_load(box: Box, home: str) -> None:
    box.run(str(FLOWD), "service", "install", "--system", "--no-start", "-w", home)
    found = box.run("find", "/etc/systemd/system", "-type", "f", "-name", "flowd@home*.socket").stdout.strip()
    box.run("sed", "-i", f"s,^ListenStream=.*,ListenStream=/run/{'b' * 108}.sock,", found)
    box.systemctl("daemon-reload")
    assert box.show(found.rpartition("/")[2], "LoadState") == "bad-setting"
    box.run(str(FLOWD), "service", "uninstall", "--system", "-w", home)
    assert box.run("find", "/etc/systemd/system", "-name", "flowd@home*").stdout == ""


def test_an_uninstall_leaves_no_socket_and_says_where_the_state_is(box: Box, home: str) -> None:
    workspace = "/var/tmp/Über"
    box.run("install", "-d", "-o", OTHER_USER, workspace)
    box.run(str(FLOWD), "service", "install", "--system", "-w", workspace)
    box.systemctl("daemon-reload")  # where systemd 252 loses sight of such a socket
    removed = box.run(str(FLOWD), "service", "uninstall", "--system", "-w", workspace).stdout
    assert f"/var/lib/flowd{workspace}.state" in removed
    assert "`flowd serve` has its own state" in removed
    assert box.run("find", "/run/flowd-sockets", "-name", "*.sock", check=False).stdout == ""
    box.run("rm", "-r", workspace)
