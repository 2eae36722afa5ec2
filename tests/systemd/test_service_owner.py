"""Whose the files of a system service are, where services of several users lie side by side."""

import re
from collections.abc import Callable, Iterator

import pytest
from daemon_rig import say
from systemd_rig import CHECKOUT, FLOWD, OTHER_UID, OTHER_USER, UID, USER, Box, Service, findings, install

Make = Callable[..., Service]


@pytest.fixture
def packaged(box: Box) -> Iterator[str]:
    """The folders as a package's tmpfiles.conf makes them, with the first test user in the part of ``flowd``."""
    text = (CHECKOUT / "systemd" / "tmpfiles.conf").read_text(encoding="utf-8")
    text = re.sub(r"(?<= )flowd(?= )", USER, text)
    box.write("/etc/tmpfiles.d/flowd-test.conf", text)
    box.run("systemd-tmpfiles", "--create", "/etc/tmpfiles.d/flowd-test.conf")
    yield "/var/lib/flowd"
    box.run("chown", "root:root", "/var/lib/flowd")
    box.run("rm", "-rf", "/etc/tmpfiles.d/flowd-test.conf", "/var/lib/flowd-home")


def test_the_user_flowd_cannot_exchange_the_states_of_other_users_services(box: Box, packaged: str) -> None:
    folders = box.run("stat", "-c", "%U %a", packaged, "/run/flowd", "/run/flowd-sockets", "/etc/flowd").stdout
    assert folders.split("\n")[:3] == ["root 755"] * 3
    assert folders.split("\n")[3] == "root 750"
    box.run("mkdir", "-p", f"{packaged}/srv/ws.state")
    assert box.run("mv", f"{packaged}/srv", f"{packaged}/.was", user=USER, check=False).returncode != 0
    assert box.run("stat", "-c", "%U", "/var/lib/flowd-home").stdout.strip() == USER
    box.run("rm", "-r", f"{packaged}/srv")


def test_a_state_that_another_user_could_have_planted_runs_nothing(box: Box, packaged: str, service: Make) -> None:
    place = service()
    mark = f"{place.path}/ran"
    place.flow("quick", f"touch {mark}\n{say('changed')}")
    place.systemctl("start")
    box.run("chown", OTHER_USER, packaged)  # as a tmpfiles.conf of flowd had it
    place.systemctl("stop", place.socket_unit, place.unit)
    box.systemctl("start", place.unit, check=False)
    assert box.show(place.unit, "ExecMainStatus") == "78"
    assert (
        f"{packaged} belongs to user {OTHER_UID} ({OTHER_USER}), who can write to it, and so could exchange"
        in place.log()
    )
    found = findings(box, place.path)["service.system.parents"]
    assert (found["level"], packaged in found["found"]) == ("fail", True)
    place.systemctl("stop", place.socket_unit)
    refused = install(box, place.path)
    assert refused.returncode == 5
    assert f"{packaged} belongs to user {OTHER_UID} ({OTHER_USER})" in refused.stderr
    box.run("sh", "-c", found["remedy"].partition("; then: ")[2].rstrip(".").replace("sudo ", ""))
    box.systemctl("reset-failed", place.unit)
    place.systemctl("start")
    assert "service.system.parents" not in findings(box, place.path)


def test_a_state_below_the_state_of_another_users_service_is_refused(box: Box, packaged: str) -> None:
    outer = f"{packaged}/var/tmp/nest.state"
    box.run("install", "-d", "-o", USER, outer)
    inner = "/var/tmp/nest.state/inner"
    box.run("install", "-d", "-o", OTHER_USER, inner)
    refused = install(box, inner)
    assert f"{outer} belongs to user {UID} ({USER})" in refused.stderr
    box.run("rm", "-r", outer, "/var/tmp/nest.state")


def test_a_home_that_the_unit_closes_is_told_and_stops_nothing(box: Box, service: Make) -> None:
    place = service(InaccessiblePaths="/home")  # as ProtectHome= does it, which would hide this interpreter, too
    place.systemctl("start")
    (trouble,) = place.flowd("status", "--json")["troubles"]
    assert trouble["what"] == "settings"
    assert trouble["problem"].startswith(f"/home/{USER}/.config/flowd/config.toml cannot be looked at")
    assert trouble["problem"] in place.log()
    assert findings(box, place.path)["daemon.settings"]["level"] == "warn"


def test_a_user_by_drop_in_whose_socket_is_anothers_is_told(box: Box, service: Make) -> None:
    place = service(User=OTHER_USER)
    box.run("chown", "-R", OTHER_USER, place.path)
    box.systemctl("daemon-reload")
    place.systemctl("start")
    found = findings(box, place.path)["service.system.user"]
    assert found["level"] == "fail"
    assert f"runs as {OTHER_USER}, and {place.socket_unit} belongs to {USER}" in found["found"]
    told = box.run(str(FLOWD), "status", "-w", place.path, user=OTHER_USER, check=False)
    assert f"connect to {place.socket}: it belongs to user {USER}" in told.stderr
    box.write(f"/etc/systemd/system/{place.socket_unit}.d/user.conf", f"[Socket]\nSocketUser={OTHER_USER}\n")
    box.systemctl("daemon-reload")
    box.systemctl("restart", place.socket_unit, place.unit)
    assert findings(box, place.path)["service.system.user"]["level"] == "ok"
    assert box.flowd(place.path, "status", "--json", user=OTHER_USER)["state"] == "ready"
    box.run("rm", "-r", f"/etc/systemd/system/{place.socket_unit}.d")
