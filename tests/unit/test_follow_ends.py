"""How a run that was followed is said to have ended: in a line, with its exit code once, and why."""

import pytest

from flowd.cli.follow.ends import end_of
from flowd_client.views.run import read_run


@pytest.mark.parametrize(
    ("end", "told"),
    [
        ({"exitCode": 0, "processStatus": "completed"}, "completed, exit code 0"),
        ({"exitCode": 3, "why": "no room (exit code 3)"}, "failed, exit code 3: no room"),
        ({"exitCode": 3, "why": "exited with 3"}, "failed, exit code 3"),
        (
            {"exitCode": 3, "why": "exited with 3; its last words: no room"},
            "failed, exit code 3: its last words: no room",
        ),
        ({"why": "was ended by SIGKILL"}, "failed: was ended by SIGKILL"),
        (
            {"exitCode": 0, "result": {"status": "blocked", "message": "ask Ada\nor Bo"}, "why": "ask Ada or Bo"},
            "blocked, exit code 0: ask Ada or Bo",
        ),
        (
            {"exitCode": 0, "processStatus": "completed", "result": {"status": "changed", "message": "v1\nand more"}},
            "changed, exit code 0: v1",
        ),
    ],
)
def test_a_run_is_said_to_have_ended(end: dict[str, object], told: str) -> None:
    shape = {"id": "run_1", "eventId": "e", "flowName": "build", "stepName": "main", "processStatus": "failed"}
    assert end_of(read_run({"run": {**shape, **end}})) == f"build/main (run_1) {told}"
