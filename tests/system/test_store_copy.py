"""``flowd store copy``: a workspace's history goes to a store that hosts share, whole, and back."""

import json
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

import postgres_rig
import pytest
from daemon_rig import Workspace, about_the_file, flowd, flowd_says, say, until

from flowd_client.errors import CallError

pytestmark = about_the_file

KEYED = '[steps.concurrency]\nkey = ["/payload/repo"]\n'
HELD = f'while [ ! -e "go-$CODEX_FLOW_EVENT_ID" ]; do sleep 0.02; done; echo x >> ran; {say("changed")}'
BIG = "seq -f 'line %09.0f' 20000; echo more >&2; " + say("completed")


@pytest.fixture
def store() -> Iterator[str]:
    """A shared store with nothing in it."""
    url = postgres_rig.workspace_store()
    yield url
    postgres_rig.drop(url)


def send(place: Workspace, event_id: str, flow: str, **payload: Any) -> str:
    (run_id,) = place.call("flow.dispatch", event={"id": event_id, "type": f"{flow}.go", "payload": payload})["runIds"]
    return str(run_id)


def lived_in(place: Workspace) -> dict[str, str]:
    """A workspace with a past of every kind, whose daemon is stopped. Run ids, by event."""
    place.flow("small", f"echo hello; {say('completed')}")
    place.flow("big", BIG)
    place.flow("bad", "exit 3")
    place.flow("ask", say("needs_intervention", message="Publish?"))
    place.flow("cause", say("changed", next=[{"type": "small.go", "payload": {"n": 1}}]))
    place.flow("later", f"echo x >> ran; {say('changed')}")
    place.flow("keyed", HELD, step=KEYED)
    place.flow("quiet", say("changed"), step="[steps.debounce]\nquiet_ms = 3_600_000\n")
    place.start()
    done = {event_id: send(place, event_id, event_id) for event_id in ("small", "big", "bad", "ask", "cause")}
    for run_id in done.values():
        assert not place.call("flow.waitRun", runId=run_id, timeoutMs=50_000)["timedOut"], place.log()
    until(
        lambda: place.call("daemon.status")["runs"] | {"queued": 0, "running": 0} == place.call("daemon.status")["runs"]
    )
    until(lambda: len(place.call("flow.listRuns", eventId=f"{done['cause']}:0")["runs"]) == 1)
    place.call("flow.pause", flow="later")
    done["later"] = send(place, "later", "later")
    for number in (1, 2):  # the second one's run is the one that is left
        done[f"quiet{number}"] = send(place, f"quiet{number}", "quiet")
    at = (datetime.now(UTC) + timedelta(hours=5)).isoformat()
    event = {"id": "hence", "type": "small.go", "payload": {}, "notBefore": at}
    (done["hence"],) = place.call("flow.dispatch", event=event)["runIds"]
    place.call("daemon.drain")
    done |= {event_id: send(place, event_id, "keyed", repo="a") for event_id in ("k1", "k2")}
    return done


def seen(place: Workspace) -> dict[str, Any]:
    """What people and programs see of it, but for where attempts ran, and for what may start at once."""
    queue = place.call("flow.queue")["runs"]
    return {
        "runs": [run for run in _plain(place.call("flow.listRuns", limit=100))["runs"] if run["eventId"] != "k1"],
        "tree": _plain(place.call("flow.getEvent", eventId="cause", tree=True)),
        "big": flowd_says(place, "logs", place.call("flow.listRuns", flow="big")["runs"][0]["id"]),
        "queue": [_plain(run) for run in queue if run["run"]["eventId"] not in ("k1", "k2")],
        "attention": _plain(place.call("flow.attention")),
    }


def _plain(view: Any) -> Any:
    if isinstance(view, dict):
        return {name: _plain(value) for name, value in view.items() if name != "host"}
    return [_plain(each) for each in view] if isinstance(view, list) else view


def test_a_store_goes_over_whole_and_back_and_what_waits_goes_on(place: Workspace, store: str) -> None:
    ids = lived_in(place)
    before = seen(place)
    last = place.call("flow.listRuns")["runs"][0]["id"]
    assert place.stop() == 0

    place.store = store
    dry = json.loads(flowd_says(place, "store", "copy", "--dry-run", "--json"))
    assert (dry["events"], dry["runs"], dry["waiting"], dry["outputs"]) == (12, 12, 5, 1)
    said = json.loads(flowd(place, "store", "copy", "--json").stdout)
    assert said["rows"] == dry["rows"]
    assert said["rows"]["journal"] > 20
    again = flowd(place, "store", "copy")
    assert (again.returncode, "it has 12 events" in again.stderr) == (5, True), again.stderr

    place.start(FLOWD_HOST="anna")
    assert seen(place) == before
    assert place.call("flow.listRuns")["runs"][0]["id"] == last
    assert {a["host"] for run in place.call("flow.listRuns", host="anna")["runs"] for a in run["attempts"]} == {"anna"}
    # k1 has the key, and k2 waits for it: each runs once.
    assert place.call("flow.getRun", runId=ids["k2"])["run"]["waitingFor"] is not None
    for event_id in ("k1", "k2"):
        (place.path / "flows/keyed" / f"go-{event_id}").touch()
    place.call("flow.resume", flow="later")
    for event_id in ("k1", "k2", "later"):
        assert place.call("flow.waitRun", runId=ids[event_id], timeoutMs=50_000)["run"]["effectiveStatus"] == "changed"
    assert (place.path / "flows/keyed/ran").read_text() == "x\nx\n"
    # Numbers go on after those that were copied.
    with pytest.raises(CallError):
        place.call("flow.getEvent", eventId="none")
    new = send(place, "new", "small")
    assert place.call("flow.waitRun", runId=new, timeoutMs=50_000)["run"]["effectiveStatus"] == "completed"
    now = seen(place)
    running = flowd(place, "store", "copy", "--back")
    assert (running.returncode, "serves this workspace" in running.stderr) == (5, True), running.stderr
    assert place.stop() == 0

    kept = flowd(place, "store", "copy", "--back")
    assert (kept.returncode, "--replace" in kept.stderr) == (5, True), kept.stderr
    back = json.loads(flowd_says(place, "store", "copy", "--back", "--replace", "--json"))
    assert (back["events"], back["outputs"]) == (13, 1)
    place.store = None
    place.start()
    assert seen(place) == now
    assert place.call("daemon.status")["runs"]["queued"] == 2
    # One more event comes to the same burst.
    third = send(place, "quiet3", "quiet")
    assert place.call("flow.getRun", runId=ids["quiet2"])["run"]["reason"] == "superseded"
    assert place.call("flow.getRun", runId=third)["run"]["waitingFor"]["why"] == "debounce"


def test_running_runs_and_daemons_are_refused(place: Workspace, store: str) -> None:
    place.flow("held", HELD)
    place.start(FLOWD_ON_STOP="keep")
    send(place, "e", "held")
    until(lambda: place.call("daemon.status")["runs"]["running"] == 1)
    assert place.stop() == 0
    place.store = store
    done = flowd(place, "store", "copy")
    assert (done.returncode, "1 run is running" in done.stderr) == (5, True), done.stderr
    place.store = None
    (place.path / "flows/held/go-e").touch()
    place.start()
    until(lambda: place.call("daemon.status")["runs"]["completed"] == 1)
    assert place.stop() == 0
    place.store = store
    assert flowd(place, "store", "copy").returncode == 0
