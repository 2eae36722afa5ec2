"""One booted systemd for all tests here, and workspaces served by the shipped units in it."""

import uuid
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import systemd_rig
from daemon_rig import say, until
from systemd_rig import OTHER_UID, OTHER_USER, Box, Service


@pytest.fixture(scope="session")
def box() -> Iterator[Box]:
    """A systemd of our own. Skips, with what is missing, where there can be none."""
    if reason := systemd_rig.why_not():
        pytest.skip(f"NOT TESTED under systemd: {reason}")
    with systemd_rig.booted() as booted:
        yield booted


@pytest.fixture
def service(box: Box) -> Iterator[Callable[..., Service]]:
    """Makes services of the shipped units, each with a workspace of its own; stopped and removed at the end."""
    made: list[Service] = []

    def make(**settings: str) -> Service:
        made.append(Service(box, Path("/var/tmp") / f"ws{uuid.uuid4().hex[:8]}", settings))
        return made[-1]

    yield make
    for each in made:
        each.remove()
    box.forget_units()


@pytest.fixture
def home(box: Box) -> Iterator[str]:
    """A workspace in the home of a user who has never logged in."""
    # No two at once have the same path: machines that share a network see each other's sockets by theirs.
    path = f"/home/{OTHER_USER}/my project {uuid.uuid4().hex[:6]}"
    box.flow(path, "quick", f"echo $FLOWD_SOCKET\n{say('changed')}", owner=OTHER_USER)
    box.flow(path, "long", "setsid sleep 300 &\nsleep 300", owner=OTHER_USER)
    yield path
    box.forget_user(OTHER_USER, OTHER_UID)
    box.run("sh", "-c", "rm -rf /var/tmp/go*")
    box.forget_units()


@pytest.fixture
def lingering(box: Box, home: str) -> str:
    """The same, with a user manager that runs."""
    box.run("loginctl", "enable-linger", OTHER_USER)
    until(box.at(f"/run/user/{OTHER_UID}/bus").is_socket, what="the user's bus")
    return home
