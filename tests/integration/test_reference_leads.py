"""What the TypeScript system reads and takes, and flowd does not, is told with a lead."""

import json
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
        (["serve", "--port", "3586"], "In flowd, `--http HOST:PORT` does that."),
    ],
)
def test_its_command_lines_get_a_lead(args: list[str], told: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(args) == 2
    assert told in capsys.readouterr().err


def test_its_list_and_run_work(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    package = tmp_path / "flows" / "demo"
    package.mkdir(parents=True)
    (package / "flow.toml").write_text(
        'name = "demo"\nversion = 1\n[[steps]]\nname = "hello"\nrunner = "exec"\nscript = "hello.sh"\n'
    )
    (package / "hello.sh").write_text('#!/bin/sh\necho \'FLOW_RESULT {"status": "changed"}\'\n')
    (package / "hello.sh").chmod(0o755)
    event = tmp_path / "event.json"
    event.write_text('{"id": "e", "type": "none"}')
    assert run(["list", "-w", str(tmp_path)]) == 0
    assert capfd.readouterr().out == f"demo\t{package}\n"
    assert run(["run", "demo", "hello", "--event", str(event), "-w", str(tmp_path)]) == 0
    assert json.loads(capfd.readouterr().out) == {"flow": "demo", "step": "hello", "result": {"status": "changed"}}
    (tmp_path / "flows" / "broken").mkdir()
    (tmp_path / "flows" / "broken" / "flow.toml").write_text("name = 3\n")
    assert run(["list", "-w", str(tmp_path)]) == 1
    told = capfd.readouterr()
    assert (told.out, "broken is broken" in told.err) == (f"demo\t{package}\n", True)


@pytest.mark.parametrize(
    ("verb", "told"),
    [
        ("shutdown", "Here `flowd stop` ends the daemon."),
        ("enqueue", "Here `flowd dispatch` sends an event"),
        ("journalctl", "Here `flowd logs -f RUN`"),
        ("restart", "`flowd stop` and `flowd serve` start the daemon anew"),
        ("describe", "`flowd flows NAME` a flow"),
        ("config", "Here `flowd status --config` shows each setting"),
        ("info", "Here `flowd status`"),
        ("tree", "Here `flowd event EVENT` draws"),
        ("cat", "Here `flowd logs RUN` prints"),
        ("edit", "Here `flowd validate` checks"),
        ("relaod", "Did you mean 'reload'?"),
        ("rernu", "Did you mean 'rerun'?"),
    ],
)
def test_the_words_of_others_get_a_lead(verb: str, told: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert run([verb]) == 2
    assert told in capsys.readouterr().err


@pytest.mark.parametrize(
    ("words", "verb"),
    [
        (["new", "n", "--cron"], "flowd new"),
        (["service", "install", "--run-as"], "flowd service install"),
        (["dispatch", "--nope"], "flowd dispatch"),
        (["--nope"], "flowd"),
    ],
)
def test_what_is_wrong_leads_to_the_help_of_its_verb(
    words: list[str], verb: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(words) == 2
    assert f" `{verb} -h` shows how." in capsys.readouterr().err


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (["status", "release"], "argument (release). `flowd flows NAME` shows a flow"),
        (["stop", "release"], "`flowd pause FLOW` holds up a flow"),
        (["runs", "release"], "`flowd runs --flow NAME` lists the runs of a flow"),
        (["dispatch", "release"], "Did you mean flows/release/event.json?"),
        (["dispatch", "release.requested"], "For an event of that type write --type release.requested."),
        (["dispatch", "bare.json"], "An event needs a type: give --type, or \"type\" in the file. 'typ' is no type:"),
    ],
)
def test_a_name_where_none_is_taken_gets_a_lead(
    words: list[str], told: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "flows" / "release").mkdir(parents=True)
    (tmp_path / "flows" / "release" / "event.json").write_text("{}")
    (tmp_path / "bare.json").write_text('{"typ": "x"}')
    monkeypatch.chdir(tmp_path)
    assert run(words) == 2
    assert told in capsys.readouterr().err
