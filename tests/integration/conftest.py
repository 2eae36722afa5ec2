"""Fixtures of tests that speak to a daemon which answers as it is told."""

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from desk_rig import Desk
from scripted_daemon import Script, ScriptedDaemon


@pytest.fixture
def serve(tmp_path: Path) -> Iterator[Callable[..., ScriptedDaemon]]:
    """Opens scripted daemons, each with a socket of its own."""
    opened: list[ScriptedDaemon] = []

    def open_one(script: Script, **options: Any) -> ScriptedDaemon:
        opened.append(ScriptedDaemon(tmp_path / f"{len(opened)}.sock", script, **options))
        return opened[-1]

    yield open_one
    for daemon in opened:
        daemon.close()


@pytest.fixture
def desk(tmp_path: Path) -> Iterator[Desk]:
    """A command line, and a daemon whose answers the test writes."""
    opened = Desk(tmp_path)
    yield opened
    opened.daemon.close()
