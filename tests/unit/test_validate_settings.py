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


@pytest.mark.parametrize(
    ("line", "suggestion", "remedy"),
    [
        ("max_days = 30", "max_age", None),
        ("max_age = 90", None, 'Write max_age = "90d".'),
        ("max_bytes = 5", None, 'Write max_bytes = "5GB".'),
        ("max_bytes = 5000000000", None, None),
        ("max_age = true", None, None),
    ],
)
def test_how_long_things_are_kept_is_told_as_it_is_written(
    workspace: Path, capsys: pytest.CaptureFixture[str], line: str, suggestion: str | None, remedy: str | None
) -> None:
    (workspace / ".codex/flowd.toml").write_text(f"[retention]\n{line}\n")
    assert run(["-w", str(workspace), "validate", "--json"]) == 1
    (told,) = found(capsys)
    assert (told["line"], told["suggestion"], told["remedy"]) == (2, suggestion, remedy)


@pytest.mark.parametrize("folder", [".", "flows"])
def test_settings_in_a_folder_where_nothing_reads_them_are_told(
    workspace: Path, capsys: pytest.CaptureFixture[str], folder: str
) -> None:
    misplaced, file = workspace / folder / "flowd.toml", workspace / ".codex/flowd.toml"
    misplaced.write_text("max_parallel = 3\n")
    assert run(["-w", str(workspace), "validate"]) == 0
    told = f"{misplaced} is read by nothing: the settings of a workspace are in {file}"
    assert told in " ".join(capsys.readouterr().err.split())
    file.symlink_to(misplaced)
    assert run(["-w", str(workspace), "validate"]) == 0
    assert "is read by nothing" not in capsys.readouterr().err


def test_a_notifier_whose_program_cannot_be_started_is_a_warning_where_it_stands(
    workspace: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    program = workspace / "tell.sh"
    program.write_text("#!/bin/sh\n")
    (workspace / ".codex/flowd.toml").write_text(
        '[[notify]]\ncommand = ["./tell.sh"]\n[[notify]]\nname = "gone"\ncommand = ["no-such-program"]\n'
    )
    users = workspace.parent / "home/flowd/config.toml"
    users.parent.mkdir(parents=True)
    users.write_text('[[notify]]\nname = "gone"\ncommand = ["nor-this"]\n[[notify]]\nwebhook_file = "/no/such/file"\n')
    assert run(["-w", str(workspace), "validate", "--json"]) == 0
    told = [(one["path"], one["line"], one["code"], one["message"].split(":")[0]) for one in found(capsys)]
    file = str(workspace / ".codex/flowd.toml")
    assert sorted(told, key=lambda one: one[0] != file) == [
        (file, 2, "unusable-notifier", "[[notify]] tell.sh tells nobody"),
        (file, 5, "unusable-notifier", "[[notify]] gone tells nobody"),
        (str(users), 4, "unusable-notifier", "[[notify]] webhook tells nobody"),
    ]
    program.chmod(0o755)
    assert run(["-w", str(workspace), "validate", "--json"]) == 0
    assert len(found(capsys)) == 2
