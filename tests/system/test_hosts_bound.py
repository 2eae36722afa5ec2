"""A run whose round has its folder on a host that is not there: it is told so, and not that it waits for a place."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import postgres_rig
import pytest
from daemon_rig import flowd_says, say, until
from hosts_rig import Hosts, dispatch, ended, run_of, two_hosts


@pytest.fixture
def hosts(tmp_path: Path) -> Iterator[Hosts]:
    """Two hosts that are not started yet."""
    with two_hosts(postgres_rig.DATABASE.address(tmp_path)) as made:
        yield made


def round_with_a_folder(hosts: Hosts, go: Path) -> None:
    """Two steps with a folder, the first one on bert alone."""
    for place in hosts.places.values():
        folder = place.flow(
            "round", f"while [ ! -e {go} ]; do sleep 0.02; done; {say('changed')}", top="round_dir = true",
            step='runs_on = ["host:bert"]',
        )  # fmt: skip
        with (folder / "flow.toml").open("a") as manifest:
            manifest.write('[[steps]]\nname = "then"\nrunner = "exec"\nscript = "then.sh"\nneeds = ["main"]\n')
        (folder / "then.sh").write_text(f"#!/bin/sh\n{say('changed')}\n")
        (folder / "then.sh").chmod(0o755)


def again(hosts: Hosts, event_id: str) -> str | None:
    """What sending an event again warns of."""
    event = {"id": event_id, "type": "round.go", "payload": {}}
    warning: str | None = hosts["anna"].call("flow.dispatch", event=event).get("warning")
    return warning


def test_a_run_that_is_bound_to_a_host_that_is_away_waits_for_that_host(hosts: Hosts, tmp_path: Path) -> None:
    go = tmp_path / "go"
    round_with_a_folder(hosts, go)
    hosts.start()
    anna, bert = hosts["anna"], hosts["bert"]
    until(lambda: able(hosts) == {"main": ["bert"], "then": ["anna", "bert"]}, what="both to be counted")
    assert "on host anna or bert" in flowd_says(anna, "explain", "--type", "round.go")
    run_ids = anna.call("flow.dispatch", event={"id": "e", "type": "round.go", "payload": {}})["runIds"]
    until(lambda: run_of(anna, run_ids[0])["status"] == "running", what="the first step to begin")
    anna.call("host.drain", host="bert")
    until(lambda: bert.call("daemon.status")["state"] == "draining", what="bert to hear of it")
    go.touch()
    assert ended(anna, run_ids[0])["effectiveStatus"] == "changed"
    wait = {"host": {"labels": [], "hosts": 0, "name": "bert"}}
    until(lambda: run_of(anna, run_ids[1])["waitingFor"] == wait, what="anna to have counted who starts it")
    draining = "Step round/then matches, but every host that can run it is draining"
    assert (again(hosts, "e") or "").startswith(draining)
    until(lambda: unserved(hosts) == {"draining": 1}, what="the run to be counted")
    assert bert.stop() == 0
    gone = "Step round/then matches, but host bert, which has the folder of its round, is not there to start it"
    until(lambda: (again(hosts, "e") or "").startswith(gone), what="anna to hear that bert is gone")
    assert run_of(anna, run_ids[1])["waitingFor"] == wait
    until(lambda: unserved(hosts) == {"folder": 1}, what="the run to be counted anew")
    event = {"id": "e", "type": "round.go", "payload": {}}
    (told,) = anna.call("flow.dispatch", event=event)["unserved"]
    assert (told["runId"], told["unserved"], told["name"], told["hosts"]) == (run_ids[1], "folder", "bert", 0)
    assert "waits for host bert, which has the folder of its round" in flowd_says(anna, "queue")
    # Others of the step are not bound to it.
    assert again(hosts, "other") == (
        "Step round/main matches, but this host has no label host:bert, so its runs wait for one that has ([host] "
        "labels, or FLOWD_LABELS)."
    )
    until(lambda: unserved(hosts) == {"folder": 1, "labels": 1}, what="the other one to be counted")
    assert "1 run" not in flowd_says(anna, "hosts", "forget", "bert")
    assert ended(anna, run_ids[1])["attempts"][-1]["host"] == "anna"
    hosts.stop()


def unserved(hosts: Hosts) -> dict[str, int]:
    """How many runs no host starts, by why, as anna's metrics have it."""
    told = hosts["anna"].call("daemon.status", metrics=True)["metrics"]["flowd_queue_unserved"]
    return {one["labels"]["why"]: one["value"] for one in told if one["value"]}


def able(hosts: Hosts) -> dict[str, Any]:
    """The hosts that can run each step."""
    steps = hosts["anna"].call("flow.explain", event={"id": "e", "type": "round.go", "payload": {}})["steps"]
    return {step["step"]: step.get("hostNames") for step in steps}


def test_what_is_in_the_environment_of_a_step_grows_with_each_attempt_over_hosts(hosts: Hosts, tmp_path: Path) -> None:
    said = tmp_path / "said"
    hosts.flow("work", f'echo "$FLOWD_FENCE" >> {said}; test "$FLOWD_ATTEMPT" = 2 || exit 1; {say("changed")}')
    hosts.start("anna")
    run_id = dispatch(hosts["anna"], "e", "work")
    assert ended(hosts["anna"], run_id)["effectiveStatus"] == "failed"
    assert hosts["anna"].stop() == 0
    hosts.start("bert")
    hosts["bert"].call("flow.retryRun", runId=run_id)
    run = ended(hosts["bert"], run_id)
    assert [attempt["host"] for attempt in run["attempts"]] == ["anna", "bert"]
    first, second = map(int, said.read_text().split())
    assert 0 < first < second
    hosts.stop()
