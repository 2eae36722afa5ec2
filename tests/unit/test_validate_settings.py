"""``flowd validate`` checks the settings, too."""

import io
import json
import sys
from pathlib import Path
from typing import Any

import pytest

from flowd.cli.main import run


@pytest.fixture
def workspace(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "home"))
    folder = tmp_path / "ws"
    (folder / ".codex").mkdir(parents=True)
    (folder / "flows/hello").mkdir(parents=True)
    (folder / "flows/hello/hello.sh").write_text("#!/bin/sh\n")
    (folder / "flows/hello/hello.sh").chmod(0o755)
    (folder / "flows/hello/flow.toml").write_text(
        'name = "hello"\nversion = 1\n[[steps]]\nname = "a"\nrunner = "exec"\nscript = "hello.sh"\n'
        '[steps.trigger]\ntype = "go"\n'
    )
    return folder


def found(capsys: pytest.CaptureFixture[str]) -> list[dict[str, Any]]:
    findings: list[dict[str, Any]] = json.loads(capsys.readouterr().out)["findings"]
    return findings


def test_wrong_settings_are_findings_of_the_workspace(workspace: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["-w", str(workspace), "validate"]) == 0
    capsys.readouterr()
    file = workspace / ".codex/flowd.toml"
    file.write_text('max_paralel = 3\nmax_queued = "x"\n')
    assert run(["-w", str(workspace), "validate", "--json"]) == 1
    first, second = found(capsys)
    assert first == {
        "path": str(file),
        "line": 1,
        "column": 1,
        "endColumn": 12,
        "severity": "error",
        "code": "unknown-key",
        "message": first["message"],
        "remedy": None,
        "suggestion": "max_parallel",
    }
    assert (second["line"], second["column"], second["code"]) == (2, 14, "wrong-type")
    assert run(["-w", str(workspace), "validate"]) == 1
    said = capsys.readouterr()
    assert "max_paralel = 3" in said.out + said.err  # the line itself


def test_the_users_settings_are_checked_as_well(workspace: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file = workspace.parent / "home/flowd/config.toml"
    file.parent.mkdir(parents=True)
    file.write_text("log_levl = 1\n")
    assert run(["-w", str(workspace), "validate", "--json"]) == 1
    assert [finding["path"] for finding in found(capsys)] == [str(file)]


def test_what_only_this_environment_lacks_is_a_warning(workspace: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (workspace / ".codex/flowd.toml").write_text('[http]\nlisten = 8080\nsecret_env = "NOT_HERE"\n')
    assert run(["-w", str(workspace), "validate", "--json"]) == 0
    assert [(finding["severity"], finding["code"]) for finding in found(capsys)] == [("warning", "settings-refused")]
    assert run(["-w", str(workspace), "validate", "--strict"]) == 1


def test_a_settings_file_is_checked_alone_and_as_an_editor_has_it(
    workspace: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    file = workspace / ".codex/flowd.toml"
    file.write_text("max_parallel = 3\n")
    assert run(["validate", "--json", str(file)]) == 0
    assert found(capsys) == []
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(b"max_parallel = 0\n")))
    assert run(["validate", "--json", "--stdin", str(file)]) == 1
    assert [finding["column"] for finding in found(capsys)] == [16]
