"""Hosts as people see and steer them: from any host of a store, and on one that has its store for itself."""

import json
import re
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import postgres_rig
import pytest
from daemon_rig import Workspace, about_the_file, flowd_says, say, until, workspace
from hosts_rig import Hosts, dispatch, ended, known_within_s, run_of, two_hosts
from top_rig import Reader, by_socket, read

from flowd.screen.board import Section


@pytest.fixture
def hosts(tmp_path: Path) -> Iterator[Hosts]:
    """Two hosts that are not started yet."""
    with two_hosts(postgres_rig.DATABASE.address(tmp_path)) as made:
        yield made


def states(place: Workspace) -> dict[str, str]:
    found: list[dict[str, Any]] = json.loads(flowd_says(place, "hosts", "--json"))["hosts"]
    return {host["name"]: host["state"] for host in found}


def host_of(place: Workspace, run_id: str) -> str:
    """On which host its last attempt ran, once it has ended."""
    return str(ended(place, run_id)["attempts"][-1]["host"])


def test_a_host_is_drained_from_another_one_and_stays_so_over_its_restart(hosts: Hosts) -> None:
    hosts.flow("work", say("changed"))
    hosts.start()
    anna, bert = hosts["anna"], hosts["bert"]
    assert "bert starts nothing more" in flowd_says(anna, "hosts", "drain", "bert")
    assert states(bert) == states(anna) == {"anna": "ready", "bert": "draining"}
    until(lambda: bert.call("daemon.status")["state"] == "draining", what="bert to hear of it")
    runs = [dispatch(bert, f"e{number}", "work") for number in range(5)]
    assert {host_of(bert, run_id) for run_id in runs} == {"anna"}
    page = page_of(anna)
    assert page.index("bert</th><td>draining</td>") > page.index("anna (this)</th><td>ready</td>")
    for place in hosts.places.values():
        listed = json.loads(flowd_says(place, "runs", "--host", "anna", "--limit", "3", "--json"))
        assert [run["id"] for run in listed["runs"]] == runs[:1:-1]
        assert "nextCursor" in listed
        assert "No runs." in flowd_says(place, "runs", "--host", "bert")
    assert bert.stop() == 0
    assert states(anna) == {"anna": "ready", "bert": "gone"}
    told = anna.call("daemon.status", metrics=True)["metrics"]
    assert [(one["labels"]["host"], one["value"]) for one in told["flowd_host_up"]] == [("anna", 1), ("bert", 0)]
    assert [one["value"] for one in told["flowd_lease_lost_total"]] == [0]
    hosts.start("bert")
    assert bert.call("daemon.status")["state"] == "draining"
    assert anna.stop() == 0
    assert "anna starts runs once its daemon is there" in flowd_says(bert, "hosts", "undrain", "anna")
    run_id = dispatch(bert, "late", "work")
    assert run_of(bert, run_id)["status"] == "queued"
    until(lambda: why(bert) == (0, "draining"), what="bert to have counted who is left")
    sent = bert.call("flow.dispatch", event={"id": "later", "type": "work.go", "payload": {}})
    assert sent["warning"] == (
        "Step work/main matches, but every host that can run it is draining, so its runs wait (`flowd hosts`)."
    )
    assert "bert starts runs" in flowd_says(bert, "hosts", "undrain", "bert")
    assert host_of(bert, run_id) == "bert"
    assert "anna is forgotten" in flowd_says(bert, "hosts", "forget", "anna")
    assert "bert was heard of" in flowd_says(bert, "hosts", "forget", "bert", code=5)
    listed = flowd_says(bert, "hosts").splitlines()
    assert [line.split()[:3] for line in listed] == [
        ["HOST", "STATE", "RUNS"],
        ["bert", "(this)", "ready"],
    ]
    hosts.stop()


def test_top_and_the_page_show_hosts_and_where_a_run_goes_on(hosts: Hosts, tmp_path: Path) -> None:
    go = tmp_path / "go"
    hosts.flow("work", f"while [ ! -e {go} ]; do sleep 0.02; done; {say('changed')}", step='runs_on = ["host:bert"]')
    hosts.start()
    anna, bert = hosts["anna"], hosts["bert"]
    run_id = dispatch(anna, "e", "work")
    until(lambda: run_of(anna, run_id)["status"] == "running", what="the run to begin")
    anna.call("host.drain", host="bert")
    page = page_of(anna)
    assert "on bert" in page[page.index('id="h-running"') :]

    async def look(reader: Reader) -> None:
        await reader.sees("1 of 2 hosts are ready", "bert draining", "this is anna", "on bert")
        await reader.goes_to(Section.RUNNING, run_id)
        await reader.press("enter")
        await reader.until(lambda: re.search(r"^ *host +bert", reader.text(), re.MULTILINE), "its host")
        go.touch()
        await reader.sees("changed")

    read(by_socket(anna), look)
    assert ended(anna, run_id)["effectiveStatus"] == "changed"
    assert bert.stop() == 0

    async def look_again(reader: Reader) -> None:
        await reader.sees("1 of 2 hosts are ready", "bert gone, heard of")

    read(by_socket(anna), look_again)
    hosts.stop()


def page_of(place: Workspace) -> str:
    """What a browser gets that follows the daemon's link."""
    browser = urllib.request.build_opener(urllib.request.HTTPCookieProcessor())
    with browser.open(place.call("daemon.openPage")["url"], timeout=30) as response:
        return str(response.read().decode())


def why(place: Workspace) -> tuple[int | None, str | None]:
    """How many hosts start runs of the one step that there is, and why none does."""
    (step,) = place.call("flow.explain", event={"id": "e", "type": "work.go", "payload": {}})["steps"]
    return step.get("hosts"), step.get("unserved")


def counted(place: Workspace) -> dict[str, int]:
    """How many runs no host starts, by why."""
    told = place.call("daemon.status", metrics=True)["metrics"]["flowd_queue_unserved"]
    return {one["labels"]["why"]: one["value"] for one in told}


def test_it_is_told_why_no_host_starts_a_step() -> None:
    with workspace() as place:
        place.flow("work", say("changed"), step='runs_on = ["gpu", "big"]')
        place.start(FLOWD_LABELS="big")
        until(lambda: why(place) == (0, "labels"), bound_s=known_within_s(place), what="who can run it")
        sent = place.call("flow.dispatch", event={"id": "e", "type": "work.go", "payload": {}})
        assert sent["warning"].startswith("Step work/main matches, but this host has no label gpu, so its runs wait")
        (unserved,) = sent["unserved"]
        problem = unserved.pop("problem")
        assert sent["warning"] == f"Step work/main matches, but {problem}."
        assert unserved == {
            "runId": sent["runIds"][0], "flow": "work", "step": "main", "unserved": "labels", "hosts": 0,
            "runsOn": ["big", "gpu"],
        }  # fmt: skip
        late = place.call("flow.replay", eventId="e", wait=True, timeoutMs=0)
        assert [one["unserved"] for one in late["unserved"]] == ["labels"]
        assert run_of(place, sent["runIds"][0])["waitingFor"] == {"host": {"labels": ["big", "gpu"], "hosts": 0}}
        until(lambda: counted(place) == {"draining": 0, "folder": 0, "labels": 2, "package": 0}, what="both runs")
        metrics = place.call("daemon.status", metrics=True)["metrics"]
        assert ("flowd_lease_age_seconds" in metrics) is (place.store is not None)
        assert place.stop() == 0


@about_the_file
def test_a_store_of_its_own_has_one_host_which_is_drained_until_it_restarts() -> None:
    with workspace() as place:
        place.flow("work", say("changed"))
        place.start(FLOWD_HOST="box", FLOWD_LABELS="gpu")
        (host,) = place.call("host.list")["hosts"]
        assert {name: host[name] for name in ("name", "state", "labels", "this")} == {
            "name": "box", "state": "ready", "labels": ["gpu", "host:box"], "this": True,
        }  # fmt: skip
        assert place.call("host.drain", host="box")["host"]["state"] == "draining"
        assert place.call("daemon.status")["state"] == "draining"
        run_id = dispatch(place, "e1", "work")
        assert run_of(place, run_id)["status"] == "queued"
        assert place.call("host.undrain", host="box")["host"]["state"] == "ready"
        assert ended(place, run_id)["effectiveStatus"] == "changed"
        assert [run["id"] for run in place.call("flow.listRuns", host="box")["runs"]] == [run_id]
        assert place.call("flow.listRuns", host="other")["runs"] == []
        assert 'id="h-hosts"' in page_of(place)
        assert "box (this)" not in page_of(place)
        assert "Unknown host: other" in flowd_says(place, "hosts", "drain", "other", code=4)
        assert "the only one" in flowd_says(place, "hosts", "forget", "box", "--force", code=5)
        assert place.stop() == 0
