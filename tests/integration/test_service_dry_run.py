"""`flowd service install --dry-run` where there is no systemd: it shows what an install elsewhere would do."""

from pathlib import Path

import pytest

from flowd.cli.exits import Exit
from flowd.cli.main import run


@pytest.fixture
def workspace(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("PATH", str(tmp_path / "nothing"))  # and so no systemctl
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "config"))
    folder = tmp_path / "ws"
    (folder / "flows").mkdir(parents=True)
    return folder


def test_units_are_shown_without_systemd(workspace: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["-w", str(workspace), "service", "install", "--user", "--dry-run"]) == Exit.GOOD
    said = capsys.readouterr()
    assert f"would write {workspace.parent}/config/systemd/user/flowd@" in said.out
    assert "  | WatchdogSec=30" in said.out
    assert "systemctl --user daemon-reload" in said.out
    assert "systemd does not manage this machine" in said.err
    assert not (workspace.parent / "config").exists()


def test_an_install_is_refused_without_systemd(workspace: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["-w", str(workspace), "service", "install", "--user"]) == Exit.REFUSED
    said = capsys.readouterr()
    assert said.out == ""
    assert "systemd does not manage this machine" in said.err
