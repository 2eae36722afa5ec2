"""What who gave up waiting is told of the runs that were waited for."""

from typing import Any, cast

import pytest

from flowd.cli import waiting
from flowd.cli.exits import Exit
from flowd.cli.session import Session
from flowd_client.views.run import RunView, read_run

NOBODY = cast("Session", None)


def run(status: str, **more: Any) -> RunView:
    plain = {"id": "run_1", "eventId": "e", "flowName": "f", "stepName": "s", "status": status}
    return read_run({**plain, "processStatus": status, **more})


def test_own_runs_that_have_ended_are_told_apart_from_others_of_the_event(capsys: pytest.CaptureFixture[str]) -> None:
    assert waiting.verdict(NOBODY, [run("completed")], is_late=True, timeout_s=3, hint="See it.") == Exit.RUN_FAILED
    told = capsys.readouterr().err
    assert told == "flowd: these runs have ended, and after 3 s others of the event had not; they go on. See it.\n"


def test_who_did_not_give_up_is_told_nothing(capsys: pytest.CaptureFixture[str]) -> None:
    assert waiting.verdict(NOBODY, [run("completed")], is_late=False, timeout_s=None, hint="See it.") == Exit.GOOD
    assert capsys.readouterr().err == ""


@pytest.mark.parametrize(
    ("held", "told"),
    [
        ({"pause": "f"}, "paused with f; `flowd resume f` lets it start"),
        ({"pause": "f/s"}, "paused with f/s; `flowd resume f/s` lets it start"),
        ({"pause": "*"}, "paused with all flows; `flowd resume` lets it start"),
        (
            {"package": "f"},
            "waits for step s of f, which is in no package: broken, or gone, and then it fails in a minute",
        ),
        ({"why": "foreign"}, "waits for a person: `flowd resume` starts it"),
    ],
)
def test_what_holds_a_run_for_which_no_wait_helps_is_told(
    held: dict[str, str], told: str, capsys: pytest.CaptureFixture[str]
) -> None:
    session = Session()
    runs = [run("completed"), run("queued", waitingFor=held), run("queued", waitingFor={"needs": ["s"]})]
    assert waiting.verdict(session, runs, is_late=False, timeout_s=None, hint="See it.") == Exit.RUN_FAILED
    assert capsys.readouterr().err == f"flowd: f/s has not run: {told}\n"
