"""The output of a step is read on another host than the one that it runs on: as it comes, after its end, in ranges, and
as far as there is any once that host is gone."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import postgres_rig
import psutil
import pytest
from command_rig import command
from daemon_rig import Workspace, flowd_says, say, until
from hosts_rig import Hosts, dispatch, ended, run_of, two_hosts
from http_rig import HttpPlace

from flowd_client.errors import CallError

COUNTING = "n=0; while [ ! -e {go} ]; do n=$((n+1)); echo out $n; echo err $n >&2; sleep 0.05; done; echo last"
LARGE = "seq -w 1 30000; seq -w 1 20000 >&2; echo end"
"""240,004 bytes on one stream, 120,000 on the other."""

RESULT = 'FLOW_RESULT {"status": "changed"}\n'


@pytest.fixture
def hosts(tmp_path: Path) -> Iterator[Hosts]:
    """Anna, who reads, and Bert, who alone has the packages; not started yet."""
    with two_hosts(postgres_rig.DATABASE.address(tmp_path)) as found:
        yield found


def read(place: Workspace, run_id: str, stream: str = "stdout", offset: int = 0, **more: Any) -> dict[str, Any]:
    part: dict[str, Any] = place.call("flow.readOutput", runId=run_id, stream=stream, offset=offset, **more)
    return part


def read_all(place: Workspace, run_id: str, stream: str = "stdout") -> str:
    """A stream up to its end, or as far as there is any."""
    said, offset = "", 0
    while True:
        part = read(place, run_id, stream, offset)
        if part["nextOffset"] == offset:
            return said
        said, offset = said + part["text"], part["nextOffset"]


def kill(place: Workspace, step: int) -> None:
    """End everything of a host at once."""
    keeper = place.keeper_pid()
    place.kill()
    for pid in (keeper, step):
        psutil.Process(pid).kill()


def is_over(place: Workspace, run_id: str) -> bool:
    """Whether a run has ended; no answer is none."""
    try:
        return str(run_of(place, run_id)["status"]) not in ("queued", "running")
    except CallError:
        return False


def lines(count: int, width: int = 5) -> str:
    return "".join(f"{number:0{width}}\n" for number in range(1, count + 1))


def test_what_a_step_prints_is_followed_on_another_host_as_it_comes(hosts: Hosts, tmp_path: Path) -> None:
    go = tmp_path / "go"
    hosts.flow("work", COUNTING.format(go=go), on="bert")
    hosts.start()
    run_id = dispatch(hosts["bert"], "e1", "work")
    with (
        command(hosts["anna"], tmp_path, "logs", "-f", run_id) as of_run,
        command(hosts["anna"], tmp_path, "logs", "-f", "--event", "e1") as of_event,
    ):
        until(lambda: len(of_run.out) > 5 and len(of_event.out) > 5, what="lines of a step that goes on")
        assert run_of(hosts["anna"], run_id)["status"] == "running"
        assert not read(hosts["anna"], run_id)["shared"].get("complete", False)
        hosts["anna"].kill()
        hosts.start("anna")
        seen = len(of_run.out), len(of_event.out)
        until(lambda: len(of_run.out) > seen[0] and len(of_event.out) > seen[1], what="lines after a restart")
        go.touch()
        assert (of_run.process.wait(60), of_event.process.wait(60)) == (1, 1)  # it has no result
        out, err = of_run.out, of_run.err
        woven = [line.removeprefix("work/main | ") for line in of_event.out]
    assert out[:-1] == [f"out {number}" for number in range(1, len(out))]
    assert out[-1] == "last"
    assert err == [f"err {number}" for number in range(1, len(out))]
    assert woven == out
    hosts.stop()


def test_large_output_of_a_step_that_has_ended_is_read_on_another_host(hosts: Hosts) -> None:
    hosts.flow("work", f"{LARGE}; {say('changed')}", on="bert")
    hosts.start("bert")
    http = HttpPlace(hosts["anna"]).start(FLOWD_STORE=hosts.address, FLOWD_HOST="anna")
    run_id = dispatch(hosts["bert"], "e1", "work")
    run = ended(hosts["anna"], run_id)
    assert run["effectiveStatus"] == "changed"
    out, err = f"{lines(30_000)}end\n{RESULT}", lines(20_000)
    assert read_all(hosts["anna"], run_id) == read_all(hosts["bert"], run_id) == out
    assert read_all(hosts["anna"], run_id, "stderr") == err
    first = read(hosts["anna"], run_id, maxBytes=1)
    assert (first["size"], first["shared"]["complete"]) == (len(out), True)
    assert "shared" not in read(hosts["bert"], run_id, maxBytes=1)
    order = [read(place, run_id, turns=True)["turns"] for place in hosts.places.values()]
    assert order[0] == order[1]
    reply = http.get(f"/runs/{run_id}/output")
    assert (reply.status, reply.body.decode()) == (200, out)
    assert http.get(f"/runs/{run_id}/output?follow=1").body.decode() == out
    reply = http.get(f"/runs/{run_id}/output", range="bytes=70000-70009")
    assert (reply.status, reply.body.decode()) == (206, out[70_000:70_010])
    reply = http.get(f"/runs/{run_id}/output?stream=stderr", range="bytes=-6")
    assert (reply.status, reply.body.decode()) == (206, "20000\n")
    assert flowd_says(hosts["anna"], "logs", run_id, "--stdout") == out
    assert b"29999" in http.get(f"/ui/runs/{run_id}", accept="text/html").body
    hosts.stop()


def test_of_very_large_output_another_host_has_its_beginning_and_its_end(hosts: Hosts) -> None:
    hosts.flow("work", f"seq -w 1 500000; {say('changed')}", on="bert")
    hosts.start("bert", FLOWD_SHARED_OUTPUT_BYTES="262144")
    http = HttpPlace(hosts["anna"]).start(FLOWD_STORE=hosts.address, FLOWD_HOST="anna")
    run_id = dispatch(hosts["bert"], "e1", "work")
    assert ended(hosts["anna"], run_id)["status"] == "completed"
    whole = lines(500_000, 6) + RESULT
    assert read_all(hosts["bert"], run_id) == whole
    begin, end = read(hosts["anna"], run_id, maxBytes=1)["shared"]["missing"]
    assert (begin, len(whole) - end >= 131_072) == (131_072, True)
    told = f"\n[flowd: {end - begin} bytes, from {begin} on, are on the host that ran this alone]\n"
    expected = whole[:begin] + told + whole[end:]
    assert read_all(hosts["anna"], run_id) == expected
    reply = http.get(f"/runs/{run_id}/output", range="bytes=5-9")
    assert (reply.status, reply.headers["accept-ranges"], reply.body.decode()) == (200, "none", expected)
    assert flowd_says(hosts["anna"], "logs", run_id) == expected
    hosts.stop()


@pytest.mark.timeout(300)
def test_what_a_host_said_before_it_was_killed_can_still_be_read(hosts: Hosts, tmp_path: Path) -> None:
    said = tmp_path / "said"
    hosts.flow(
        "work",
        f"seq -w 1 30000; echo $$ > {said}; exec sleep 600",
        on="bert",
        step="grace_ms = 500\nlost_after_ms = 15000",
    )
    hosts.start()
    run_id = dispatch(hosts["bert"], "e1", "work")
    until(lambda: read(hosts["anna"], run_id)["size"] == 180_000, what="output of a step that nobody follows")
    kill(hosts["bert"], int(said.read_text()))
    assert read_all(hosts["anna"], run_id) == lines(30_000)
    part = read(hosts["anna"], run_id, offset=180_000)
    assert not part["eof"]
    assert not part["shared"].get("complete", False)
    until(lambda: run_of(hosts["anna"], run_id)["status"] == "failed", bound_s=90, what="the end of its lease")
    assert run_of(hosts["anna"], run_id)["reason"] == "interrupted"
    assert read_all(hosts["anna"], run_id) == lines(30_000)
    part = read(hosts["anna"], run_id, offset=180_000)
    assert part["eof"]
    assert not part["shared"].get("complete", False)
    for words in (("logs", run_id), ("logs", run_id, "--stdout")):
        told = flowd_says(hosts["anna"], *words)
        assert told.startswith(lines(30_000))
        assert "the host of this step was lost; what it printed after " in told
    hosts.start("bert")  # which has all that its step printed
    assert read_all(hosts["bert"], run_id) == lines(30_000)
    assert "shared" not in read(hosts["bert"], run_id, maxBytes=1)
    hosts.stop()


def test_a_step_prints_on_while_the_database_is_away_and_its_end_waits_for_it(tmp_path: Path) -> None:
    server = postgres_rig.Server(postgres_rig.programs())
    begun, go, printed = tmp_path / "begun", tmp_path / "go", tmp_path / "printed"
    gate = f"touch {begun}; while [ ! -e {go} ]; do sleep 0.02; done"
    try:
        with two_hosts(server.make_database("outage")) as hosts:
            hosts.flow(
                "work", f"seq -w 1 20000; {gate}; seq -w 20001 50000; touch {printed}; {say('changed')}", on="bert"
            )
            hosts.start()
            run_id = dispatch(hosts["bert"], "e1", "work")
            until(begun.exists, what="a step that goes on")
            server.stop("immediate")
            go.touch()
            until(printed.exists, what="a step that waits for nobody")
            server.start()
            until(lambda: is_over(hosts["anna"], run_id), bound_s=60, what="an end that was recorded later")
            assert run_of(hosts["anna"], run_id)["effectiveStatus"] == "changed"
            assert read_all(hosts["anna"], run_id) == lines(50_000) + RESULT
            hosts.stop()
    finally:
        server.remove()


def test_a_host_removes_what_it_has_of_runs_that_were_forgotten_on_another(hosts: Hosts) -> None:
    hosts.flow("work", f"{LARGE}; {say('changed')}", on="bert")
    hosts.start()
    run_id = dispatch(hosts["bert"], "e1", "work")
    ended(hosts["anna"], run_id)
    ended(hosts["anna"], dispatch(hosts["bert"], "e2", "work"))
    folder = hosts["bert"].path / ".codex" / "flowd" / "output"
    assert {path.name.partition(".")[0] for path in folder.iterdir()} > {run_id}
    day_ms = 86_400_000
    postgres_rig.server().execute(
        f"UPDATE flowd.events SET created_at_ms = created_at_ms - {day_ms}",
        f"UPDATE flowd.runs SET completed_at_ms = completed_at_ms - {day_ms}",
        database="test",
    )
    pruned = hosts["anna"].call("daemon.prune", olderThanMs=60_000)
    assert pruned["runs"] == 1  # the newest stays
    assert hosts["bert"].stop() == 0
    hosts.start("bert")
    until(lambda: not list(folder.glob(f"{run_id}.*")), what="files that nobody needs any more")
    assert list(folder.iterdir())
    hosts.stop()
