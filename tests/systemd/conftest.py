"""One booted systemd for all tests here, and workspaces served by the shipped units in it."""

import uuid
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import systemd_rig
from systemd_rig import Box, Service


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
