"""A command says on stderr that the daemon does not answer."""

import signal
import socket
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from flowd.cli import silence
from flowd.cli.silence import TellingTransport
from flowd_client.errors import FlowClientError


@pytest.fixture
def mute(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[TellingTransport]:
    """Leads to somebody who accepts and never says a word."""
    monkeypatch.setattr(silence, "_SILENCE_S", 0.05)
    path = tmp_path / "mute.sock"
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(path))
        listener.listen()
        yield TellingTransport(lambda: path)


def ask(transport: TellingTransport) -> None:
    with pytest.raises(FlowClientError):
        transport.call("flow.listRuns", {}, timeout_s=0.5)


def test_silence_is_told_in_the_main_thread_whose_own_alarm_is_set_again(
    mute: TellingTransport, capsys: pytest.CaptureFixture[str]
) -> None:
    handler, timer = signal.getsignal(signal.SIGALRM), signal.setitimer(signal.ITIMER_REAL, 1000.0)
    try:
        ask(mute)
        assert "has not answered" in capsys.readouterr().err
        assert signal.getsignal(signal.SIGALRM) == handler
        assert signal.getitimer(signal.ITIMER_REAL)[0] > 900
    finally:
        signal.setitimer(signal.ITIMER_REAL, *timer)


def test_silence_is_told_in_another_thread_too(mute: TellingTransport, capsys: pytest.CaptureFixture[str]) -> None:
    thread = threading.Thread(target=ask, args=(mute,))
    thread.start()
    thread.join()
    assert "has not answered" in capsys.readouterr().err
