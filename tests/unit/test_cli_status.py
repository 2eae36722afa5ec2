"""`flowd status` of a daemon that knows less than the command does."""

from typing import Any

import pytest

from flowd import __version__
from flowd.cli import status
from flowd.cli.session import Session
from flowd_client.errors import InvalidCallError
from flowd_client.request import Request


class OlderDaemon:
    """Refuses to tell its figures."""

    def __init__(self) -> None:
        self.asked: list[dict[str, Any]] = []

    def ask(self, request: Request[Any]) -> dict[str, str]:
        self.asked.append(dict(request.params))
        if "metrics" in request.params:
            raise InvalidCallError(-32602, "invalid_params", "Object contains unknown field 'metrics'.")
        return {"state": "ready"}


def test_a_daemon_without_figures_is_asked_for_the_rest() -> None:
    daemon = OlderDaemon()
    assert status.ask(daemon, settings=True, metrics=True) == {"state": "ready"}  # type: ignore[arg-type]
    assert daemon.asked == [{"settings": True, "metrics": True}, {"settings": True}]


def test_what_it_refuses_else_is_told() -> None:
    class Refusing(OlderDaemon):
        def ask(self, request: Request[Any]) -> dict[str, str]:
            self.asked.append(dict(request.params))
            raise InvalidCallError(-32602, "invalid_params", "No.")

    daemon = Refusing()
    with pytest.raises(InvalidCallError):
        status.ask(daemon, settings=True, metrics=False)  # type: ignore[arg-type]
    assert len(daemon.asked) == 1


@pytest.mark.parametrize(("uptime_ms", "is_due"), [(10**14, True), (0, False)], ids=["before", "after"])
def test_a_daemon_from_before_the_installation_is_told_to_be_due_for_a_restart(
    capsys: pytest.CaptureFixture[str], uptime_ms: int, *, is_due: bool
) -> None:
    status._draw(Session(), {"state": "ready", "version": __version__, "uptimeMs": uptime_ms})
    due = "installed after the daemon had started, so both may be of different code: restart the daemon"
    assert (due in capsys.readouterr().out) is is_due
