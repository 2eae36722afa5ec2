"""Hosts of one store whose clocks, daemons and links are not what they should be. Most takes as long as a lease."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import fault_shims
import postgres_rig
import psutil
import pytest
from crash_hosts.link import Link
from daemon_rig import Workspace, by_test_postgres, flowd_says, say, until
from hosts_rig import Hosts, dispatch, ended, run_of, two_hosts

from flowd_client.errors import CallError

pytestmark = pytest.mark.timeout(300)

CRASHING = Path(__file__).parents[1] / "crash" / "crashing_daemon.py"
AGAIN = 'lost_after_ms = 15000\ngrace_ms = 500\n[steps.retry]\nmax_attempts = 2\non = ["interrupted"]\ndelay_ms = 0'


@pytest.fixture
def hosts(tmp_path: Path) -> Iterator[Hosts]:
    """Two hosts that are not started yet."""
    with two_hosts(postgres_rig.DATABASE.address(tmp_path)) as found:
        yield found


def seen_by(place: Workspace) -> dict[str, dict[str, Any]]:
    """What a host says of all of them."""
    return {host["name"]: host for host in place.call("host.list")["hosts"]}


def states(place: Workspace) -> set[str]:
    return {str(host["state"]) for host in seen_by(place).values()}


def test_what_ran_on_one_host_is_retried_and_replayed_from_another_that_lacks_the_package(hosts: Hosts) -> None:
    hosts.flow("work", f'{say("changed")}; exit "${{CODE:-3}}"', on="anna")
    hosts.start()
    anna, bert = hosts["anna"], hosts["bert"]
    run_id = dispatch(anna, "e1", "work")
    assert ended(bert, run_id)["exitCode"] == 3
    assert bert.call("flow.retryRun", runId=run_id)["run"]["id"] == run_id
    until(lambda: run_of(bert, run_id)["attemptCount"] == 2, what="another attempt")
    assert [attempt["host"] for attempt in ended(bert, run_id)["attempts"]] == ["anna", "anna"]
    # Which steps an event starts is told by the packages of the host that is asked.
    assert bert.call("flow.replay", eventId="e1")["runIds"] == []
    (again,) = anna.call("flow.replay", eventId="e1")["runIds"]
    assert ended(bert, again)["exitCode"] == 3
    hosts.stop()


@by_test_postgres
@pytest.mark.parametrize("hours", [-5, 7])
def test_leases_go_by_the_clock_of_the_database_wherever_those_of_hosts_are(
    hosts: Hosts, tmp_path: Path, hours: int
) -> None:
    shim = fault_shims.environment(tmp_path, "clock")
    Path(shim["SHIM_FILE"]).write_text(str(hours * 3600), encoding="ascii")
    go = tmp_path / "go"
    hosts.flow("work", f"while [ ! -e {go} ]; do sleep 0.05; done; {say('changed')}", step=AGAIN)
    hosts.start("anna", FLOWD_MAX_PARALLEL="1")
    hosts.start("bert", FLOWD_MAX_PARALLEL="1", **shim)
    anna, bert = hosts["anna"], hosts["bert"]
    runs = [dispatch(anna, f"e{number}", "work") for number in range(2)]
    until(lambda: {run_of(bert, run_id)["status"] for run_id in runs} == {"running"}, what="one on each host")
    for _ in range(3):  # renewals of both
        seen = [host["seenAt"] for host in seen_by(anna).values()]
        until(
            lambda seen=seen: not set(seen) & {host["seenAt"] for host in seen_by(bert).values()},
            what="another renewal of both",
        )
    with postgres_rig.writing(hosts.address) as db:
        held = db.execute("SELECT lease_until_ms - server_ms() FROM attempts WHERE status = 'running'").fetchall()
    assert len(held) == 2
    assert all(0 < left_ms <= 15_000 for (left_ms,) in held)
    for place in hosts.places.values():
        told = seen_by(place)
        assert states(place) == {"ready"}
        assert all(0 <= host["silentMs"] < 15_000 for host in told.values())
        assert abs(told["anna"]["clockOffsetMs"]) < 60_000
        assert abs(told["bert"]["clockOffsetMs"] - hours * 3_600_000) < 60_000
    check = [sys.executable, "-m", "flowd", "store", "check", "-w", str(bert.path)]
    done = subprocess.run(
        check, env={**os.environ, **shim, "FLOWD_STORE": hosts.address}, capture_output=True, text=True, timeout=60
    )
    assert f"s {'behind' if hours > 0 else 'ahead of'} ours" in done.stdout
    go.touch()
    for run_id in runs:
        run = ended(anna, run_id)
        assert (run["effectiveStatus"], run["attemptCount"]) == ("changed", 1)
    hosts.stop()


@by_test_postgres
def test_a_host_that_is_forgotten_while_its_daemon_is_gone_loses_its_runs_at_once(hosts: Hosts, tmp_path: Path) -> None:
    begun = tmp_path / "begun"
    hosts.flow(
        "work",
        f"echo $FLOWD_ATTEMPT $$ >> {begun}; [ $FLOWD_ATTEMPT = 2 ] || exec sleep 600; {say('changed')}",
        step='[steps.retry]\nmax_attempts = 2\non = ["interrupted"]\ndelay_ms = 0',
    )
    hosts.start("anna")
    run_id = dispatch(hosts["anna"], "e1", "work")
    until(lambda: begun.exists() and begun.read_text().endswith("\n"), what="the step on anna")
    hosts.start("bert")
    hosts["anna"].clean_up()  # as if its machine had lost its power
    assert "anna was heard of" in flowd_says(hosts["bert"], "hosts", "forget", "anna", code=5)
    assert "1 run of it declared lost" in flowd_says(hosts["bert"], "hosts", "forget", "anna", "--force")
    run = ended(hosts["bert"], run_id)
    assert run["effectiveStatus"] == "changed"
    assert [attempt["host"] for attempt in run["attempts"]] == ["anna", "bert"]
    assert "its host anna was declared lost" in run["attempts"][0]["error"]
    assert [line.split()[0] for line in begun.read_text().splitlines()] == ["1", "2"]
    assert set(seen_by(hosts["bert"])) == {"bert"}
    hosts.start("anna")  # its machine is back, and is let in again
    assert set(seen_by(hosts["bert"])) == {"anna", "bert"}
    hosts.stop()


def start_to_be_stopped(place: Workspace, arming: Path, **environ: str) -> None:
    """Start a daemon that stands still at the point that `stop_at` names."""
    arming.mkdir()
    with place.log_path.open("ab") as log:
        place.process = subprocess.Popen(
            [sys.executable, str(CRASHING), str(arming), "serve", "-w", str(place.path)],
            stdin=subprocess.DEVNULL, stdout=log, stderr=log, env={**os.environ, **environ},
        )  # fmt: skip
    until(place.is_ready, what="the daemon")


def stop_at(place: Workspace, arming: Path, point: str) -> None:
    """Have the daemon stop itself the next time it comes by, and wait until it has."""
    (arming / "new").write_text(f"{point}#1 1 stop", encoding="ascii")
    (arming / "new").rename(arming / "daemon")
    assert place.process is not None
    daemon = psutil.Process(place.process.pid)
    until(lambda: daemon.status() == psutil.STATUS_STOPPED, what=f"a daemon that stands still at {point}")


@by_test_postgres
@pytest.mark.parametrize("point", ["writer.begin:after", "writer.commit:before"])
def test_a_host_that_freezes_in_a_transaction_holds_nobody_up_for_long_and_loses_what_it_held(
    hosts: Hosts, tmp_path: Path, point: str
) -> None:
    begun, arming = tmp_path / "begun", tmp_path / "armed"
    hosts.flow(
        "held",
        f"echo held $$ >> {begun}; [ $FLOWD_ATTEMPT = 2 ] || exec sleep 600; {say('changed')}",
        step=AGAIN,
    )
    hosts.flow("work", f"echo work $FLOWD_RUN_ID >> {begun}; {say('changed')}", step=AGAIN)
    anna, bert = hosts["anna"], hosts["bert"]
    start_to_be_stopped(anna, arming, FLOWD_STORE=hosts.address, FLOWD_HOST="anna", FLOWD_MAX_PARALLEL="4")
    held = dispatch(anna, "held", "held")
    until(lambda: begun.exists() and begun.read_text().endswith("\n"), what="the step on anna")
    step = psutil.Process(int(begun.read_text().split()[1]))
    hosts.start("bert")
    stop_at(anna, arming, point)
    assert anna.process is not None
    try:
        runs = [accepted(bert, f"e{number}") for number in range(5)]
        for run_id in runs:
            run = ended(bert, run_id)
            assert (run["effectiveStatus"], run["attempts"][-1]["host"]) == ("changed", "bert")
        until(lambda: not step.is_running(), bound_s=60, what="the keeper that ends the step")
        until(lambda: run_of(bert, held)["attemptCount"] == 2, bound_s=90, what="another attempt")
        before = ended(bert, held)
    finally:
        anna.process.send_signal(signal.SIGCONT)
    assert [attempt["host"] for attempt in before["attempts"]] == ["anna", "bert"]
    until(lambda: seen_by(bert)["anna"]["state"] == "ready", bound_s=60, what="anna to be heard of again")
    until(lambda: not anna.call("daemon.status")["running"], bound_s=60, what="anna to have let go of it")
    assert run_of(anna, held) == run_of(bert, held) == before
    work = [line.split()[1] for line in begun.read_text().splitlines() if line.startswith("work")]
    assert sorted(work) == sorted(runs)
    late = dispatch(anna, "late", "work")
    assert ended(bert, late)["effectiveStatus"] == "changed"
    hosts.stop()


@by_test_postgres
@pytest.mark.parametrize("how", ["pause", "cut"])
def test_a_host_that_is_cut_off_ends_its_steps_before_another_begins_them_again(
    hosts: Hosts, tmp_path: Path, how: str
) -> None:
    said = tmp_path / "said"
    endless = f"trap 'echo ended >> {said}; exit 0' TERM; while :; do sleep 0.05; done"
    once = f"[ $CODEX_FLOW_EVENT_ID$FLOWD_ATTEMPT != e11 ] || {{ {endless}; }}; {say('changed')}"
    hosts.flow("work", f"echo $FLOWD_ATTEMPT >> {said}; {once}", step=AGAIN)
    anna, bert = hosts["anna"], hosts["bert"]
    link = Link(postgres_rig.server().folder / ".s.PGSQL.5432")
    try:
        address = f"postgresql://postgres@127.0.0.1:{link.port}/test?sslmode=disable"
        anna.start(FLOWD_STORE=address, FLOWD_HOST="anna")
        run_id = dispatch(anna, "e1", "work")
        until(said.exists, what="the step on anna")
        hosts.start("bert")
        getattr(link, how)()
        until(lambda: run_of(bert, run_id)["attemptCount"] == 2, bound_s=90, what="another attempt")
        run = ended(bert, run_id)
        assert (run["effectiveStatus"], run["attempts"][0]["reason"]) == ("changed", "interrupted")
        assert said.read_text().split() == ["1", "ended", "2"]
        link.restore()
        until(lambda: states(anna) == {"ready"}, bound_s=60, what="anna to be heard of again")
        assert run_of(anna, run_id) == run
        assert ended(bert, dispatch(anna, "late", "work"))["effectiveStatus"] == "changed"
        hosts.stop()
    finally:
        anna.clean_up()
        link.close()


def accepted(place: Workspace, event_id: str) -> str:
    """Dispatch until it is accepted: who waits for the lock when it is let go may have waited too long already."""
    for _ in range(3):
        try:
            return dispatch(place, event_id, "work")
        except CallError as error:
            if error.slug != "storage_busy":
                raise
    raise AssertionError("the store was held for longer than it may be")


@by_test_postgres
def test_a_database_that_is_away_for_a_minute_ends_what_has_a_shorter_lease_and_nothing_else(
    hosts: Hosts, tmp_path: Path
) -> None:
    go, begun = tmp_path / "go", tmp_path / "begun"
    work = f"while [ ! -e {go} ]; do sleep 0.05; done; {say('changed')}"
    hosts.flow("work", f"echo work $FLOWD_RUN_ID >> {begun}; {work}")
    once = f"[ $FLOWD_ATTEMPT = 2 ] || exec sleep 600; {say('changed')}"
    hosts.flow("short", f"echo short $$ >> {begun}; {once}", step=AGAIN)
    hosts.start(FLOWD_MAX_PARALLEL="3")
    anna, bert = hosts["anna"], hosts["bert"]
    runs = [dispatch(anna, f"e{number}", "work") for number in range(4)]
    short = dispatch(bert, "short", "short")
    until(lambda: begun.exists() and len(begun.read_text().splitlines()) == 5, what="all steps")
    (pid,) = [int(line.split()[1]) for line in begun.read_text().splitlines() if line.startswith("short")]
    server = postgres_rig.server()
    server.stop("immediate")
    back_s = time.monotonic() + 60
    try:
        for place in hosts.places.values():
            with pytest.raises(CallError, match="sending it again is safe"):
                dispatch(place, "refused", "work")
            with pytest.raises(CallError, match="cannot be read now"):
                place.call("flow.listRuns")
        until(lambda: not psutil.pid_exists(pid), bound_s=60, what="the keeper that ends the step with the short lease")
        go.touch()
        until(
            lambda: not any(place.processes(str(place.path / "flows/work")) for place in hosts.places.values()),
            what="the ends of the others",
        )
        until(lambda: time.monotonic() > back_s, bound_s=90, what="the end of the minute")
    finally:
        server.start()
    for place in hosts.places.values():
        for run_id in runs:
            run = ended(place, run_id)
            assert (run["effectiveStatus"], run["attemptCount"]) == ("changed", 1)
        run = ended(place, short)
        assert (run["effectiveStatus"], run["attempts"][0]["reason"]) == ("changed", "interrupted")
    assert sorted(line.split()[0] for line in begun.read_text().splitlines()) == ["short"] * 2 + ["work"] * 4
    for place in hosts.places.values():
        until(
            lambda place=place: {host["state"] for host in seen_by(place).values()} == {"ready"},
            what="both to be heard",
        )
        assert ended(anna, dispatch(place, f"late-{place.path.name}", "work"))["effectiveStatus"] == "changed"
    hosts.stop()
