"""Runs and events that are named by a part of their id, or in words; and what a shell completes."""

import subprocess
import sys

import pytest
from command_rig import completed
from daemon_rig import Workspace, flowd_says, say


@pytest.fixture
def busy(place: Workspace) -> Workspace:
    """A good run of event ``release-1``, a failed one of ``other-2``, and an event of nobody."""
    place.flow("good", say("changed"))
    place.flow("bad", "exit 3")
    place.start()
    place.call("flow.dispatch", event={"id": "release-1", "type": "good.go"}, wait=True)
    place.call("flow.dispatch", event={"id": "other-2", "type": "bad.go"}, wait=True)
    place.call("flow.dispatch", event={"id": "release-10", "type": "nobody.go"})
    return place


def run_ids(place: Workspace) -> list[str]:
    return [run["id"] for run in reversed(place.call("flow.listRuns")["runs"])]


def test_a_run_is_named_by_any_unique_beginning_or_in_words(busy: Workspace) -> None:
    good, bad = run_ids(busy)
    for named in (bad, bad[:-4], bad[len("run_") :], bad[len("run_") : -5], "@last", "@failed", "bad/main"):
        assert bad in flowd_says(busy, "run", named), named
    assert good in flowd_says(busy, "run", "good/main")
    assert "beginning of several runs" in flowd_says(busy, "run", "run_", code=4)
    assert "run_zzz" in flowd_says(busy, "run", "run_zzz", code=4)
    assert "none/such" in flowd_says(busy, "run", "none/such", code=4)
    said = flowd_says(busy, "run", "other-2", code=4)
    assert "other-2 is an event" in said
    assert "cancel -w" in flowd_says(busy, "cancel", "other-2", code=4)
    assert "FLOW_RESULT" in flowd_says(busy, "logs", "release-1")
    assert "flowd runs" in said
    for verb in ("run", "logs", "retry"):
        told = flowd_says(busy, verb, "good", code=4)
        assert f"good is a flow, and this is about a run: `flowd runs -w {busy.path} --flow good` lists" in told, verb
    assert "Flow good has no step 'mian'. Did you mean 'main'?" in flowd_says(busy, "run", "good/mian", code=4)
    assert "There is no flow 'goood'. Did you mean 'good'?" in flowd_says(busy, "run", "goood/main", code=4)
    assert flowd_says(busy, "logs", "@last").strip() == ""
    assert len(busy.call("flow.getRun", runId=bad)["run"]["attempts"]) == 1
    flowd_says(busy, "retry", "@failed")
    assert len(busy.call("flow.waitRun", runId=bad, timeoutMs=50_000)["run"]["attempts"]) == 2


def test_a_step_to_retry_is_its_newest_run_that_has_had_an_attempt(busy: Workspace) -> None:
    _, bad = run_ids(busy)
    busy.call("flow.pause", flow="bad")
    (queued,) = busy.call("flow.dispatch", event={"id": "later", "type": "bad.go"})["runIds"]
    assert bad in flowd_says(busy, "retry", "bad/main")
    assert f"Run {bad} is queued" in flowd_says(busy, "retry", "bad/main", code=5)
    assert queued in flowd_says(busy, "run", "bad/main")
    busy.call("flow.resume", flow="bad")
    for run_id in (bad, queued):
        busy.call("flow.waitRun", runId=run_id, timeoutMs=50_000)
    assert queued in flowd_says(busy, "retry", "bad/main")


@pytest.mark.parametrize("words", [["other-2"], ["oth"], ["--event", "other-2", "--failed"], ["--event", "other-2"]])
def test_an_event_is_retried_by_what_failed_of_it(busy: Workspace, words: list[str]) -> None:
    _, bad = run_ids(busy)
    assert bad in flowd_says(busy, "retry", *words)
    assert len(busy.call("flow.waitRun", runId=bad, timeoutMs=50_000)["run"]["attempts"]) == 2


def test_an_event_is_named_by_any_unique_beginning_or_in_words(busy: Workspace) -> None:
    assert "other-2" in flowd_says(busy, "event", "oth")
    assert "release-1\n" in flowd_says(busy, "event", "release-1")  # itself, though another begins so
    assert "release-10" in flowd_says(busy, "event", "@last")
    assert "other-2" in flowd_says(busy, "event", "@failed")
    assert "beginning of several events: release-1, release-10" in flowd_says(busy, "event", "rel", code=4)
    assert "good" in flowd_says(busy, "runs", "--event", "release-1")
    assert "bad" in flowd_says(busy, "runs", "--event", "oth")


def test_a_shell_completes_in_the_workspace_around_it_without_being_told(
    busy: Workspace, monkeypatch: pytest.MonkeyPatch
) -> None:
    environ = {"_FLOWD_COMPLETE": "bash_complete", "COMP_WORDS": "flowd runs --flow g", "COMP_CWORD": "3"}
    for name, value in environ.items():
        monkeypatch.setenv(name, value)
    argv = [sys.executable, "-m", "flowd"]
    done = subprocess.run(argv, capture_output=True, text=True, cwd=busy.path, check=True, timeout=60)
    assert done.stdout == "plain,good\n"


def test_a_shell_completes_ids_flows_steps_and_statuses(busy: Workspace) -> None:
    good, bad = run_ids(busy)
    assert completed(busy, "run", good[:8]) == [good]
    assert completed(busy, "run", "go") == completed(busy, "retry", "good/") == ["good/main"]
    assert completed(busy, "run", "@") == ["@last", "@failed"]
    assert completed(busy, "event", "oth") == ["other-2"]
    assert completed(busy, "runs", "--flow", "g") == ["good"]
    assert completed(busy, "runs", "--flow", "good", "--step", "m") == ["main"]
    assert completed(busy, "runs", "--status", "ca") == ["canceled"]
    assert "dispatch" in completed(busy, "dis")
    assert busy.stop() == 0
    assert completed(busy, "run", bad[:8]) == []
