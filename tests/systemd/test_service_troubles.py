"""What ``flowd service`` and ``flowd doctor`` say of services that cannot run, or do not."""

import json
import socket
import subprocess
from collections.abc import Callable, Iterator
from pathlib import PurePosixPath

import pytest
from daemon_rig import until
from systemd_rig import FLOWD, OTHER_UID, OTHER_USER, OTHER_USER_UNITS, USER, Box, Service

from flowd.units import environment


def install(box: Box, workspace: str, *options: str, flowd: str = str(FLOWD)) -> subprocess.CompletedProcess[str]:
    """`flowd service install` for the system, as root."""
    return box.run(flowd, "service", "install", "--system", "-w", workspace, *options, check=False)


def findings(box: Box, workspace: str, user: str | None = None) -> dict[str, dict[str, str]]:
    """The doctor's findings by check."""
    done = box.run(str(FLOWD), "doctor", "--json", "-w", workspace, user=user, check=False)
    return {entry["check"]: entry for entry in json.loads(done.stdout)["findings"]}


def is_trouble(finding: dict[str, str]) -> bool:
    """Whether it is one of flowd, and not of the box, whose folders lie in memory."""
    return finding["level"] != "ok" and finding["check"] != "state.disk"


@pytest.fixture
def closed(box: Box) -> Iterator[str]:
    """A folder that is root's alone."""
    path = "/var/tmp/closed"
    box.run("install", "-d", "-m", "700", path)
    yield path
    box.run("rm", "-rf", path)


def is_untouched(box: Box) -> bool:
    """Whether there is no unit of flowd, enabled or not, and no settings of it."""
    names = box.run("find", "/etc/systemd/system", "/etc/sysusers.d", "-name", "flowd@home*", check=False).stdout
    return names == "" and box.systemctl("list-units", "flowd@home*", "--all", "--no-legend") == ""


def test_a_user_who_cannot_run_this_flowd_is_found_before_anything_is_written(box: Box, home: str, closed: str) -> None:
    box.run("ln", "-s", str(FLOWD), f"{closed}/flowd")
    for options in ((), ("--dry-run",)):
        refused = install(box, home, *options, flowd=f"{closed}/flowd")
        assert refused.returncode == 5
        assert f"would run as {OTHER_USER}, who cannot run {closed}/flowd: {closed} is closed" in refused.stderr
        assert "/opt/flowd/bin/pip install codex-flowd" in refused.stderr
    assert is_untouched(box)


def test_a_workspace_that_the_services_user_cannot_enter_is_found_before_anything_is_written(
    box: Box, closed: str
) -> None:
    box.run("mkdir", f"{closed}/ws")
    refused = install(box, f"{closed}/ws", "--run-as", OTHER_USER)
    assert refused.returncode == 5
    assert f"cannot look into {closed}/ws: {closed} is closed" in refused.stderr
    refused = install(box, f"{closed}/ws")  # root's, so that it would run as flowd, who does not exist yet
    assert "would run as flowd, who cannot look into" in refused.stderr
    assert "There is no user nosuch" in install(box, f"{closed}/ws", "--run-as", "nosuch").stderr
    assert box.run("ls", "/etc/sysusers.d/flowd.conf", check=False).returncode != 0


def test_settings_that_the_services_user_cannot_read_are_found_before_a_service_that_works_is_touched(
    box: Box, home: str
) -> None:
    box.run("install", "-d", "-m", "700", "-o", OTHER_USER, f"{home}/.codex")
    assert install(box, home).returncode == 0
    pid = box.flowd(home, "status", "--json", user=OTHER_USER)["pid"]
    for mode, path in (("700", f"{home}/.codex"), ("755", f"{home}/.codex/flowd.toml")):
        box.write(f"{home}/.codex/flowd.toml", "max_parallel = 2\n", owner=OTHER_USER, mode="600")
        box.run("chmod", mode, f"{home}/.codex")
        refused = install(box, home, "--run-as", USER)
        assert refused.returncode == 5
        assert f"would run as {USER}, who cannot read {path}. Open it to {USER} (sudo chown -R " in refused.stderr
    assert box.flowd(home, "status", "--json", user=OTHER_USER)["pid"] == pid
    box.run("rm", "-r", f"{home}/.codex")


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


def test_a_first_install_that_fails_leaves_nothing_and_an_update_keeps_the_units(box: Box, home: str) -> None:
    instance = box.run("systemd-escape", "--path", home).stdout.strip()
    variables = f"/etc/systemd/system/flowd@{instance}.service.d/settings.conf"
    box.write(variables, "[Service]\nEnvironment=FLOWD_MAX_PARALLEL=many\n")
    failed = install(box, home)
    assert failed.returncode == 5
    assert "did not start: exit-code, exit status 78" in failed.stderr
    assert "max_parallel must be a whole number" in failed.stderr  # the end of its log
    left = box.run("find", "/etc/systemd/system", "-name", "flowd@home*").stdout.split()
    assert left == [str(PurePosixPath(variables).parent)]  # a person's own
    assert box.systemctl("list-units", "flowd@home*", "--all", "--no-legend") == ""

    box.write(variables, "[Service]\nEnvironment=FLOWD_MAX_PARALLEL=3\n")
    assert install(box, home).returncode == 0
    box.write(variables, "[Service]\nEnvironment=FLOWD_MAX_PARALLEL=many\n")
    assert install(box, home).returncode == 5
    assert box.show(f"flowd@{instance}.service", "UnitFileState") == "enabled"
    box.run("rm", "-r", str(PurePosixPath(variables).parent))
    removed = box.run(str(FLOWD), "service", "uninstall", "--system", "-w", home).stdout
    assert "Yours, and left as it is" not in removed


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
        assert f"Yours, and left as it is: {path}" in removed
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


def test_whoever_calls_a_service_that_is_stopped_is_told_of_it(box: Box, lingering: str) -> None:
    box.flowd(lingering, "service", "install", user=OTHER_USER)
    manager = box.flowd(lingering, "status", "--json", user=OTHER_USER)["manager"]
    unit = manager["unit"]
    socket_unit = unit.replace(".service", ".socket")
    box.systemctl("stop", socket_unit, unit, user=OTHER_USER)
    told = box.run(str(FLOWD), "runs", "-w", lingering, user=OTHER_USER, check=False)
    assert told.returncode == 3
    assert f"`flowd service status -w '{lingering}'` says how it is" in told.stderr
    assert f"`systemctl --user restart '{socket_unit}' '{unit}'` starts it anew" in told.stderr
    found = findings(box, lingering, OTHER_USER)
    assert [check for check, entry in found.items() if is_trouble(entry)] == ["service.user"]
    assert found["service.user"]["found"] == f"{unit} is stopped, and so is its socket"
    box.run("sh", "-c", told.stderr.split("`")[3], user=OTHER_USER)  # as it is told
    assert box.flowd(lingering, "status", "--json", user=OTHER_USER)["manager"] == manager


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
    assert "started it anew: 1 time" in found["found"]


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


def test_steps_of_a_service_that_failed_are_shown_and_can_be_ended(box: Box, lingering: str) -> None:
    box.flowd(lingering, "service", "install", user=OTHER_USER)
    unit = box.flowd(lingering, "status", "--json", user=OTHER_USER)["manager"]["unit"]
    run_id = box.flowd(lingering, "dispatch", "--type", "long.go", "--json", user=OTHER_USER)["runs"][0]["id"]
    until(lambda: len(box.alive("sleep 300")) == 2, what="the step's processes")
    end = (str(FLOWD), "service", "end-steps", "-w", lingering)
    refused = box.run(*end, user=OTHER_USER, check=False)
    assert refused.returncode == 5
    assert "A daemon serves this workspace" in refused.stderr
    settings = f"{lingering}/.codex/flowd.toml"
    box.write(settings, "max_parallel = ", owner=OTHER_USER)
    box.systemctl("restart", unit, user=OTHER_USER, check=False)
    assert box.show(unit, "ActiveState", user=OTHER_USER) == "failed"
    shown = box.run(str(FLOWD), "service", "status", "-w", lingering, user=OTHER_USER, check=False)
    assert shown.returncode == 3
    assert "1 step, for the next daemon; `flowd service end-steps` ends them" in shown.stdout

    assert box.run(*end, user=OTHER_USER).stdout == "ended 1 step that flowd had left running\n"

    assert box.alive("sleep 300") == []
    box.run("rm", settings)
    box.flowd(lingering, "service", "install", user=OTHER_USER)
    assert box.flowd(lingering, "run", run_id, "--json", user=OTHER_USER)["run"]["status"] == "canceled"


def test_steps_of_a_packaged_unit_that_failed_are_ended_by_root_and_not_by_others(
    box: Box, service: Callable[..., Service]
) -> None:
    place = service()
    place.flow("long", "sleep 300")
    place.systemctl("start")
    place.dispatch("long.go")
    until(lambda: box.alive("sleep 300"), what="the step's process")
    box.write(f"{place.path}/.codex/flowd.toml", "max_parallel = ")
    box.systemctl("restart", place.unit, check=False)
    end = (str(FLOWD), "service", "end-steps", "--system", "-w", place.path)
    refused = box.run(*end, user=OTHER_USER, check=False)
    assert refused.returncode == 5
    assert f"Cannot look into /var/lib/flowd{place.path}.state (Permission denied)" in refused.stderr
    assert box.run(*end).stdout == "ended 1 step that flowd had left running\n"
    assert box.alive("sleep 300") == []


def test_an_uninstall_of_a_packages_units_says_what_removes_the_service(
    box: Box, service: Callable[..., Service]
) -> None:
    place = service()
    place.systemctl("start")
    refused = box.run(str(FLOWD), "service", "uninstall", "--system", "-w", place.path, check=False)
    assert refused.returncode == 4
    _, _, command = refused.stderr.strip().partition("Its units are of a package, not of `flowd service install`: ")
    box.run("sh", "-c", command)
    about = box.run("systemctl", "is-active", place.unit, place.socket_unit, check=False).stdout.split()
    assert about == ["inactive", "inactive"]


def test_an_uninstall_stops_the_http_socket_and_leaves_no_empty_folders(
    box: Box, service: Callable[..., Service]
) -> None:
    service()  # for the template of the HTTP socket
    workspace = "/var/tmp/deep/er/ws"
    box.run("install", "-d", "-o", OTHER_USER, workspace)
    assert install(box, workspace).returncode == 0
    http = "flowd-http@var-tmp-deep-er-ws.socket"
    box.write(f"/etc/systemd/system/{http}.d/place.conf", "[Socket]\nListenStream=\nListenStream=/run/http.sock\n")
    box.systemctl("daemon-reload")
    box.systemctl("stop", "flowd@var-tmp-deep-er-ws.service")
    box.systemctl("enable", "--now", http)
    assert box.run("test", "-d", "/run/flowd-sockets/var/tmp/deep/er").returncode == 0

    removed = box.run(str(FLOWD), "service", "uninstall", "--system", "-w", workspace).stdout

    assert box.show(http, "ActiveState") == "inactive"
    assert box.show(http, "UnitFileState") == "disabled"
    assert box.run("test", "-e", "/run/flowd-sockets/var/tmp/deep", check=False).returncode == 1
    assert f"Yours, and left as it is: /etc/systemd/system/{http}.d" in removed
    box.run("rm", "-r", f"/etc/systemd/system/{http}.d", "/var/tmp/deep")
    box.systemctl("daemon-reload")


def test_a_service_can_be_removed_when_its_workspace_is_gone(box: Box) -> None:
    workspace = "/var/tmp/brief"
    box.run("install", "-d", "-o", OTHER_USER, workspace)
    assert install(box, workspace).returncode == 0
    box.run("rm", "-r", workspace)
    box.systemctl("restart", "flowd@var-tmp-brief.service", check=False)
    shown = box.run(str(FLOWD), "service", "status", "--system", "-w", workspace, check=False).stdout
    assert f"{workspace} is not there, or is no folder" in shown
    assert "exit status 0" not in shown
    box.run(str(FLOWD), "service", "uninstall", "--system", "-w", workspace)
    assert box.run("find", "/etc/systemd/system", "-name", "flowd@var-tmp-brief*").stdout == ""


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


def test_a_secret_that_is_a_credential_of_the_unit_is_enough_for_http_on_the_network(box: Box, home: str) -> None:
    instance = box.run("systemd-escape", "--path", home).stdout.strip()
    settings, secret = f"{home}/.codex/flowd.toml", "/etc/flowd-secret"
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        port = listener.getsockname()[1]
    drop_in = f"/etc/systemd/system/flowd@{instance}.service.d/secret.conf"
    box.run("install", "-d", "-o", OTHER_USER, str(PurePosixPath(settings).parent))
    box.write(settings, f'[http]\nlisten = "0.0.0.0:{port}"\n', owner=OTHER_USER)
    assert "would let anybody on the network" in install(box, home).stderr
    box.write(secret, "correct-horse-battery\n", mode="600")
    box.write(drop_in, f"[Service]\nLoadCredential=flowd-http-secret:{secret}\n")

    for _ in range(2):  # of a unit that is not there yet, systemd tells nothing
        installed = install(box, home)
        assert (installed.returncode, installed.stderr) == (0, "")
        for user in (None, OTHER_USER):
            found = findings(box, home, user)
            assert found["settings"]["level"] == found["service.system.http"]["level"] == "ok"
            assert user is None or found["secrets.masking"]["level"] == found["secrets.files"]["level"] == "ok"
    box.systemctl("stop", f"flowd@{instance}.socket", f"flowd@{instance}.service")
    assert findings(box, home)["settings"]["level"] == "ok"

    box.run("rm", "-r", str(PurePosixPath(drop_in).parent), secret)
    box.systemctl("daemon-reload")
    assert "would let anybody on the network" in findings(box, home)["settings"]["found"]


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
