"""`flowd doctor` on the secrets that settings name: who can read them, and whether steps can be given them."""

import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest
from daemon_rig import Workspace, say
from doctor_rig import doctor


@pytest.fixture
def open_folder() -> Iterator[Path]:
    """A folder that everybody can go into; pytest's own are closed."""
    with tempfile.TemporaryDirectory(dir="/tmp") as name:
        Path(name).chmod(0o755)
        yield Path(name)


def test_a_file_with_a_secret_that_everybody_can_read_is_told(place: Workspace, open_folder: Path) -> None:
    place.path.joinpath(".codex").mkdir()
    names = ("npm", "token", "hook", "notify")
    for name in names:
        (open_folder / name).write_text("correct-horse-battery\n")
        (open_folder / name).chmod(0o640)
    place.path.joinpath(".codex/flowd.toml").write_text(
        f'[secrets.npm]\nfile = "{open_folder}/npm"\n[http]\nlisten = "127.0.0.1:0"\n'
        f'[http.tokens.ci]\nfile = "{open_folder}/token"\nscopes = ["read"]\n'
        f'[hooks.h]\nkind = "github"\nsecret_file = "{open_folder}/hook"\n'
        f'[[notify]]\nwebhook = "https://chat.example/x"\nsecret_file = "{open_folder}/notify"\n'
    )
    told = lambda: [item for item in doctor(place.path)["findings"] if item["check"] == "secrets.files"]  # noqa: E731
    assert [item["level"] for item in told()] == ["ok"]
    for name in names:
        (open_folder / name).chmod(0o644)
    found = told()
    assert [item["level"] for item in found] == ["warn"] * 4
    assert f"everybody on this machine can read or write {open_folder}/npm" in {item["found"] for item in found}
    assert f"Run: chmod o-rwx {open_folder}/token" in {item["remedy"] for item in found}
    open_folder.chmod(0o700)
    assert [item["level"] for item in told()] == ["ok"]


def test_a_secret_that_a_step_asks_for_and_that_cannot_be_read_is_told(place: Workspace) -> None:
    place.flow("rel", say("changed"), step='[steps.env]\nTOKEN = { secret = "npm" }')
    place.path.joinpath(".codex").mkdir()
    settings = place.path / ".codex/flowd.toml"
    told = lambda: doctor(place.path, NPM_VALUE="xyz")["by_check"]["secrets.steps"]  # noqa: E731
    for text, words in {
        "": "the settings have no [secrets.npm]; add it to .codex/flowd.toml",
        f'[secrets.npm]\nfile = "{place.path}/npm"\n': f"No such file or directory: {place.path}/npm",
        '[secrets.npm]\nenv = "NPM_VALUE"\n': "fewer than 4 characters",
        '[secrets.npm]\ncommand = ["/nowhere/x"]\n': "there is no program /nowhere/x",
    }.items():
        settings.write_text(text)
        found = told()
        assert found["level"] == "warn", text
        assert found["found"].startswith("rel/main cannot start: ")
        assert words in found["found"]
    settings.write_text(f'[secrets.npm]\nfile = "{place.path}/npm"\n')
    place.path.joinpath("npm").write_text("correct-horse\n")
    assert told()["level"] == "ok"


def test_a_notifier_that_cannot_work_is_told_without_being_tried(place: Workspace) -> None:
    place.path.joinpath(".codex").mkdir()
    settings, ran = place.path / ".codex/flowd.toml", place.path / "ran"
    told = lambda: doctor(place.path)["by_check"]["notifiers"]  # noqa: E731
    for text, words in {
        'command = ["./tell"]': "tell tells nobody: there is no program ./tell",
        'webhook_file = "url"': f"webhook tells nobody: cannot read {place.path}/url: No such file or directory",
        'webhook = "https://h.example/"\nsecret_file = "s"': f"h.example tells nobody: cannot read {place.path}/s",
    }.items():
        settings.write_text(f"[[notify]]\n{text}\n")
        found = told()
        assert found["level"] == "warn", text
        assert found["found"].startswith(words)
        assert "flowd notices test" in found["remedy"]
    place.path.joinpath("tell").write_text(f"#!/bin/sh\ntouch {ran}\n")
    place.path.joinpath("tell").chmod(0o755)
    settings.write_text('[[notify]]\ncommand = ["./tell"]\n')
    assert told()["level"] == "ok"
    assert not ran.exists()
