"""That the user may have no more processes is no fault of flowd's."""

import errno

import pytest

from flowd.cli.main import _tell_fault


@pytest.mark.parametrize(
    "error",
    [
        RuntimeError("can't start new thread"),
        OSError(errno.EAGAIN, "Resource temporarily unavailable"),
        ExceptionGroup("x", [RuntimeError("can't start new thread")]),
    ],
    ids=["thread", "process", "group"],
)
def test_a_shortage_of_processes_is_told_with_its_remedy(error: Exception, capsys: pytest.CaptureFixture[str]) -> None:
    assert _tell_fault(error) == 70
    told = capsys.readouterr().err
    assert "Fault in flowd" not in told
    assert "ulimit -u" in told


def test_another_error_is_a_fault(capsys: pytest.CaptureFixture[str]) -> None:
    assert _tell_fault(RuntimeError("x")) == 70
    assert "Fault in flowd: RuntimeError: x" in capsys.readouterr().err
