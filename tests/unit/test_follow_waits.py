"""What is said of a run that waits while its output is followed."""

from typing import Any

from flowd.cli.follow.waits import WaitTeller
from flowd_client.views.run import read_run

KEY = {"key": {"group": "repo", "key": ["x"], "holder": "run_1", "behind": 0}}


def told(*looks: dict[str, Any]) -> list[str]:
    """After these looks at a run, each its status, what it waits for, and how many attempts it has had."""
    lines: list[str] = []
    teller = WaitTeller(lines.append)
    for look in looks:
        shape = {"id": "run_2", "eventId": "e", "flowName": "build", "stepName": "main", "status": "queued", **look}
        teller.take(read_run({"run": shape}))
    return lines


def test_a_wait_that_lasts_is_told_once_although_others_come_to_be_before_it() -> None:
    behind = {"key": {**KEY["key"], "behind": 3}}
    looks = [{"waitingFor": KEY}, {"waitingFor": KEY}, {"waitingFor": behind}]
    assert told(*looks) == ["build/main (run_2): waits for run_1 of repo x"]


def test_a_wait_that_is_over_at_the_next_look_is_not_told() -> None:
    assert told({"waitingFor": {"place": 1}}, {"status": "running"}, {"waitingFor": {"place": 1}}) == []


def test_another_wait_and_the_same_one_before_another_attempt_are_told_anew() -> None:
    retry = {"waitingFor": {"pause": "build"}}
    looks = [{"waitingFor": KEY}] * 2 + [retry] * 2 + [{**retry, "attemptCount": 1}] * 2
    paused = "build/main (run_2): paused with build"
    assert told(*looks) == ["build/main (run_2): waits for run_1 of repo x", paused, paused]
