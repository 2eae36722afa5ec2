"""A workspace behind a link that deployments change: its state stays behind, and flowd says so."""

import subprocess
import sys
from pathlib import Path

import pytest
from doctor_rig import doctor

from flowd.settings.sources import load


@pytest.fixture
def current(tmp_path: Path) -> Path:
    (tmp_path / "app/releases/1/sub/flows/x").mkdir(parents=True)
    (tmp_path / "app/releases/1/sub/flows/x/flow.toml").touch()
    (tmp_path / "app/current").symlink_to("releases/1")
    return tmp_path / "app/current"


def test_doctor_tells_of_the_link_and_of_the_setting_that_avoids_it(current: Path, tmp_path: Path) -> None:
    found = doctor(current)["by_check"]["workspace.link"]
    assert found["level"] == "warn"
    assert (
        f"{current} is a link to releases/1, and the state lies behind it, in {tmp_path}/app/releases" in found["found"]
    )
    assert f"FLOWD_STATE_DIR, {tmp_path}/app/flowd-state" in found["remedy"]
    assert "workspace.link" not in doctor(current, FLOWD_STATE_DIR=str(tmp_path / "state"))["by_check"]
    assert "workspace.link" not in doctor(current.resolve())["by_check"]


def test_serve_tells_of_it_also_where_the_shell_went_through_the_link(current: Path) -> None:
    script = f'cd "{current}/sub" && exec {sys.executable} -m flowd serve'
    process = subprocess.Popen(["sh", "-c", script], stderr=subprocess.PIPE, text=True)
    assert process.stderr is not None
    said = ""
    while "ready" not in said:
        line = process.stderr.readline()
        assert line, said
        said += line
    process.terminate()
    process.communicate()
    assert f"{current} is a link to releases/1" in said


def test_a_link_that_nobody_changes_is_not_told_of(tmp_path: Path) -> None:
    (tmp_path / "data/alice/project").mkdir(parents=True)
    (tmp_path / "home").mkdir()
    (tmp_path / "home/alice").symlink_to(tmp_path / "data/alice")
    assert load(tmp_path / "home/alice/project", {}, {}, tmp_path).link is None
    assert load(tmp_path / "home/alice", {}, {}, tmp_path).link == tmp_path / "home/alice"
