"""A few of the deaths that ``make crash`` deals by the hundred, and named points whose recovery has its own rule."""

import contextlib
import sqlite3
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from crash.driver import CLASSES, Kill, Story
from crash.harness import play
from crash.stage import Stage
from crash.verdict import Judge, Verdict
from daemon_rig import until

from flowd_client.errors import FlowClientError


@pytest.fixture
def stage(tmp_path: Path) -> Iterator[Stage]:
    it = Stage(tmp_path)
    try:
        yield it
    finally:
        it.clean_up()


def dispatch(stage: Stage, event_id: str) -> list[str]:
    event = {"id": event_id, "type": f"{event_id.partition('-')[0]}.go", "payload": {}}
    run_ids: list[str] = stage.call("flow.dispatch", event=event)["runIds"]
    return run_ids


def up(stage: Stage) -> None:
    stage.spawn()
    assert stage.comes_up()


def die_at(stage: Stage, point: str, event_id: str, *, victim: str = "daemon") -> Story:
    """Send an event, and let the victim die when it passes the point: perhaps before the event is answered."""
    stage.arm(victim, point)
    story = Story()
    try:
        story.acknowledged[event_id] = dispatch(stage, event_id)
    except FlowClientError:
        story.unanswered.append(event_id)
    until(lambda: not stage.is_armed(victim), what=f"{victim} passing {point}")
    story.kills.append(Kill(time.time(), (victim,), point))
    if victim == "daemon":
        assert stage.process is not None
        stage.process.wait(60)
    return story


def settle(stage: Stage, story: Story) -> None:
    """Send again what was not answered, and wait until all runs have ended."""
    for event_id in story.unanswered:
        story.acknowledged[event_id] = dispatch(stage, event_id)
    for run_ids in story.acknowledged.values():
        for run_id in run_ids:
            stage.call("flow.waitRun", runId=run_id, timeoutMs=50_000)


def verdict(stage: Stage, story: Story) -> Verdict:
    """What the harness's judge finds in the end. It stops the daemon."""
    settle(stage, story)
    return Judge(stage, story).judge()


def last_run(stage: Stage) -> Any:
    return stage.call("flow.listRuns", limit=1)["runs"][0]


@pytest.mark.timeout(300)
def test_ten_deaths_of_all_kinds_lose_double_and_leave_nothing() -> None:
    played = play([*CLASSES, "daemon, any instant", "both, any instant"], seed=7)
    assert not played.verdict.problems, "\n".join([*played.verdict.problems, played.log])
    assert len(played.story.kills) + len(played.story.unreached) >= 10
    assert played.verdict.events >= 20


@pytest.mark.parametrize("point", ["store.accept:after", "keeper.start:before"])
def test_a_run_begun_but_never_handed_to_the_keeper_is_started_exactly_once(stage: Stage, point: str) -> None:
    up(stage)
    story = die_at(stage, point, "fails-1")
    assert not stage.ledger.exists()
    up(stage)
    settle(stage, story)
    assert (last_run(stage)["attemptCount"], last_run(stage)["exitCode"]) == (1, 3)
    assert verdict(stage, story).problems == []


def test_an_attempt_that_was_claimed_but_never_handed_to_the_keeper_is_started_exactly_once(stage: Stage) -> None:
    up(stage)
    story = die_at(stage, "store.claim:after", "again-1")  # its second attempt: the first begins with the event
    assert len(stage.ledger.read_text().splitlines()) == 2
    up(stage)
    settle(stage, story)
    assert last_run(stage)["attemptCount"] == 2
    assert verdict(stage, story).problems == []


def test_a_keeper_that_died_before_it_spawned_costs_no_run(stage: Stage) -> None:
    up(stage)
    story = die_at(stage, "journal.begin:after", "silent-1", victim="keeper")
    (run_id,) = story.acknowledged["silent-1"]
    run = stage.call("flow.waitRun", runId=run_id, timeoutMs=50_000)["run"]
    assert (run["reason"], run.get("exitCode"), run["attemptCount"]) == ("exit", 5, 1), run
    assert verdict(stage, story).problems == []


def test_a_step_whose_keeper_died_before_it_noted_the_pid_is_found_by_its_mark(stage: Stage) -> None:
    up(stage)
    story = die_at(stage, "keeper-process.spawn:after", "hangs-1", victim="keeper")
    (run_id,) = story.acknowledged["hangs-1"]
    run = stage.call("flow.waitRun", runId=run_id, timeoutMs=50_000)["run"]
    assert (run["status"], run.get("reason"), run["attemptCount"]) == ("failed", "timeout", 1)
    assert verdict(stage, story).problems == []


@pytest.mark.parametrize("point", ["store.finish:after", "keeper.forget:before"])
def test_what_a_daemon_could_not_clean_up_after_a_commit_is_cleaned_up_at_the_next_start(
    stage: Stage, point: str
) -> None:
    up(stage)
    story = die_at(stage, point, "fails-1")
    up(stage)
    assert last_run(stage)["exitCode"] == 3
    assert verdict(stage, story).problems == []  # no output file, no record of the keeper


def test_an_exit_that_the_keeper_wrote_down_before_a_reboot_is_used_after_it(stage: Stage) -> None:
    up(stage)
    story = die_at(stage, "store.finish:before", "silent-1")
    with contextlib.closing(sqlite3.connect(stage.state / "flowd.db", isolation_level=None)) as db:
        assert db.execute("UPDATE attempts SET boot_id = 'another boot'").rowcount == 1
    up(stage)
    assert verdict(stage, story).problems == []


def test_a_daemon_whose_keeper_keeps_dying_ends_and_the_next_one_goes_on(stage: Stage) -> None:
    up(stage)
    story = Story(acknowledged={"hangs-1": dispatch(stage, "hangs-1")})
    until(stage.ledger.exists, what="the step's start")
    until(lambda: (stage.kill_keeper() and False) or not stage.is_up, what="the daemon's end", bound_s=30)
    story.kills.append(Kill(time.time(), ("keeper",)))
    assert stage.process is not None
    assert stage.process.returncode == 70
    assert "keeper lost" in stage.log()
    up(stage)
    (run_id,) = story.acknowledged["hangs-1"]
    run = stage.call("flow.waitRun", runId=run_id, timeoutMs=50_000)["run"]
    assert (run["reason"], run["attemptCount"]) == ("timeout", 1)


def test_the_judge_sees_a_lost_event_a_doubled_start_and_a_stale_file(stage: Stage) -> None:
    up(stage)
    (run_id,) = dispatch(stage, "fails-1")
    stage.call("flow.waitRun", runId=run_id, timeoutMs=50_000)
    with stage.ledger.open("a") as ledger:
        ledger.write(f"S {run_id} 1 12345 fails\n")
    (stage.state / "output" / "run_stale.stdout").touch()
    story = Story(acknowledged={"fails-1": [run_id], "fails-2": []})
    found = Judge(stage, story).judge()
    assert found.doubled == 1
    assert found.lost >= 1
    assert found.leftovers == 1
    with contextlib.suppress(FileNotFoundError):
        (stage.state / "output" / "run_stale.stdout").unlink()
