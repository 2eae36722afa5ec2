"""Hosts that share a store: two daemons, each with packages and a state folder of its own, and one PostgreSQL."""

import os
import signal
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import postgres_rig
import psutil
import pytest
from daemon_rig import Workspace, say, until
from hosts_rig import Hosts, dispatch, ended, run_of, two_hosts

from flowd_client.errors import CallError


@pytest.fixture
def hosts(tmp_path: Path) -> Iterator[Hosts]:
    """Two hosts that are not started yet."""
    address = postgres_rig.DATABASE.address(tmp_path)
    with two_hosts(address) as found:
        yield found


def host_of(hosts: Hosts, run: dict[str, Any]) -> str:
    """On which host its last attempt ran, by where that was, and as its view says."""
    attempt = run["attempts"][-1]
    assert attempt["cwd"].startswith(str(hosts[attempt["host"]].path))
    return str(attempt["host"])


def explained(place: Workspace) -> list[dict[str, Any]]:
    """What each step says to an event."""
    found: list[dict[str, Any]] = place.call("flow.explain", event={"id": "e", "type": "near.go", "payload": {}})[
        "steps"
    ]
    return found


def test_a_run_starts_where_its_step_may_run_and_is_waited_for_everywhere(hosts: Hosts) -> None:
    hosts.flow("far", say("changed"), step='runs_on = ["gpu"]')
    hosts.flow("away", say("changed"), on="bert")
    hosts.start("anna")
    hosts.start("bert", FLOWD_LABELS="gpu")
    run_id = dispatch(hosts["anna"], "e1", "far")
    for place in hosts.places.values():
        assert ended(place, run_id)["effectiveStatus"] == "changed"
    assert host_of(hosts, run_of(hosts["anna"], run_id)) == "bert"
    # Who asks has never seen this step.
    run_id = dispatch(hosts["bert"], "e2", "away")
    assert ended(hosts["anna"], run_id)["effectiveStatus"] == "changed"
    hosts.stop()


def test_runs_that_one_host_cannot_start_hold_up_nobody(hosts: Hosts) -> None:
    hosts.flow("far", say("changed"), step='runs_on = ["gpu"]\npriority = 5')
    hosts.flow("near", say("changed"))
    hosts.start(FLOWD_MAX_PARALLEL="2")
    waiting = [dispatch(hosts["anna"], f"far-{number}", "far") for number in range(20)]
    for place in hosts.places.values():
        assert ended(place, dispatch(place, f"near-{place.path.name}", "near"))["effectiveStatus"] == "changed"
    wait = {"host": {"labels": ["gpu"], "hosts": 0}}
    for place in hosts.places.values():
        until(
            lambda place=place: run_of(place, waiting[0])["waitingFor"] == wait,
            bound_s=60,
            what="a run that no host can start",
        )
    assert {run_of(hosts["bert"], run_id)["status"] for run_id in waiting} == {"queued"}
    assert [step["hosts"] for step in explained(hosts["bert"])] == [0, 2]
    assert hosts["anna"].stop() == 0
    hosts.start("anna", FLOWD_LABELS="gpu")
    until(
        lambda: [step["hosts"] for step in explained(hosts["bert"])] == [1, 2],
        bound_s=60,
        what="a host that can start them",
    )
    for run_id in waiting:
        assert ended(hosts["bert"], run_id)["effectiveStatus"] == "changed"
    hosts.stop()


def test_each_run_begins_once_and_both_hosts_take_their_share(hosts: Hosts, tmp_path: Path) -> None:
    begun, go = tmp_path / "begun", tmp_path / "go"
    hosts.flow(
        "work", f"echo $FLOWD_RUN_ID $PWD >> {begun}; while [ ! -e {go} ]; do sleep 0.02; done; {say('changed')}"
    )
    hosts.start(FLOWD_MAX_PARALLEL="2")
    runs = [dispatch(hosts["anna"], f"e{number}", "work") for number in range(30)]
    until(lambda: begun.exists() and len(begun.read_text().split()) == 8, bound_s=60, what="four places that are taken")
    folders = [line.split()[1] for line in begun.read_text().splitlines()]
    assert sorted(sum(folder.startswith(str(place.path)) for folder in folders) for place in hosts.places.values()) == [
        2,
        2,
    ]
    go.touch()
    for run_id in runs:
        assert ended(hosts["bert"], run_id)["effectiveStatus"] == "changed"
    assert sorted(line.split()[0] for line in begun.read_text().splitlines()) == sorted(runs)
    hosts.stop()


def test_a_run_is_canceled_from_another_host(hosts: Hosts) -> None:
    hosts.flow("long", "echo $$ > pid; exec sleep 600", on="bert", step="grace_ms = 500")
    hosts.start()
    run_id = dispatch(hosts["bert"], "e1", "long")
    until(lambda: run_of(hosts["anna"], run_id)["status"] == "running", what="a run that goes on")
    hosts["anna"].call("flow.cancelRun", runId=run_id)
    run = ended(hosts["anna"], run_id)
    assert (run["status"], run["reason"]) == ("canceled", "canceled")
    again = hosts["anna"].call("flow.retryRun", runId=run_id)["run"]
    assert again["status"] in ("queued", "running")  # no wish of before ends it
    until(lambda: run_of(hosts["anna"], run_id)["status"] == "running", what="another attempt")
    hosts["bert"].call("flow.cancelRun", runId=run_id)
    assert ended(hosts["anna"], run_id)["attemptCount"] == 2
    hosts.stop()


def test_a_daemon_that_comes_back_within_the_lease_goes_on_with_its_steps(hosts: Hosts, tmp_path: Path) -> None:
    go = tmp_path / "go"
    hosts.flow("work", f"while [ ! -e {go} ]; do sleep 0.02; done; {say('changed')}; exit 0", on="bert")
    hosts.start()
    run_id = dispatch(hosts["bert"], "e1", "work")
    until(lambda: run_of(hosts["anna"], run_id)["status"] == "running", what="a run that goes on")
    hosts["bert"].kill()
    hosts.start("bert")
    go.touch()
    run = ended(hosts["anna"], run_id)
    assert (run["effectiveStatus"], run["attemptCount"], run["exitCode"]) == ("changed", 1, 0)
    hosts.stop()


def test_a_second_host_of_a_name_is_not_let_in_while_the_first_lives(hosts: Hosts) -> None:
    hosts.start("anna")
    place = hosts["bert"]
    with pytest.raises(AssertionError, match="There is a host anna already"):
        place.start(FLOWD_STORE=hosts.address, FLOWD_HOST="anna")
    assert place.process is not None
    assert place.process.wait(60) == 75
    hosts.stop()


def test_steps_that_share_a_folder_run_on_one_host(hosts: Hosts, tmp_path: Path) -> None:
    go = tmp_path / "go"
    steps = {
        "make": f"echo made > $FLOWD_ROUND_DIR/it; while [ ! -e {go} ]; do sleep 0.02; done",
        "left": "cp $FLOWD_ROUND_DIR/it $FLOWD_ROUND_DIR/left",
        "right": "cp $FLOWD_ROUND_DIR/it $FLOWD_ROUND_DIR/right",
        "join": "cat $FLOWD_ROUND_DIR/left $FLOWD_ROUND_DIR/right",
    }
    needs = {"left": ["make"], "right": ["make"], "join": ["left", "right"]}
    for place in hosts.places.values():
        folder = place.flow("round", "", top="round_dir = true")
        manifest = 'name = "round"\nversion = 1\nround_dir = true\n'
        for name, script in steps.items():
            (folder / f"{name}.sh").write_text(f"#!/bin/sh\nset -e\n{script}\n{say('changed')}\n")
            (folder / f"{name}.sh").chmod(0o755)
            manifest += f'[[steps]]\nname = "{name}"\nrunner = "exec"\nscript = "{name}.sh"\n'
            manifest += f"needs = {needs[name]}\n" if name in needs else '[steps.trigger]\ntype = "round.go"\n'
        (folder / "flow.toml").write_text(manifest)
    hosts.start(FLOWD_MAX_PARALLEL="1")
    rounds = [
        hosts["anna"].call("flow.dispatch", event={"id": f"e{number}", "type": "round.go", "payload": {}})["runIds"]
        for number in range(2)
    ]
    until(lambda: all(run_of(hosts["bert"], ids[0])["status"] == "running" for ids in rounds), what="both that begin")
    go.touch()
    for ids in rounds:
        runs = [ended(hosts["bert"], run_id) for run_id in ids]
        assert [run["effectiveStatus"] for run in runs] == ["changed"] * 4
        assert len({host_of(hosts, run) for run in runs}) == 1
    assert {host_of(hosts, run_of(hosts["anna"], ids[0])) for ids in rounds} == {"anna", "bert"}
    hosts.stop()


def test_an_event_that_is_sent_to_both_hosts_at_once_is_accepted_once(hosts: Hosts, tmp_path: Path) -> None:
    begun = tmp_path / "begun"
    hosts.flow("work", f"echo $FLOWD_RUN_ID >> {begun}; {say('changed')}")
    hosts.start()

    def send(number: int) -> dict[str, Any]:
        place = list(hosts.places.values())[number % 2]
        event = {"id": f"e{number // 10}", "type": "work.go", "payload": {}}
        found: dict[str, Any] = place.call("flow.dispatch", event=event)
        return found

    with ThreadPoolExecutor(10) as pool:
        answers = list(pool.map(send, range(50)))
    assert sum(answer["status"] == "accepted" for answer in answers) == 5
    runs = {run_id for answer in answers for run_id in answer["runIds"]}
    assert len(runs) == 5
    for run_id in runs:
        assert ended(hosts["anna"], run_id)["attemptCount"] == 1
    assert sorted(begun.read_text().split()) == sorted(runs)
    hosts.stop()


def test_a_server_that_is_away_for_a_while_ends_nothing(hosts: Hosts, tmp_path: Path) -> None:
    go = tmp_path / "go"
    hosts.flow("work", f"while [ ! -e {go} ]; do sleep 0.02; done; {say('changed')}")
    hosts.start(FLOWD_MAX_PARALLEL="1")
    runs = [dispatch(hosts["anna"], f"e{number}", "work") for number in range(4)]
    until(
        lambda: sum(run_of(hosts["anna"], run_id)["status"] == "running" for run_id in runs) == 2, what="two that run"
    )
    server = postgres_rig.server()
    server.stop("immediate")
    try:
        go.touch()
        with pytest.raises(CallError) as refused:
            dispatch(hosts["anna"], "late", "work")
        assert refused.value.slug == "storage_busy"
    finally:
        server.start()
    for run_id in runs:
        for place in hosts.places.values():
            run = ended(place, run_id)
            assert (run["effectiveStatus"], run["attemptCount"]) == ("changed", 1)
    hosts.stop()


@pytest.mark.timeout(300)
def test_a_frozen_host_is_fenced_by_its_keeper_and_its_run_begins_again_elsewhere(hosts: Hosts, tmp_path: Path) -> None:
    said = tmp_path / "said"
    lease = (
        'grace_ms = 1000\nlost_after_ms = 24000\n[steps.retry]\nmax_attempts = 2\non = ["interrupted"]\ndelay_ms = 0'
    )
    endless = f"trap 'echo ended >> {said}; exit 0' TERM; while :; do sleep 0.05; done"
    for name, rest in (("anna", endless), ("bert", say("changed"))):
        hosts.flow("work", f"echo {name} $$ >> {said}; {rest}", on=name, step=lease)
    hosts.start("anna")
    run_id = dispatch(hosts["anna"], "e1", "work")
    until(lambda: said.exists() and said.read_text().endswith("\n"), what="the step on anna")
    step = int(said.read_text().split()[1])
    hosts.start("bert")
    frozen = hosts["anna"].process
    assert frozen is not None
    os.kill(frozen.pid, signal.SIGSTOP)
    try:
        until(lambda: not psutil.pid_exists(step), bound_s=60, what="the keeper that ends the step")
        until(lambda: run_of(hosts["bert"], run_id)["attemptCount"] == 2, bound_s=90, what="another attempt")
        run = ended(hosts["bert"], run_id)
    finally:
        os.kill(frozen.pid, signal.SIGCONT)
    assert run["effectiveStatus"] == "changed"
    first, _ = run["attempts"]
    assert (first["status"], first["reason"]) == ("failed", "interrupted")
    assert "its host anna was not heard of for 24 s" in first["error"]
    assert [line.split()[0] for line in said.read_text().splitlines()] == ["anna", "ended", "bert"]
    # What the frozen one has to say now changes nothing.
    until(lambda: not hosts["anna"].call("daemon.status")["running"], bound_s=60, what="anna to have let go of it")
    for place in hosts.places.values():
        assert run_of(place, run_id)["attempts"] == run["attempts"]
    hosts.stop()
