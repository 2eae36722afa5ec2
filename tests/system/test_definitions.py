"""Packages are edited, removed and put back while runs wait: each attempt has the definition in force at its start."""

import re
import shutil

from daemon_rig import Workspace, flowd_says, say, until

from flowd_client import wire

HOLD = f"while [ ! -e go ]; do sleep 0.02; done; {say('changed')}"


def dispatch(place: Workspace, event_id: str, flow: str) -> str:
    (run_id,) = place.call("flow.dispatch", event={"id": event_id, "type": f"{flow}.go", "payload": {}})["runIds"]
    return str(run_id)


def run(place: Workspace, run_id: str) -> dict[str, object]:
    found: dict[str, object] = place.call("flow.getRun", runId=run_id)["run"]
    return found


def package_hash(place: Workspace, flow: str) -> str:
    (found,) = [one for one in place.call("flow.listFlows")["flows"] if one["name"] == flow]
    return str(found["packageHash"])


def hold(place: Workspace) -> str:
    """Start the daemon, and take its only place until `let_go`."""
    place.flow("hold", HOLD)
    place.flow("work", "exit 3")
    place.start(FLOWD_MAX_PARALLEL="1")
    return dispatch(place, "hold", "hold")


def let_go(place: Workspace) -> None:
    (place.path / "flows/hold/go").touch()


def test_a_queued_run_starts_with_the_definition_in_force_then_and_shows_it(place: Workspace) -> None:
    hold(place)
    run_id = dispatch(place, "e1", "work")
    matched = package_hash(place, "work")
    assert run(place, run_id)["packageHash"] == matched
    place.flow("work", say("changed"), step="timeout_ms = 4000")
    place.call(wire.RELOAD)
    edited = package_hash(place, "work")
    assert edited != matched
    let_go(place)
    ended = place.call("flow.waitRun", runId=run_id, timeoutMs=50_000)["run"]
    assert (ended["effectiveStatus"], ended["packageHash"]) == ("changed", edited)
    assert [attempt["packageHash"] for attempt in ended["attempts"]] == [edited]
    assert "waitingFor" not in ended
    assert place.stop() == 0


def test_a_run_whose_package_is_gone_waits_for_it_over_a_restart_and_holds_up_nobody(place: Workspace) -> None:
    holder = hold(place)
    first, second = dispatch(place, "e1", "work"), dispatch(place, "e2", "hold")
    shutil.move(place.path / "flows/work", place.path / "aside")
    place.call(wire.RELOAD)
    gone: dict[str, object] = {"package": "work"}
    bound_s = 0.0
    if place.store is None:
        assert run(place, first)["waitingFor"] == {"place": 1}  # like the other, behind it
    else:
        gone = {"host": {"labels": [], "hosts": 0}}  # another one may have it
        bound_s = 30.0  # until it is known which have what
    let_go(place)
    for run_id in (holder, second):
        assert place.call("flow.waitRun", runId=run_id, timeoutMs=50_000)["run"]["effectiveStatus"] == "changed"
    until(lambda: run(place, first)["waitingFor"] == gone, bound_s=bound_s, what="its wait")
    place.kill()
    place.start(FLOWD_MAX_PARALLEL="1")
    until(lambda: run(place, first)["waitingFor"] == gone, bound_s=bound_s, what="its wait")
    shutil.move(place.path / "aside", place.path / "flows/work")
    ended = place.call("flow.waitRun", runId=first, timeoutMs=50_000)["run"]
    assert (ended["status"], ended["exitCode"]) == ("failed", 3)
    assert place.stop() == 0


def test_a_retry_that_waits_says_until_when_and_starts_with_what_is_in_force_then(place: Workspace) -> None:
    policy = 'go"\n[steps.retry]\nmax_attempts = 2\ndelay_ms = 60000 # "'
    place.flow("work", "exit 3", trigger=f"work.{policy}")
    place.start()
    run_id = dispatch(place, "e1", "work")
    until(lambda: "until" in run(place, run_id).get("waitingFor", {}), what="a retry that waits")
    waiting = run(place, run_id)["waitingFor"]
    assert waiting["why"] == "retry"
    assert waiting["until"] > run(place, run_id)["updatedAt"]
    place.call("flow.cancelRun", runId=run_id)
    assert "waitingFor" not in run(place, run_id)
    place.flow("work", say("changed"))
    place.call(wire.RELOAD)
    place.call("flow.retryRun", runId=run_id)
    ended = place.call("flow.waitRun", runId=run_id, timeoutMs=50_000)["run"]
    assert (ended["effectiveStatus"], ended["attemptCount"]) == ("changed", 2)
    first, last = (attempt["packageHash"] for attempt in ended["attempts"])
    assert first != last == ended["packageHash"]
    assert place.stop() == 0


def test_cancel_waits_by_the_grace_that_the_step_was_started_with(place: Workspace) -> None:
    stubborn = "trap '' TERM; touch $PWD/started; sleep 100 & wait; sleep 100"
    place.flow("work", stubborn, step="grace_ms = 4000")
    place.start()
    run_id = dispatch(place, "e1", "work")
    until((place.path / "flows/work/started").exists, what="the step's start")
    place.flow("work", stubborn, step="grace_ms = 1")
    place.call(wire.RELOAD)
    assert place.call("flow.cancelRun", runId=run_id)["run"]["status"] == "canceled"
    assert place.stop() == 0


def test_two_queued_runs_show_the_files_that_each_of_them_ran(place: Workspace) -> None:
    hold(place)
    folder = place.flow("work", f". ./lib.sh; {say('changed')}")
    (folder / "lib.sh").write_text("echo one; echo waiting > started; while [ ! -e go ]; do sleep 0.02; done\n")
    place.call(wire.RELOAD)
    runs = [dispatch(place, event_id, "work") for event_id in ("e1", "e2")]
    let_go(place)
    until((folder / "started").exists, what="the first run")
    (folder / "lib.sh").write_text("echo two\n")
    (folder / "go").touch()
    ended = [place.call("flow.waitRun", runId=run_id, timeoutMs=50_000)["run"] for run_id in runs]
    assert ["one" in str(ended[0]["output"]), "two" in str(ended[1]["output"])] == [True, True]
    assert ended[0]["packageHash"] != ended[1]["packageHash"]
    for one in ended:
        assert [attempt["packageHash"] for attempt in one["attempts"]] == [one["packageHash"]]
    assert place.stop() == 0


def test_what_a_run_was_made_with_is_told_also_after_an_edit(place: Workspace) -> None:
    step = (
        'args = ["--fast", { pointer = "/payload/tag" }]\n'
        '[steps.env]\nMODE = "nobody else may read this"\n'
        '[steps.retry]\nmax_attempts = 2\non = ["timeout"]\n[steps.limits]\nopen_files = 64'
    )
    folder = place.flow("work", say("changed"), step=step)
    place.start()
    event = {"id": "e1", "type": "work.go", "payload": {"tag": "v1"}}
    run_id = place.call("flow.dispatch", event=event, wait=True)["runIds"][0]
    made_with = package_hash(place, "work")
    place.flow("work", say("skipped"), step="timeout_ms = 4000")
    place.call(wire.RELOAD)
    told = place.call("flow.getRun", runId=run_id, definition=True)["run"]
    assert told["effectiveStatus"] == "changed"
    definition = told["definition"]
    assert (definition["root"], definition["packageHash"]) == (str(folder), made_with)
    assert definition["args"] == ["--fast", {"pointer": "/payload/tag"}]
    assert definition["env"] == ["MODE"]
    assert definition["retry"]["on"] == ["timeout"]
    assert definition["limits"] == {"openFiles": 64}
    assert "nobody else" not in str(told)
    assert "definition" not in run(place, run_id)
    shown = flowd_says(place, "run", run_id, "--definition")
    assert re.search(r"script +main\.sh", shown)
    assert "--fast" in shown
    assert "script" not in flowd_says(place, "run", run_id)
    assert place.stop() == 0
