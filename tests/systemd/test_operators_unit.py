"""flowd in a unit that an operator wrote, of any name, and under a systemd that cannot be asked."""

from collections.abc import Callable, Iterator

import pytest
from daemon_rig import until
from systemd_rig import FLOWD, USER, Box, Service, findings

UNIT = "automation.service"


@pytest.fixture
def workspace(box: Box) -> Iterator[str]:
    """A workspace with a unit that has nothing in it but what is needed to start flowd."""
    path = "/var/tmp/operators"
    box.flow(path, "long", "sleep 300")
    box.write(
        f"/etc/systemd/system/{UNIT}",
        f"[Service]\nUser={USER}\nEnvironment=HOME=/home/{USER}\nExecStart={FLOWD} serve -w {path}\n",
    )
    box.systemctl("daemon-reload")
    box.systemctl("start", UNIT)
    until(lambda: box.flowd(path, "status", check=False, user=USER).startswith("state"), what="the daemon")
    yield path
    box.systemctl("stop", UNIT)
    box.run("rm", "-rf", path, f"/etc/systemd/system/{UNIT}")


def test_a_unit_that_kills_steps_at_a_restart_is_told(box: Box, workspace: str) -> None:
    about = box.flowd(workspace, "status", "--json")
    assert about["manager"]["unit"] == UNIT
    assert about["onServiceRestart"] == "kill"
    (trouble,) = about["troubles"]
    assert trouble["problem"].startswith(f"{UNIT} has KillMode=control-group")
    assert "at a restart, too" in box.flowd(workspace, "status")
    found = findings(box, workspace, USER)
    assert found["service.manager"]["found"] == f"{UNIT} of the system manager"
    assert (found["daemon.unit"]["level"], "KillMode=process" in found["daemon.unit"]["remedy"]) == ("warn", True)
    box.flowd(workspace, "dispatch", "--type", "long.go")
    until(lambda: box.alive("sleep 300"), what="the step")
    box.systemctl("restart", UNIT)
    assert box.alive("sleep 300") == []  # it is so


def test_without_a_bus_no_stop_is_promised_to_end_steps(box: Box, service: Callable[..., Service]) -> None:
    place = service(InaccessiblePaths="/run/dbus")
    place.systemctl("start")
    about = place.flowd("status", "--json")
    assert "onServiceStop" not in about
    assert "a stop leaves running steps, too" in about["troubles"][0]["problem"]
