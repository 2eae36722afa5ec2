"""The disk fills up, the database is locked, an fsync fails: nothing accepted is lost, and flowd says why."""

import contextlib
import os
import sqlite3
import subprocess
import sys
import threading
from pathlib import Path
from typing import Any

import fault_shims
import pytest
from daemon_rig import Workspace, about_the_file, say, until
from disk_rig import fill, small_disk

from flowd_client.errors import FlowClientError, RefusedError

pytestmark = about_the_file

WAITING = f"{say('changed')}; touch $PWD/started.$CODEX_FLOW_EVENT_ID; while [ ! -e go ]; do sleep 0.05; done; exit "


def dispatch(place: Workspace, event_id: str, *, flow: str = "work", size: int = 0) -> str:
    event = {"id": event_id, "type": f"{flow}.go", "payload": {"filler": "x" * size}}
    (run_id,) = place.call("flow.dispatch", event=event)["runIds"]
    return str(run_id)


def ended(place: Workspace, run_id: str) -> Any:
    run = place.call("flow.waitRun", runId=run_id, timeoutMs=50_000)["run"]
    assert run["status"] in ("completed", "failed"), (run, place.log())
    return run


def started(place: Workspace, event_id: str) -> None:
    file = place.path / "flows/work" / f"started.{event_id}"
    until(file.exists, what=f"the start of {event_id}")


def go(place: Workspace) -> None:
    (place.path / "flows/work/go").touch()


@pytest.mark.mounts
def test_a_full_disk_refuses_events_and_loses_nothing(place: Workspace) -> None:
    state = place.path / ".codex/flowd"
    with small_disk(state, "6m"):
        try:
            place.flow("work", WAITING + "4")
            place.start(FLOWD_MAX_PARALLEL="3")
            runs = {f"e{n}": dispatch(place, f"e{n}") for n in range(3)}
            for event_id in runs:
                started(place, event_id)
            filler = fill(state)
            refused = None
            for n in range(200):  # the write-ahead log still has some room of its own
                try:
                    runs[f"more{n}"] = dispatch(place, f"more{n}", size=50_000)
                except RefusedError as error:
                    refused = error
                    break
            assert refused is not None
            assert refused.slug == "storage_full"
            reserve = fill(state, "more")  # what flowd had put by for the ends of runs
            go(place)  # the running steps end while nothing can be written down
            until(lambda: "wait for storage" in place.log(), what="an outcome that waits")
            until(lambda: place.call("daemon.status").get("waitingForStorage") == 3, what="three runs that wait")
            assert place.call("flow.listEvents", limit=500)["events"]  # reading goes on
            filler.unlink()
            reserve.unlink()
            for event_id, run_id in runs.items():
                run = ended(place, run_id)
                assert (run["exitCode"], run["attemptCount"]) == (4, 1), (event_id, run)
            until(lambda: "storage is back" in place.log(), what="word that nothing waits any more")
            assert "waitingForStorage" not in place.call("daemon.status")
            again = dispatch(place, f"more{n}", size=50_000)
            assert ended(place, again)["exitCode"] == 4
            assert len(place.call("flow.listEvents", limit=500)["events"]) == len(runs) + 1
            assert place.stop() == 0
        finally:
            place.clean_up()


@pytest.mark.mounts
def test_a_daemon_killed_on_a_full_disk_starts_on_it_and_finishes_when_there_is_room(place: Workspace) -> None:
    state = place.path / ".codex/flowd"
    with small_disk(state, "6m"):
        try:
            place.flow("work", WAITING + "4")
            place.start(FLOWD_MAX_PARALLEL="2")
            runs = [dispatch(place, f"e{n}") for n in range(4)]
            started(place, "e0")
            started(place, "e1")
            filler = fill(state)
            place.kill()
            go(place)
            place.start(FLOWD_MAX_PARALLEL="2")
            assert len(place.call("flow.listEvents")["events"]) == 4
            filler.unlink()
            for run_id in runs:
                run = ended(place, run_id)
                assert (run["exitCode"], run["attemptCount"]) == (4, 1), run
            assert place.stop() == 0
        finally:
            place.clean_up()


@pytest.mark.mounts
def test_a_keeper_that_cannot_write_its_journal_starts_the_step_when_there_is_room(place: Workspace) -> None:
    keeper = place.path / ".codex/flowd/keeper"
    keeper.parent.mkdir(parents=True, mode=0o700)
    with small_disk(keeper, "64k"):
        try:
            place.flow("work", f"echo x >>ran; {say('changed')}")
            place.start()
            filler = fill(keeper)
            # What room is left in the journal's last page is used up by starts that still succeed.
            runs = [dispatch(place, f"e{n}") for n in range(40)]
            until(lambda: "wait for storage" in place.log(), what="a start that waits")
            filler.unlink()
            found = [ended(place, run_id) for run_id in runs]
            assert {(run["status"], run["attemptCount"]) for run in found} == {("completed", 1)}, found[-1]
            assert len((place.path / "flows/work/ran").read_text().split()) == 40
            assert place.stop() == 0
        finally:
            place.clean_up()


def test_a_database_locked_by_another_program_is_a_refusal_until_it_is_free(place: Workspace) -> None:
    place.flow("work", WAITING + "4")
    place.start()
    running = dispatch(place, "e1")
    started(place, "e1")
    with contextlib.closing(sqlite3.connect(place.path / ".codex/flowd/flowd.db", isolation_level=None)) as other:
        other.execute("BEGIN EXCLUSIVE")
        refusals: list[FlowClientError] = []

        def attempt() -> None:
            try:
                dispatch(place, "e2")
            except FlowClientError as error:
                refusals.append(error)

        waiting = threading.Thread(target=attempt)
        waiting.start()
        go(place)
        read_beside = 0
        while waiting.is_alive():
            assert [event["id"] for event in place.call("flow.listEvents")["events"]] == ["e1"]
            read_beside += waiting.is_alive()
            waiting.join(0.25)
        assert read_beside, "readers wait for no writer"
        assert [error.slug for error in refusals] == ["storage_busy"]
        other.execute("COMMIT")
    assert ended(place, running)["exitCode"] == 4
    assert ended(place, dispatch(place, "e2"))["exitCode"] == 4
    assert place.stop() == 0


def test_a_failing_fsync_stops_the_daemon_and_leaves_the_steps_to_the_keeper(place: Workspace, tmp_path: Path) -> None:
    shim = fault_shims.environment(tmp_path, "fsync")
    switch = Path(shim["SHIM_FILE"])
    place.flow("work", WAITING + "4")
    place.start(**shim)
    running = dispatch(place, "e1")
    started(place, "e1")
    keeper = place.keeper_pid()
    switch.touch()
    with pytest.raises(FlowClientError) as refused:
        dispatch(place, "e2")
    assert refused.value.slug == "storage_failed"
    assert place.process is not None
    assert place.process.wait(60) == 74
    assert "storage failed" in place.log()
    os.kill(keeper, 0)  # it lives, and with it the step
    switch.unlink()
    place.start(**shim)
    go(place)
    run = ended(place, running)
    assert (run["exitCode"], run["attemptCount"]) == (4, 1)
    assert ended(place, dispatch(place, "e2"))["exitCode"] == 4
    assert place.stop() == 0


def test_a_read_that_fails_refuses_its_caller_and_the_daemon_goes_on(place: Workspace) -> None:
    place.flow("work", WAITING + "4")
    place.start()
    go(place)
    for n in range(40):
        ended(place, dispatch(place, f"e{n}", size=50_000))
    assert place.stop() == 0
    path = place.path / ".codex/flowd/flowd.db"
    with path.open("r+b") as file:  # an old event's payload, far from everything that writing needs
        file.seek(path.stat().st_size // 2 // 4096 * 4096)
        file.write(b"\xff" * 4096)
    place.start()
    with pytest.raises(FlowClientError) as refused:
        place.call("flow.listEvents", limit=500)
    assert refused.value.slug == "storage_failed"
    assert "could not be read" in str(refused.value)
    assert "flowd doctor" in str(refused.value)
    assert "read failed" in place.log()
    assert ended(place, dispatch(place, "later"))["exitCode"] == 4
    assert place.stop() == 0


def test_a_daemon_that_cannot_read_what_was_left_says_so_in_one_line(place: Workspace) -> None:
    place.flow("work", WAITING + "4")
    place.start()
    dispatch(place, "e1")
    go(place)
    assert place.stop() == 0
    path = place.path / ".codex/flowd/flowd.db"
    with contextlib.closing(sqlite3.connect(path)) as database:
        (page,) = database.execute("SELECT rootpage FROM sqlite_schema WHERE name = 'runs_active'").fetchone()
    with path.open("r+b") as file:
        file.seek((page - 1) * 4096)
        file.write(b"\xff" * 200)
    daemon = subprocess.run(
        [sys.executable, "-m", "flowd", "serve", "-w", str(place.path)], capture_output=True, text=True, timeout=30
    )
    assert daemon.returncode == 74
    assert "\nflowd: The database could not be read" in daemon.stderr
    assert "Fault" not in daemon.stderr


@pytest.mark.mounts
@pytest.mark.parametrize(
    ("free_kib", "sentence"),
    [
        (0, "Cannot use {} for flowd's state: No space left on device. Free some space"),
        (8, "Cannot open {}/flowd.db"),
        (24, "Cannot open {}/flowd.db"),  # what SQLite calls an I/O error
    ],
)
def test_a_first_start_on_a_full_disk_says_so_and_may_be_tried_again(
    place: Workspace, free_kib: int, sentence: str
) -> None:
    folder = place.path / ".codex/flowd"
    with small_disk(folder, "256k"):
        for name in ("output", "keeper"):
            (folder / name).mkdir()
        (folder / ".gitignore").touch()
        (folder / "daemon.lock").touch()
        filler = fill(folder)
        os.truncate(filler, filler.stat().st_size - free_kib * 1024)
        daemon = subprocess.run(
            [sys.executable, "-m", "flowd", "serve", "-w", str(place.path)], capture_output=True, text=True, timeout=30
        )
    assert daemon.returncode == 74
    assert sentence.format(folder) in daemon.stderr
    assert "full" in daemon.stderr or "No space left" in daemon.stderr
    assert "backup" not in daemon.stderr
    assert "Fault" not in daemon.stderr


# --- a step that fills the disk

FILLS = "touch started.$CODEX_FLOW_EVENT_ID; trap 'exit 9' TERM; while :; do sleep 0.05; done"


def state(place: Workspace) -> Path:
    return place.path / ".codex/flowd"


def fill_database(place: Workspace) -> RefusedError:
    """Fill the disk, and what room the database has in its own files; the refusal that says so."""
    fill(state(place))
    for n in range(300):
        try:
            event = {"id": f"more{n}", "type": "none.go", "payload": {"filler": "x" * 50_000}}
            place.call("flow.dispatch", event=event)
        except RefusedError as error:
            return error
    raise AssertionError("the disk is not full")


@pytest.mark.mounts
def test_a_running_step_can_be_canceled_on_a_full_disk_and_its_end_is_recorded(place: Workspace) -> None:
    with small_disk(state(place), "12m"):
        try:
            place.flow("work", FILLS)
            place.start()
            run_id = dispatch(place, "e")
            started(place, "e")
            refused = fill_database(place)
            assert refused.slug == "storage_full"
            assert "flowd.db" in str(refused)
            assert "flowd prune" in str(refused)

            run = place.call("flow.cancelRun", runId=run_id)["run"]

            assert run["status"] == "canceled"
            assert place.stop() == 0
        finally:
            place.clean_up()


@pytest.mark.mounts
def test_a_step_whose_own_output_fills_the_disk_can_be_canceled_and_its_end_is_recorded(place: Workspace) -> None:
    with small_disk(state(place), "12m"):
        try:
            place.flow("big", f"echo first; {say('changed')}; head -c 50000000 /dev/zero | tr '\\0' x; exit 3")
            place.start()
            run_id = dispatch(place, "e", flow="big")

            until(lambda: os.statvfs(state(place)).f_bavail == 0, what="a full disk")

            canceled = place.call("flow.cancelRun", runId=run_id)["run"]  # until there is room, it could print no more

            assert canceled["status"] == "canceled"
            assert place.call("flow.readOutput", runId=run_id, stream="stdout", maxBytes=10)["text"].startswith("first")
            assert place.stop() == 0
        finally:
            place.clean_up()


@pytest.mark.mounts
@pytest.mark.parametrize("on_stop", ["cancel", "finish"])
def test_a_daemon_stops_on_a_full_disk_without_a_fault_and_leaves_no_step(place: Workspace, on_stop: str) -> None:
    with small_disk(state(place), "12m"):
        try:
            place.flow("work", FILLS)
            place.start(FLOWD_ON_STOP=on_stop)
            run_id = dispatch(place, "e")
            started(place, "e")
            fill_database(place)
            assert place.process is not None
            place.process.terminate()
            if on_stop == "finish":
                until(lambda: "stop again" in place.log(), what="word of the first")
                place.process.terminate()

            assert place.process.wait(60) == 0, place.log()

            assert "Fault" not in place.log()
            until(lambda: not place.processes(str(place.path / "flows/work/main.sh")), what="the step's end")
            os.unlink(state(place) / "filler")
            place.start()
            assert place.call("flow.waitRun", runId=run_id, timeoutMs=50_000)["run"]["status"] == "canceled"
            assert place.stop() == 0
        finally:
            place.clean_up()
