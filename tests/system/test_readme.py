"""The blocks of README.md and of docs/reference/api.md run as they stand."""

import os
import subprocess
import sys
from pathlib import Path

import documentation
import pytest
from daemon_rig import Workspace

PAGES = ("README.md", "docs/reference/api.md")
BLOCKS = {
    block.name: block.text
    for page in PAGES
    for block in documentation.blocks(documentation.CHECKOUT / page)
    if block.kind == "run"
}


def run(argv: list[str], place: Workspace, text: str) -> str:
    environment = {**os.environ, "PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"}
    done = subprocess.run(
        argv, input=text, cwd=place.path, env=environment, capture_output=True, text=True, timeout=60, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def test_the_quick_start_works_to_the_letter(place: Workspace) -> None:
    said = run(["bash", "-e", "-m"], place, BLOCKS["quickstart"])
    assert "accepted" in said
    assert "duplicate" in said
    assert "hello" in said


def test_a_flow_of_ones_own_works_as_it_is(place: Workspace) -> None:
    said = run(["bash", "-e"], place, BLOCKS["own"])
    assert "ok release (4 steps)" in said
    assert "ok nightly (1 step)" in said
    assert said.count('"status":"completed"') == 4


def test_the_socket_example_works(place: Workspace) -> None:
    if not any(os.access(f"{folder}/nc", os.X_OK) for folder in os.environ["PATH"].split(os.pathsep)):
        pytest.skip("NOT TESTED: the example with nc, because nc is not here (Debian: netcat-openbsd)")
    place.start()
    assert '"runs":[]' in run(["sh"], place, BLOCKS["socket"])
