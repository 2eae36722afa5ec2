"""The page about settings, done to the letter."""

from pathlib import Path

import documentation
import pytest

from flowd.cli.main import run

BLOCKS = list(documentation.blocks(documentation.CHECKOUT / "docs" / "settings.md"))


def text_of(kind: str, name: str) -> str:
    (found,) = [block.text for block in BLOCKS if (block.kind, block.name) == (kind, name)]
    return found


def test_wrong_settings_are_told_as_the_page_says(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    file = tmp_path / ".codex/flowd.toml"
    file.parent.mkdir()
    file.write_text(text_of("file", ".codex/flowd.toml"), encoding="utf-8")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "home"))
    assert text_of("run", "wrong settings").split() == ["flowd", "validate"]
    assert run(["validate"]) == 1
    assert capsys.readouterr().out == text_of("output", "wrong settings")
