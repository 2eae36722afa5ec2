"""Fixtures for everybody."""

import os
import signal
from collections.abc import Iterator

import pytest
from daemon_rig import Workspace, workspace

# Programs that tests start are to buffer their output as they do for users, whatever a developer's shell says.
os.environ.pop("PYTHONUNBUFFERED", None)


@pytest.fixture(autouse=True, scope="session")
def _programs_can_be_interrupted() -> None:
    """Whoever is started in the background by a shell ignores SIGINT, and so would every program that a test starts."""
    if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
        signal.signal(signal.SIGINT, signal.default_int_handler)


@pytest.fixture
def place() -> Iterator[Workspace]:
    """A scratch workspace without a daemon yet."""
    with workspace() as it:
        yield it
