"""`flowd notices test` takes the only notifier there is, and asks which one where there are several."""

from collections.abc import Iterator
from pathlib import Path

import pytest
from scripted_daemon import Call, ScriptedDaemon

from flowd.cli.exits import Exit
from flowd.cli.main import run

NOTIFIER = {"on": ["failed"], "flows": [], "to": "cat", "sent": 0, "waiting": 0}


class Notifying:
    """A daemon with these notifiers."""

    def __init__(self, socket: Path) -> None:
        self.names: list[str] = []
        self.tested: list[str] = []
        self.daemon = ScriptedDaemon(socket, self.answer)

    def answer(self, call: Call) -> object:
        if "notifier" in call.params:
            self.tested.append(call.params["notifier"])
            return {"sent": True, "tookMs": 5, "answer": "exit code 0"}
        return {"notifiers": [{"name": name, **NOTIFIER} for name in self.names], "notices": []}


@pytest.fixture
def notifying(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Notifying]:
    monkeypatch.setenv("FLOWD_SOCKET", str(tmp_path / "d.sock"))
    monkeypatch.chdir(tmp_path)
    opened = Notifying(tmp_path / "d.sock")
    yield opened
    opened.daemon.close()


def test_the_only_notifier_needs_no_name(notifying: Notifying, capsys: pytest.CaptureFixture[str]) -> None:
    notifying.names = ["mail"]
    assert run(["notices", "test"]) == Exit.GOOD
    assert notifying.tested == ["mail"]
    assert capsys.readouterr().out == "mail has sent a test in 5 ms: exit code 0\n"


def test_one_of_several_is_named(notifying: Notifying, capsys: pytest.CaptureFixture[str]) -> None:
    notifying.names = ["mail", "chat"]
    assert run(["notices", "test"]) == Exit.USAGE
    assert "Which notifier? Name one: mail, chat." in capsys.readouterr().err
    assert notifying.tested == []
    assert run(["notices", "test", "chat"]) == Exit.GOOD
    assert notifying.tested == ["chat"]


def test_without_any_it_says_where_they_are_written(notifying: Notifying, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["notices", "test"]) == Exit.NOT_FOUND
    assert "The settings have no [[notify]]" in capsys.readouterr().err
