"""What ``flowd doctor`` finds of services under a real systemd, in trouble and not."""

import json
from pathlib import PurePosixPath

import pytest
from daemon_rig import until
from systemd_rig import (
    FLOWD,
    OTHER_UID,
    OTHER_USER,
    OTHER_USER_UNITS,
    Box,
    findings,
    install,
    is_trouble,
)

from flowd.service import environment


@pytest.mark.parametrize("kind", ["service", "socket"])
def test_a_masked_unit_is_refused_by_the_install_and_told_by_the_doctor(box: Box, home: str, kind: str) -> None:
    instance = box.run("systemd-escape", "--path", home).stdout.strip()
    unit = f"flowd@{instance}.{kind}"
    box.systemctl("mask", unit)
    unmask = f"systemctl unmask '{unit}'"
    refused = install(box, home)
    assert (refused.returncode, unmask in refused.stderr) == (5, True)
    assert box.run("find", "/etc/systemd/system", "-name", "flowd@home*").stdout == f"/etc/systemd/system/{unit}\n"
    box.run("sh", "-c", unmask)
    assert install(box, home).returncode == 0
    box.run("ln", "-sf", "/dev/null", f"/etc/systemd/system/{unit}")
    found = findings(box, home)["service.system"]
    assert (found["level"], f"{unit} is masked" in found["found"]) == ("fail", True)
    assert found["remedy"] == f"{unmask}; then `flowd service install`"
    box.run("sh", "-c", unmask)
    assert install(box, home).returncode == 0
    assert findings(box, home)["service.system"]["level"] == "ok"


def test_a_service_whose_socket_was_removed_is_mended_as_everybody_says(box: Box, home: str) -> None:
    assert install(box, home).returncode == 0
    for _ in range(2):
        box.run("rm", "-r", "/run/flowd-sockets")
        told = box.run(str(FLOWD), "status", "-w", home, check=False, FLOWD_SOCKET=f"/run/flowd-sockets{home}.sock")
        assert told.returncode == 3
        found = findings(box, home)
        troubles = {check: entry["remedy"] for check, entry in found.items() if is_trouble(entry)}
        restart, _, _ = troubles["daemon.socket"].partition(" (running steps go on)")
        assert set(troubles) == {"daemon.socket", "service.system.socket"}
        assert len(set(troubles.values())) == 1
        assert f"`sudo {restart}` starts it anew" in told.stderr
        box.run("sh", "-c", restart)
        assert box.flowd(home, "status", "--json", user=OTHER_USER)["manager"]["scope"] == "system"


def test_the_doctor_goes_by_the_units_environment_and_its_file(box: Box, home: str) -> None:
    instance = box.run("systemd-escape", "--path", home).stdout.strip()
    box.write(
        f"/etc/systemd/system/flowd@{instance}.service.d/settings.conf",
        '[Service]\nEnvironment=FLOWD_MAX_PARALLEL=5 "FLOWD_MAX_QUEUED=70"\n',
    )
    box.write(f"/etc/flowd{home}.env", '# limits\nFLOWD_MAX_PARALLEL="7"\n')
    box.run("chmod", "750", "/etc/flowd")
    assert install(box, home).returncode == 0

    found = findings(box, home)
    assert "max_parallel 7 needs" in found["limits.files"]["found"]
    assert "max_queued" in found["settings"]["found"]
    assert f"as flowd@{instance}.service has them" in found["settings"]["found"]
    assert "settings.file" not in found

    # Its user may not read the file; the service that runs tells what was in it, one that does not leaves it open.
    assert "max_parallel 7 needs" in findings(box, home, user=OTHER_USER)["limits.files"]["found"]
    box.systemctl("stop", f"flowd@{instance}.socket", f"flowd@{instance}.service")
    seen = findings(box, home, user=OTHER_USER)["settings.file"]
    assert (seen["level"], seen["remedy"]) == ("warn", f"sudo {FLOWD} doctor")
    assert f"/etc/flowd{home}.env cannot be read (Permission denied)" in seen["found"]

    removed = box.run(str(FLOWD), "service", "uninstall", "--system", "-w", home).stdout
    for path in (f"/etc/systemd/system/flowd@{instance}.service.d", f"/etc/flowd{home}.env"):
        assert f"Yours, and not removed: {path}" in removed
        box.run("rm", "-r", path)


def test_variables_that_systemd_leaves_out_of_a_file_are_told_by_the_doctor(box: Box, home: str) -> None:
    lines = ("export FLOWD_MAX_PARALLEL=7", "FLOWD_MAX_PARALLEL: 7", "FLOWD-MAX_PARALLEL=7", "flowd_max_queued=70")
    text = "\n".join(["CODEX_Y='one", "two'", 'CODEX_X="\\$a \\`b" c\\\\d \\', " e", *lines])
    box.write(f"/etc/flowd{home}.env", f"{text}\n")
    assert install(box, home).returncode == 0
    pid = box.flowd(home, "status", "--json", user=OTHER_USER)["pid"]
    environ = dict(pair.partition("=")[::2] for pair in box.read(f"/proc/{pid}/environ").split("\0"))
    found, dropped = environment.parse(f"{text}\n")
    assert found == {name: environ[name] for name in found}
    assert (len(found), "export FLOWD_MAX_PARALLEL" in environ, dropped) == (3, False, [5, 6, 7])
    done = box.run(str(FLOWD), "doctor", "--json", "-w", home, check=False)
    told = [entry["found"] for entry in json.loads(done.stdout)["findings"] if entry["level"] == "warn"]
    for line in dropped:
        assert f"line {line} of /etc/flowd{home}.env sets nothing" in "\n".join(told)
    assert "flowd_max_queued sets nothing: did you mean FLOWD_MAX_QUEUED?" in told
    box.run("rm", f"/etc/flowd{home}.env")


def test_the_doctor_goes_by_the_file_of_a_users_service_but_not_for_a_daemon_by_hand(box: Box, lingering: str) -> None:
    instance = box.run("systemd-escape", "--path", lingering).stdout.strip()
    file = f"/home/{OTHER_USER}/.config/flowd{lingering}.env"
    box.run("mkdir", "-p", str(PurePosixPath(file).parent), user=OTHER_USER)
    box.write(file, "FLOWD_MAX_PARALLEL=7\n", owner=OTHER_USER)
    box.flowd(lingering, "service", "install", user=OTHER_USER)
    assert "max_parallel 7 needs" in findings(box, lingering, OTHER_USER)["limits.files"]["found"]
    assert box.flowd(lingering, "status", "--json", user=OTHER_USER)["limits"]["maxParallel"] == 7
    unit = f"flowd@{instance}"
    box.systemctl("stop", f"{unit}.socket", f"{unit}.service", user=OTHER_USER)
    start = f"FLOWD_MAX_PARALLEL=2 {FLOWD} serve -w '{lingering}' >/dev/null 2>&1 & echo $!"
    pid = box.run("sh", "-c", start, user=OTHER_USER).stdout.strip()
    until(
        lambda: box.run(str(FLOWD), "status", "-w", lingering, user=OTHER_USER, check=False).returncode == 0,
        what="the daemon by hand",
    )
    assert "max_parallel 7" not in findings(box, lingering, OTHER_USER)["limits.files"]["found"]
    box.run("kill", pid)
    box.run("rm", file)


def test_a_crash_is_told_by_the_doctor(box: Box, lingering: str) -> None:
    box.flowd(lingering, "service", "install", user=OTHER_USER)
    status = box.flowd(lingering, "status", "--json", user=OTHER_USER)
    box.run("kill", "-KILL", str(status["pid"]))
    until(
        lambda: (
            box.show(status["manager"]["unit"], "NRestarts", user=OTHER_USER) == "1"
            and box.show(status["manager"]["unit"], "ActiveState", user=OTHER_USER) == "active"
        ),
        what="the next daemon",
    )
    found = findings(box, lingering, OTHER_USER)["service.user.restarts"]
    assert found["level"] == "warn"
    assert "restarted it: 1 time" in found["found"]


def test_a_service_that_no_watchdog_looks_after_is_told_by_the_doctor(box: Box, home: str) -> None:
    instance = box.run("systemd-escape", "--path", home).stdout.strip()
    folder = f"/etc/systemd/system/flowd@{instance}.service.d"
    box.write(f"{folder}/watchdog.conf", "[Service]\nWatchdogSec=0\n")
    assert install(box, home).returncode == 0
    seen = findings(box, home)["service.system.watchdog"]
    assert (seen["level"], seen["remedy"]) == ("warn", "Set WatchdogSec=30 in the unit.")
    box.run("rm", "-r", folder)
    assert install(box, home).returncode == 0
    assert "service.system.watchdog" not in findings(box, home)


def test_a_users_service_that_ends_at_logout_is_told_by_the_doctor(box: Box, home: str) -> None:
    box.systemctl("start", f"user@{OTHER_UID}.service")  # as a login does
    box.flowd(home, "service", "install", user=OTHER_USER)
    seen = findings(box, home, OTHER_USER)["service.user.lingering"]
    assert (seen["level"], seen["remedy"]) == ("warn", f"loginctl enable-linger {OTHER_USER}")
    box.run("sh", "-c", seen["remedy"])
    assert "service.user.lingering" not in findings(box, home, OTHER_USER)


def test_units_of_steps_that_failed_and_stayed_are_told_by_the_doctor(box: Box, lingering: str) -> None:
    box.run("systemd-run", "--user", "--unit=codex-flow-left-1", "false", user=OTHER_USER)
    failed = "codex-flow-left-1.service"
    until(lambda: box.show(failed, "ActiveState", user=OTHER_USER) == "failed", what="the unit's failure")
    found = findings(box, lingering, OTHER_USER)["service.user.steps"]
    assert (found["level"], failed in found["found"]) == ("warn", True)
    box.systemctl("reset-failed", "codex-flow-*", user=OTHER_USER)
    assert "service.user.steps" not in findings(box, lingering, OTHER_USER)


def test_a_users_service_whose_manager_is_gone_is_told_by_the_doctor(box: Box, lingering: str) -> None:
    box.flowd(lingering, "service", "install", user=OTHER_USER)
    box.systemctl("stop", f"user@{OTHER_UID}.service")
    found = findings(box, lingering, OTHER_USER)["service.user"]
    assert found["level"] == "fail"
    assert f"sudo loginctl enable-linger {OTHER_USER}" in found["remedy"]
    box.run("rm", "-rf", OTHER_USER_UNITS)


def test_root_who_looks_at_a_users_workspace_finds_what_is_not_the_users(box: Box, lingering: str) -> None:
    box.flowd(lingering, "service", "install", user=OTHER_USER)
    box.flowd(lingering, "dispatch", "--type", "quick.go", "--wait", user=OTHER_USER)
    assert "fail" not in {entry["level"] for entry in findings(box, lingering).values()}

    strange = f"{lingering}/.codex/flowd/flowd.db-strange"
    box.run("touch", strange)
    for user in (None, OTHER_USER):
        found = findings(box, lingering, user)["state.files"]
        assert found["level"] == "fail"
        assert f"sudo chown {OTHER_UID} " in found["remedy"]
    box.run("rm", strange)


def test_with_the_executor_systemd_the_doctor_misses_no_keeper(box: Box, lingering: str) -> None:
    instance = box.run("systemd-escape", "--path", lingering).stdout.strip()
    drop_in = f"{OTHER_USER_UNITS}/flowd@{instance}.service.d/executor.conf"
    box.run("mkdir", "-p", str(PurePosixPath(drop_in).parent), user=OTHER_USER)
    box.write(drop_in, "[Service]\nEnvironment=FLOWD_EXECUTOR=systemd\n", owner=OTHER_USER)
    box.flowd(lingering, "service", "install", user=OTHER_USER)
    found = findings(box, lingering, OTHER_USER)["keeper"]
    assert (found["level"], found["found"]) == ("ok", "systemd is the keeper: 0 running, 0 ended and not taken over")
    box.flowd(lingering, "dispatch", "--type", "long.go", user=OTHER_USER)
    until(lambda: len(box.alive("sleep 300")) == 2, what="the step's processes")
    for user in (None, OTHER_USER):  # root does not know of the user's drop-in, but sees the daemon
        found = findings(box, lingering, user)["keeper"]
        assert (found["level"], "1 running" in found["found"]) == ("ok", True)


def test_a_workspace_whose_name_is_not_ascii_is_fine(box: Box, home: str) -> None:
    workspace = f"{home}/Über \u4e2d"
    box.flow(workspace, "quick", "true", owner=OTHER_USER)
    try:
        for _ in range(2):  # at a daemon-reload systemd 252 loses a socket whose path it has to escape
            installed = install(box, workspace)
            assert installed.returncode == 0, installed.stderr
        found = findings(box, workspace)
        troubles = {check: entry for check, entry in found.items() if check.startswith(("service", "daemon"))}
        assert {entry["level"] for entry in troubles.values()} == {"ok"}, troubles
    finally:
        box.run(str(FLOWD), "service", "uninstall", "--system", "-w", workspace)


@pytest.mark.parametrize("scope", ["user", "system"])
def test_a_service_that_waits_for_its_first_client_is_fine(box: Box, lingering: str, scope: str) -> None:
    user = OTHER_USER if scope == "user" else None
    install_it = (str(FLOWD), "service", "install", f"--{scope}", "-w", lingering)

    def troubles() -> list[str]:
        return [check for check, entry in findings(box, lingering, user).items() if is_trouble(entry)]

    box.run(*install_it, "--no-start", user=user)
    assert troubles() == [f"service.{scope}"]  # both are stopped
    box.run(*install_it, user=user)
    assert troubles() == []
    instance = box.run("systemd-escape", "--path", lingering).stdout.strip()
    service, socket_unit = f"flowd@{instance}.service", f"flowd@{instance}.socket"
    box.systemctl("stop", service, user=user)
    assert box.show(socket_unit, "ActiveState", user=user) == "active"
    found = findings(box, lingering, user)["daemon.socket"]
    assert (found["level"], "systemd listens" in found["found"]) == ("ok", True)
    assert troubles() == []
    assert box.show(service, "ActiveState", user=user) == "inactive"  # the doctor has not knocked
    box.systemctl("stop", socket_unit, user=user)
    assert troubles() == [f"service.{scope}"]


def test_a_socket_that_systemd_passes_wins_over_one_of_the_environment(box: Box, home: str) -> None:
    file = f"/etc/flowd{home}.env"
    box.write(file, "FLOWD_SOCKET=/run/elsewhere.sock\n")
    assert install(box, home).returncode == 0
    found = findings(box, home)
    assert [check for check, entry in found.items() if is_trouble(entry)] == []
    assert found["daemon.socket"]["found"] == f"/run/flowd-sockets{home}.sock"
    box.run("rm", file)
