"""What ``flowd service`` does with what cannot run, does not, or shall go."""

from collections.abc import Callable, Iterator
from pathlib import PurePosixPath

import pytest
from daemon_rig import until
from http_rig import free_port
from systemd_rig import FLOWD, OTHER_USER, USER, Box, Service, findings, install, is_trouble


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
        assert "/opt/flowd/bin/pip install ." in refused.stderr
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
        refused = install(box, home, "--run-as", USER, FLOWD_TRUST=home)  # it is neither root's nor that user's
        assert refused.returncode == 5
        assert f"would run as {USER}, who cannot read {path}. Open it to {USER} (sudo chown -R " in refused.stderr
    assert box.flowd(home, "status", "--json", user=OTHER_USER)["pid"] == pid
    box.run("rm", "-r", f"{home}/.codex")


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
    refused = box.run(*end, user=OTHER_USER, check=False, FLOWD_TRUST=place.path)
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
    assert f"Yours, and not removed: /etc/systemd/system/{http}.d" in removed
    box.run("rm", "-r", f"/etc/systemd/system/{http}.d", "/var/tmp/deep")
    box.systemctl("daemon-reload")


def test_a_service_can_be_removed_when_its_workspace_is_gone(box: Box) -> None:
    workspace = "/var/tmp/brief"
    box.run("install", "-d", "-o", OTHER_USER, workspace)
    assert install(box, workspace).returncode == 0
    box.run("rm", "-r", workspace)
    unit = "flowd@var-tmp-brief.service"
    box.systemctl("restart", "--no-block", unit)
    until(lambda: "cannot serve: " in box.show(unit, "StatusText"), what="word of what is away")
    waiting = box.run(str(FLOWD), "service", "status", "--system", "-w", workspace, check=False).stdout
    box.systemctl("kill", "--signal=KILL", unit)
    until(lambda: box.show(unit, "Result") == "signal", what="its failure")
    failed = box.run(str(FLOWD), "service", "status", "--system", "-w", workspace, check=False).stdout
    for shown in (waiting, failed):
        assert f"{workspace} is not there, or is not a folder" in shown
        assert "exit status 0" not in shown
    box.run(str(FLOWD), "service", "uninstall", "--system", "-w", workspace)
    assert box.run("find", "/etc/systemd/system", "-name", "flowd@var-tmp-brief*").stdout == ""


def test_a_secret_that_is_a_credential_of_the_unit_is_enough_for_http_on_the_network(box: Box, home: str) -> None:
    instance = box.run("systemd-escape", "--path", home).stdout.strip()
    settings, secret = f"{home}/.codex/flowd.toml", "/etc/flowd-secret"
    port = free_port()
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
