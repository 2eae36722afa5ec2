"""What the TypeScript system reads and takes, and flowd does not, is told with a lead."""

from pathlib import Path

import pytest

from flowd.cli.main import run
from flowd.settings import sources, unknown


def test_a_workspace_toml_is_told_by_validate(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / ".codex").mkdir()
    assert run(["validate", "-w", str(tmp_path)]) == 0
    assert "workspace.toml" not in capsys.readouterr().err
    (tmp_path / ".codex" / "workspace.toml").write_text("[workspace]\n")
    assert run(["validate", "-w", str(tmp_path)]) == 0
    assert (
        ".codex/workspace.toml is not read by flowd: its tasks and schedules start nothing" in capsys.readouterr().err
    )


def test_its_variables_are_told(tmp_path: Path) -> None:
    settings = sources.load(workspace=tmp_path, flags={}, environ={})
    told = list(unknown.find(["CODEX_WORKSPACE_BACKEND_PORT", "CODEX_WORKSPACE_BACKEND_WS_URL"], settings))
    assert [sentence.split(":")[0] for sentence in told] == ["CODEX_WORKSPACE_BACKEND_PORT sets nothing in flowd"]


@pytest.mark.parametrize(
    ("args", "told"),
    [
        (["list"], "Here that is `flowd flows`."),
        (["serve", "--port", "3586"], "In flowd, `--http HOST:PORT` does that."),
        (["run", "demo", "hello", "--event", "e.json"], "`flowd exec FLOW STEP EVENT.json`."),
    ],
)
def test_its_command_lines_get_a_lead(args: list[str], told: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(args) == 2
    assert told in capsys.readouterr().err
