"""``flowd schema``: printing, and giving a workspace its copy."""

import json
from pathlib import Path

import pytest

from flowd import schemas
from flowd.cli.main import run


def test_a_schema_is_printed_as_json_and_its_place_is_told(capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["schema", "settings"]) == 0
    printed = capsys.readouterr().out
    assert json.loads(printed)["properties"]["max_parallel"]["maximum"] == 10_000
    assert run(["schema", "settings", "--path"]) == 0
    assert Path(capsys.readouterr().out.strip()).read_text(encoding="utf-8") == printed


def test_a_workspace_gets_copies_once_and_files_are_told_their_first_line(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / ".codex").mkdir()
    settings = tmp_path / ".codex/flowd.toml"
    settings.write_text("max_parallel = 3\n")
    line = "#:schema ./flowd.schema.json"
    assert run(["-w", str(tmp_path), "schema", "--install"]) == 0
    said = capsys.readouterr()
    assert f"flowd.toml: {line}\n" in said.err
    for name in schemas.NAMES:
        assert schemas.copy_in(tmp_path, name).read_text(encoding="utf-8") == schemas.text(name)
    settings.write_text(f"{line}\nmax_parallel = 3\n")
    assert run(["-w", str(tmp_path), "schema", "--install"]) == 0
    said = capsys.readouterr()
    assert said.out.count("up to date") == len(schemas.NAMES)
    assert said.err == ""
    schemas.copy_in(tmp_path, "settings").write_text("of an earlier flowd")
    assert schemas.install(tmp_path, "settings")
    assert schemas.copy_in(tmp_path, "settings").read_text(encoding="utf-8") == schemas.text("settings")
    assert sorted(path.name for path in (tmp_path / ".codex").iterdir()) == sorted(
        ["flowd.toml", *schemas.NAMES.values()]
    )


def test_saying_nothing_or_too_much_is_told(capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["schema"]) == 2
    assert "flow or settings" in capsys.readouterr().err
    assert run(["schema", "settings", "--install"]) == 2
    assert "takes neither" in capsys.readouterr().err
