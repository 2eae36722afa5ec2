"""People hold up flows and let them go, look at the queue, and change how many runs are under way at once."""

from typing import Any

import pytest
from daemon_rig import Workspace, flowd, flowd_says, say, until, workspace

from flowd_client import NotFoundError, ResumedView, create_flow_client

BLOCK = f"while [ ! -e ../../go ]; do sleep 0.05; done; {say('changed')}"


def send(place: Workspace, flow: str, event_id: str) -> str:
    """An event for a flow; its run's id."""
    run_ids = place.call("flow.dispatch", event={"id": event_id, "type": f"{flow}.go"})["runIds"]
    return str(run_ids[0])


def run_of(place: Workspace, run_id: str) -> dict[str, Any]:
    view: dict[str, Any] = place.call("flow.getRun", runId=run_id)["run"]
    return view


def test_a_paused_flow_accepts_and_waits_over_a_restart_while_others_run() -> None:
    with workspace() as place:
        place.flow("held", say("changed"))
        place.flow("free", say("changed"))
        place.start()
        paused = flowd(place, "pause", "held/main")
        assert paused.returncode == 0
        assert paused.stdout.startswith("held/main is paused, by ")
        for what, why in (("none", "Unknown flow: none"), ("held/none", "has no step none"), ("/x", "names no flow")):
            refused = flowd(place, "pause", what)
            assert (refused.returncode, why in refused.stderr) == (2 if what == "/x" else 4, True)
        held = send(place, "held", "a")
        assert run_of(place, held)["waitingFor"] == {"pause": "held/main"}
        place.kill()
        place.start()
        assert place.call("flow.waitRun", runId=send(place, "free", "b"))["run"]["effectiveStatus"] == "changed"
        assert run_of(place, held)["waitingFor"] == {"pause": "held/main"}
        shown = flowd(place, "queue").stdout
        assert "held/main is paused, by " in shown
        assert "paused with held/main" in shown
        assert "paused with held/main" in flowd(place, "runs", "--status", "queued").stdout
        assert flowd(place, "resume", "held").stdout == "held was not paused\n"
        assert flowd(place, "resume", "none").returncode == 4
        assert flowd(place, "resume", "held/main").stdout == "1 run starts\n"
        assert place.call("flow.waitRun", runId=held)["run"]["effectiveStatus"] == "changed"
        assert place.call("flow.queue") == {"runs": [], "ready": 0, "waiting": 0, "pauses": []}


def test_pausing_all_takes_back_what_is_ready_and_leaves_what_runs() -> None:
    with workspace() as place:
        place.flow("block", BLOCK)
        place.start(FLOWD_MAX_PARALLEL="1")
        running, ready = send(place, "block", "a"), send(place, "block", "b")
        until(lambda: run_of(place, running)["status"] == "running")
        assert run_of(place, ready)["waitingFor"] == {"place": 1}
        with place.client() as client:
            taken = client.pause()
            assert (taken.pause.what, taken.runs) == ("*", 1)
            assert client.pause().pause == taken.pause
            assert [entry.run.id for entry in client.queue()] == [ready]
            assert client.queue().pauses == (taken.pause,)
            with pytest.raises(NotFoundError):
                client.pause("none")
            (place.path / "go").touch()
            assert client.wait_run(running).effective_status == "changed"
            assert client.get_run(ready).waiting_for == {"pause": "*"}
            assert client.resume() == ResumedView("*", was_paused=True, runs=1)
            assert client.wait_run(ready).effective_status == "changed"
            assert client.resume() == ResumedView("*", was_paused=False, runs=0)
        assert flowd(place, "resume").stdout == "no run waits for this\n"


def test_places_can_be_added_at_once() -> None:
    with workspace() as place:
        place.flow("block", BLOCK)
        place.start(FLOWD_MAX_PARALLEL="1")
        runs = [send(place, "block", name) for name in "abc"]
        assert [one["run"]["waitingFor"] for one in place.call("flow.queue")["runs"]] == [{"place": 1}, {"place": 2}]
        assert flowd(place, "parallel", "2").stdout.startswith("at most 2 at once; ")
        until(lambda: run_of(place, runs[1])["status"] == "running")
        assert run_of(place, runs[2])["waitingFor"] == {"place": 1}
        assert place.call("daemon.status")["limits"]["maxParallel"] == 2
        (place.path / "go").touch()
        assert place.call("flow.waitRun", runId=runs[2])["run"]["effectiveStatus"] == "changed"


def test_a_subscriber_hears_of_it_when_a_run_is_paused_and_let_go() -> None:
    with workspace() as place:
        place.flow("block", BLOCK)
        place.start(FLOWD_MAX_PARALLEL="1")
        send(place, "block", "a")
        ready = send(place, "block", "b")
        with place.client() as client, client.subscribe(run_id=ready) as updates:
            client.pause("block")
            paused = next(updates)
            assert paused.run is not None
            assert (paused.status, paused.run.waiting_for) == ("queued", {"pause": "block"})
            client.resume("block")
            free = next(updates)
            assert free.run is not None
            assert free.status == "queued"
            assert free.run.waiting_for is None or "pause" not in free.run.waiting_for
            (place.path / "go").touch()


def test_a_local_client_pauses_too(tmp_path: Any) -> None:
    Workspace(tmp_path).flow("held", say("changed"))
    with create_flow_client(mode="local", workspace=tmp_path, state="memory") as client:
        client.pause("held")
        run = client.dispatch_event({"id": "e", "type": "held.go"}).runs[0]
        assert run.waiting_for == {"pause": "held"}
        assert client.resume("held").runs == 1
        assert client.wait_run(run.id).effective_status == "changed"


def test_what_is_paused_under_another_name_is_told() -> None:
    with workspace() as place:
        place.flow("block", BLOCK)
        place.start()
        place.call("flow.pause", flow="block", step="main")
        assert "block/main is paused, by " in flowd_says(place, "flows", "block")
        for words in ((), ("block",)):
            told = flowd_says(place, "resume", *words)
            assert "block/main is paused, by " in told
            assert "`flowd resume block/main" in told
        assert "block/main" not in flowd_says(place, "resume", "block/main")
        assert "nothing is paused" in flowd_says(place, "resume")
