"""`flowd completion install` and what is there already."""

import doctest
from pathlib import Path

import pytest
from click.testing import CliRunner

from flowd.cli import shells
from flowd.cli.completion import completion
from flowd.cli.exits import CommandError


@pytest.fixture
def file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path))
    folder = tmp_path / "bash-completion/completions"
    folder.mkdir(parents=True)
    return folder / "flowd"


def install() -> None:
    CliRunner().invoke(completion, ["install", "bash"], catch_exceptions=False, standalone_mode=False)


def test_what_somebody_else_has_written_stays(file: Path) -> None:
    file.write_text("complete -W mine flowd\n")
    with pytest.raises(CommandError, match="is not of flowd, and stays as it is"):
        install()
    assert file.read_text() == "complete -W mine flowd\n"


def test_what_cannot_be_written_is_told_and_leaves_nothing(file: Path) -> None:
    file.mkdir()
    with pytest.raises(CommandError, match="cannot be written"):
        install()
    assert list(file.parent.iterdir()) == [file]


def test_an_earlier_one_is_renewed_and_a_link_to_it_stays_one(file: Path, tmp_path: Path) -> None:
    kept = tmp_path / "dotfiles"
    kept.write_text("_FLOWD_COMPLETE=bash_complete an older one\n")
    file.symlink_to(kept)
    install()
    assert file.is_symlink()
    assert "complete -o nosort" in kept.read_text()
    assert sorted(one.name for one in tmp_path.iterdir()) == ["bash-completion", "dotfiles"]


def test_doctests() -> None:
    results = doctest.testmod(shells)
    assert results.attempted
    assert not results.failed
