"""Fixtures for everybody."""

from collections.abc import Iterator

import pytest
from daemon_rig import Workspace, workspace


@pytest.fixture
def place() -> Iterator[Workspace]:
    """A scratch workspace without a daemon yet."""
    with workspace() as it:
        yield it
