"""What who gave up waiting is told of the runs that were waited for."""

from typing import cast

import pytest

from flowd.cli import waiting
from flowd.cli.exits import Exit
from flowd.cli.session import Session
from flowd_client.views.run import RunView, read_run

NOBODY = cast("Session", None)


def run(status: str) -> RunView:
    return read_run(
        {"id": "run_1", "eventId": "e", "flowName": "f", "stepName": "s", "status": status, "processStatus": status}
    )


def test_own_runs_that_have_ended_are_told_apart_from_others_of_the_event(capsys: pytest.CaptureFixture[str]) -> None:
    assert waiting.verdict(NOBODY, [run("completed")], is_late=True, timeout_s=3, hint="See it.") == Exit.RUN_FAILED
    told = capsys.readouterr().err
    assert told == "flowd: these runs have ended, and after 3 s others of the event had not; they go on. See it.\n"


def test_who_did_not_give_up_is_told_nothing(capsys: pytest.CaptureFixture[str]) -> None:
    assert waiting.verdict(NOBODY, [run("completed")], is_late=False, timeout_s=None, hint="See it.") == Exit.GOOD
    assert capsys.readouterr().err == ""
