"""What starts later, with real daemons: over kills, in the queue, and as the command line says it."""

import json
import subprocess
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from command_copy import run_flowd
from daemon_rig import Workspace, until

from flowd_client.errors import FlowClientError

QUICK = 'echo \'FLOW_RESULT {"status":"changed"}\''


def runs_of(place: Workspace, event: str) -> dict[str, dict[str, Any]]:
    """The runs of an event by the names of their steps."""
    return {run["stepName"]: run for run in place.call("flow.getEvent", eventId=event)["event"]["runs"]}


def dispatch(place: Workspace, event: str, **members: object) -> None:
    place.call("flow.dispatch", event={"id": event, "type": f"{event}.go", **members})


def said(place: Workspace, *words: str) -> subprocess.CompletedProcess[str]:
    return run_flowd(*words, "-w", place.path)


def test_what_waits_for_its_time_waits_on_over_a_kill(place: Workspace) -> None:
    place.flow("soon", QUICK, step="delay_ms = 1500")
    place.flow("never", QUICK, step="delay_ms = 86400000")
    place.start()
    dispatch(place, "soon")
    dispatch(place, "never")
    with pytest.raises(FlowClientError, match="more than a year ahead"):
        dispatch(place, "never", id="far", notBefore="2999-01-01T00:00:00Z")
    before = runs_of(place, "never")["main"]["waitingFor"]
    assert before["why"] == "delay"
    place.kill()
    place.start()
    assert runs_of(place, "never")["main"]["waitingFor"] == before
    until(lambda: runs_of(place, "soon")["main"]["effectiveStatus"] == "changed")


def test_a_run_that_no_place_comes_for_fails_and_what_asks_for_that_follows(place: Workspace) -> None:
    place.flow("long", "exec sleep 600")
    folder = place.flow("hasty", QUICK, step="queue_timeout_ms = 300")
    with (folder / "flow.toml").open("a") as manifest:
        manifest.write(
            '[[steps]]\nname = "after"\nrunner = "exec"\nscript = "main.sh"\nneeds = ["main"]\nwhen = "failure"\n'
        )
    place.start(FLOWD_MAX_PARALLEL="1")
    dispatch(place, "long")
    until(lambda: runs_of(place, "long")["main"]["status"] == "running")
    dispatch(place, "hasty")
    until(lambda: runs_of(place, "hasty")["main"]["status"] == "failed")  # though no place has become free
    runs = runs_of(place, "hasty")
    assert (runs["main"]["reason"], runs["main"]["attemptCount"]) == ("queue_timeout", 0)
    assert "waited 300 ms for its turn" in runs["main"]["error"]
    assert runs["after"]["waitingFor"] == {"place": 1}
    place.call("flow.cancelEvent", eventId="long")
    until(lambda: runs_of(place, "hasty")["after"]["effectiveStatus"] == "changed")


def test_fire_keeps_delays_and_waits_for_no_instant(place: Workspace) -> None:
    place.flow("soon", QUICK, step="delay_ms = 300")
    event = place.path / "event.json"
    event.write_text('{"id": "e", "type": "soon.go", "notBefore": "2999-01-01T00:00:00Z"}')
    assert "more than a year ahead" in said(place, "fire", str(event)).stderr
    later = (datetime.now(UTC) + timedelta(days=2)).isoformat()
    event.write_text(json.dumps({"id": "e", "type": "soon.go", "notBefore": later}))
    fired = said(place, "fire", str(event))
    assert (fired.returncode, json.loads(fired.stdout)["results"][0]["result"]["status"]) == (0, "changed")
    assert "notBefore is not waited for here" in fired.stderr


def test_the_command_line_says_when_and_why(place: Workspace) -> None:
    place.flow("tidy", QUICK, step="[steps.debounce]\nquiet_ms = 60000\nmax_ms = 3600000")
    place.flow("late", QUICK)
    place.start()
    assert said(place, "dispatch", "--type", "tidy.go").returncode == 0
    assert said(place, "dispatch", "--type", "late.go", "--in", "400d").returncode == 2
    assert said(place, "dispatch", "--type", "late.go", "--in", "30d").returncode == 0
    queue = said(place, "queue").stdout
    assert "of quiet" in queue
    assert "starts at 20" in queue
    assert "after 60 s of quiet or 1 h" in said(place, "flows", "tidy").stdout
    assert "matched; after 60 s of quiet or 1 h" in said(place, "explain", "--type", "tidy.go").stdout
    twice = said(place, "dispatch", "--type", "late.go", "--in", "1h", "--not-before", "2030-01-01")
    assert twice.returncode == 2
    assert "two ways to say one thing" in twice.stderr
    assert said(place, "dispatch", "--type", "late.go", "--not-before", "noon").returncode == 2
