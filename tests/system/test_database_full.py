"""The disk of the database server fills up under a daemon: what comes is refused, and what has ended is not lost."""

import os
import pwd
import shutil
from collections.abc import Iterator
from typing import Any

import postgres_rig
import pytest
from daemon_rig import Workspace, by_test_postgres, say, until
from disk_rig import fill, small_disk

from flowd_client.errors import CallError

pytestmark = [
    pytest.mark.timeout(300),
    pytest.mark.skipif(os.geteuid() != 0, reason="NOT TESTED: a full disk of a database server, as it takes root"),
]

STEPS = 3
STEP = f"""touch $PWD/begun.$FLOWD_RUN_ID; while [ ! -e go ]; do sleep 0.05; done
head -c 30000 /dev/urandom | base64 -w 0; echo; {say("changed")}; exit 4"""
"""What it prints is kept with its end, which needs new room."""


@pytest.fixture
def server() -> Iterator[postgres_rig.Server]:
    made = postgres_rig.Server(postgres_rig.programs())
    try:
        yield made
    finally:
        made.remove()


def begin(place: Workspace, url: str) -> dict[str, str]:
    """Start a daemon, and steps that go on until there is a file ``go``; their runs by event."""
    place.store = url
    folder = place.flow("work", STEP)
    place.start(FLOWD_MAX_PARALLEL=str(STEPS))
    runs = {f"e{number}": dispatch(place, f"e{number}") for number in range(STEPS)}
    until(lambda: len(list(folder.glob("begun.*"))) == STEPS, what="the steps")
    return runs


def dispatch(place: Workspace, event_id: str, *, size: int = 0) -> str:
    event = {"id": event_id, "type": "work.go", "payload": {"filler": os.urandom(size // 2).hex()}}
    (run_id,) = place.call("flow.dispatch", event=event)["runIds"]
    return str(run_id)


def dispatch_until_refused(place: Workspace, runs: dict[str, str], slug: str) -> str:
    """Send large events until one is refused, which is returned."""
    for number in range(2000):
        event_id = f"more{number}"
        try:
            runs[event_id] = dispatch(place, event_id, size=100_000)
        except CallError as error:
            if error.slug != slug:
                raise
            return event_id
    raise AssertionError("the disk was never full")


def end(place: Workspace) -> None:
    (place.path / "flows/work/go").touch()
    until(lambda: not place.processes(str(place.path / "flows/work")), what="the end of the steps")


def assert_nothing_was_lost(place: Workspace, runs: dict[str, str], refused: str) -> None:
    for event_id, run_id in runs.items():
        run: dict[str, Any] = place.call("flow.waitRun", runId=run_id, timeoutMs=50_000)["run"]
        assert (run["status"], run["exitCode"], run["attemptCount"]) == ("failed", 4, 1), (event_id, run)
        output = place.call("flow.readOutput", runId=run_id, stream="stdout", offset=0)["text"]
        assert len(output.splitlines()[0]) == 40_000
    assert place.call("daemon.status")["events"] == len(runs)
    assert dispatch(place, refused, size=100_000) not in runs.values()


def of_the_server() -> str:
    """Options for a disk that the server writes to."""
    return f"uid={pwd.getpwnam('postgres').pw_uid},mode=0700"


def test_what_comes_is_refused_and_ends_wait_while_the_servers_disk_is_full(
    place: Workspace, server: postgres_rig.Server
) -> None:
    server.make_database("template_of_it")
    with small_disk(server.folder / "small", "24m", options=of_the_server()):
        try:
            server.execute(
                f"CREATE TABLESPACE small LOCATION '{server.folder}/small'",
                "CREATE DATABASE work TEMPLATE template_of_it TABLESPACE small STRATEGY FILE_COPY",
            )
            runs = begin(place, server.address("work"))
            filler = fill(server.folder / "small")
            refused = dispatch_until_refused(place, runs, "storage_full")
            with pytest.raises(CallError, match=r"The disk of the database .* is full; nothing was stored"):
                dispatch(place, refused, size=100_000)
            end(place)
            until(lambda: "wait for storage" in place.log(), what="ends that wait")
            assert place.call("daemon.status")["waitingForStorage"] >= 1
            assert len(place.call("flow.listEvents", limit=500)["events"]) == len(runs)  # reading goes on
            filler.unlink()
            assert_nothing_was_lost(place, runs, refused)
            until(lambda: "storage is back" in place.log(), what="word that nothing waits any more")
            assert place.stop() == 0
        finally:
            place.clean_up()
            server.stop("immediate")


@by_test_postgres
def test_a_server_that_fell_as_its_log_had_no_room_has_all_that_was_acknowledged_when_it_is_back(
    place: Workspace, server: postgres_rig.Server
) -> None:
    url = server.make_database("work")
    server.stop()
    log = server.folder / "log-disk"
    with small_disk(log, "80m", options=of_the_server()):
        try:
            shutil.copytree(server.folder / "data/pg_wal", log / "pg_wal")
            for path in (log / "pg_wal", *(log / "pg_wal").rglob("*")):
                shutil.chown(path, "postgres")
            shutil.rmtree(server.folder / "data/pg_wal")
            (server.folder / "data/pg_wal").symlink_to(log / "pg_wal")
            server.start()
            runs = begin(place, url)
            filler = fill(log)
            refused = dispatch_until_refused(place, runs, "storage_busy")
            end(place)
            with pytest.raises(CallError, match="sending it again is safe"):
                dispatch(place, refused)
            server.stop("immediate")
            filler.unlink()
            server.start()
            assert_nothing_was_lost(place, runs, refused)
            assert place.stop() == 0
        finally:
            place.clean_up()
            server.stop("immediate")
