"""What is removed, emptied or replaced under a running daemon: a step never runs twice at once, nothing is lost, and
everything heals by itself or says what to do."""

import os
import signal
import socket
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import psutil
import pytest
from daemon_rig import Workspace, about_the_file, flowd_says, remove, say, until
from doctor_rig import doctor
from http_rig import HttpPlace

from flowd_client import create_flow_client

# Notes its start and its end, so that a second one beside it would be seen.
WORK = f"echo start >>log; while [ ! -e go ]; do sleep 0.02; done; echo end >>log; {say('changed')}"


def state(place: Workspace) -> Path:
    return place.path / ".codex/flowd"


def log_of(place: Workspace) -> list[str]:
    file = place.path / "flows/work/log"
    return file.read_text().split() if file.exists() else []


def begin(place: Workspace) -> str:
    """Start the daemon with one step that runs until `go`; its run's id."""
    place.flow("work", WORK)
    place.start()
    (run_id,) = place.call("flow.dispatch", event={"id": "e", "type": "work.go"})["runIds"]
    until(lambda: log_of(place) == ["start"], what="the step's start")
    return str(run_id)


def dispatch(place: Workspace, event_id: str) -> str:
    (run_id,) = place.call("flow.dispatch", event={"id": event_id, "type": "work.go"})["runIds"]
    return str(run_id)


def go(place: Workspace) -> None:
    (place.path / "flows/work/go").touch()


def ended(place: Workspace, run_id: str) -> Any:
    return place.call("flow.waitRun", runId=run_id, timeoutMs=50_000)["run"]


def steps(place: Workspace) -> list[psutil.Process]:
    return place.processes(str(place.path / "flows/work/main.sh"))


# --- the folders of running steps, and the daemon killed at once


@pytest.mark.parametrize(
    "take_away",
    [
        pytest.param(lambda folder: (remove(folder / "keeper"), remove(folder / "output")), id="keeper and output"),
        pytest.param(lambda folder: remove(folder / "keeper"), id="keeper"),
        pytest.param(
            lambda folder: (remove(folder / "keeper/keeper.lock"), (folder / "keeper/keeper.journal").write_bytes(b"")),
            id="keeper.lock removed, keeper.journal emptied",
        ),
        pytest.param(
            lambda folder: (remove(folder / "keeper/keeper.lock"), remove(folder / "keeper/keeper.journal")),
            id="keeper.lock, keeper.journal",
        ),
    ],
)
def test_a_start_whose_traces_were_taken_away_ends_as_interrupted_and_leaves_nothing_running(
    place: Workspace, take_away: Callable[[Path], object]
) -> None:
    run_id = begin(place)
    place.process.send_signal(signal.SIGSTOP)  # type: ignore[union-attr]  # so that it heals nothing
    take_away(state(place))
    place.kill()

    place.start()

    run = ended(place, run_id)
    assert (run["status"], run["reason"], run["attemptCount"]) == ("failed", "interrupted", 1), place.log()
    assert not steps(place), "a retry would run beside it"
    assert log_of(place) == ["start"]
    go(place)
    assert place.call("flow.retryRun", runId=run_id)["run"]["status"] in ("queued", "running")
    assert ended(place, run_id)["effectiveStatus"] == "changed"
    assert log_of(place) == ["start", "start", "end"]
    assert place.stop() == 0


# --- everything else that is on disk, while the daemon looks on


def emptied(path: Path) -> None:
    os.truncate(path, 0)


def replaced(path: Path) -> None:
    other = path.with_name(f"{path.name}.other")
    other.write_bytes(b"")
    other.replace(path)


HEALS = {
    "output": [("output", remove)],
    "folder": [("keeper", remove), (".gitignore", remove), ("flowd.sock", remove)],
    "files": [
        ("keeper/keeper.lock", remove),
        ("keeper/keeper.sock", remove),
        ("keeper/keeper.log", remove),
        ("keeper/keeper.journal", remove),
    ],
    "emptied": [("keeper/keeper.journal", emptied)],
}
"""What follows a restart is asked of the last state of each; so nothing is there twice in a row."""


@pytest.mark.parametrize("changes", HEALS.values(), ids=HEALS)
def test_what_is_taken_away_is_there_again_and_the_step_ends_once(
    place: Workspace, changes: list[tuple[str, Callable[[Path], None]]]
) -> None:
    run_id = begin(place)
    for name, change in changes:
        path = state(place) / name

        change(path)

        until(
            lambda path=path, change=change: path.exists() and (change is not emptied or path.stat().st_size),
            what=f"the healing of {name}",
        )
        assert place.call("daemon.status")["state"] == "ready"
    place.kill()
    place.start()
    go(place)
    run = ended(place, run_id)
    if name == "output":  # what it had said by then went with the folder
        assert (run["status"], log_of(place)) == ("completed" if "result" in run else "failed", ["start", "end"]), run
    else:
        assert (run["effectiveStatus"], run["attemptCount"]) == ("changed", 1), place.log()
    assert log_of(place) == ["start", "end"]
    again = place.call("flow.dispatch", event={"id": "later", "type": "work.go"}, wait=True)
    assert again["runs"][0]["effectiveStatus"] == "changed"
    assert place.stop() == 0


STOPS = [
    pytest.param("flowd.db", remove, marks=about_the_file),
    pytest.param("flowd.db", replaced, marks=about_the_file),
    pytest.param("flowd.db-wal", remove, marks=about_the_file),
    ("daemon.lock", remove),
    ("daemon.lock", replaced),
    ("", remove),
]


@pytest.mark.parametrize(("name", "change"), STOPS)
def test_what_cannot_be_made_again_stops_the_daemon_and_its_steps(
    place: Workspace, name: str, change: Callable[[Path], None]
) -> None:
    begin(place)

    change(state(place) / name if name else state(place))

    assert place.process is not None
    assert place.process.wait(60) == 74
    assert "was removed, emptied or replaced" in place.log()
    until(lambda: not steps(place), what="the step's end")
    go(place)
    if name == "flowd.db" and change is replaced:
        told = flowd_says(place, "serve", code=78)
        assert "is empty" in told
        assert "backup" in told
        return
    place.start()
    again = place.call("flow.dispatch", event={"id": "later", "type": "work.go"}, wait=True)
    assert again["runs"][0]["effectiveStatus"] == "changed"
    assert place.stop() == 0


@about_the_file
def test_a_database_without_its_shared_memory_stops_the_daemon_and_the_next_goes_on_with_the_step(
    place: Workspace,
) -> None:
    run_id = begin(place)
    remove(state(place) / "flowd.db-shm")
    assert place.process is not None
    assert place.process.wait(60) == 74
    place.start()
    go(place)
    assert (ended(place, run_id)["effectiveStatus"], log_of(place)) == ("changed", ["start", "end"])
    assert place.stop() == 0


@about_the_file
def test_a_database_that_was_emptied_under_the_daemon_is_never_taken_for_a_new_one(place: Workspace) -> None:
    begin(place)
    emptied(state(place) / "flowd.db")
    emptied(state(place) / "flowd.db-wal")
    assert place.process is not None
    assert place.process.wait(60) == 74
    told = flowd_says(place, "serve", code=78)
    assert "is empty" in told or "does not start over state" in told


# --- folders that the daemon may not write any more

AS_ITS_OWNER = ("setpriv", "--bounding-set=-dac_override,-dac_read_search", "--") if os.geteuid() == 0 else ()
"""Modes mean nothing to root, unless these capabilities are taken from it."""


@pytest.fixture
def read_only() -> Iterator[Callable[[Path], None]]:
    """Makes a folder and all that is in it read-only, until the test ends or it is called with it again."""
    changed: dict[Path, dict[Path, int]] = {}

    def toggle(top: Path) -> None:
        if (modes := changed.pop(top, None)) is not None:
            for path, mode in modes.items():
                path.chmod(mode)
            return
        paths = [top, *(path for path in top.rglob("*") if not path.is_socket())]
        changed[top] = {path: path.stat().st_mode & 0o7777 for path in paths}
        for path in reversed(paths):
            path.chmod(changed[top][path] & 0o555)

    yield toggle
    for top in tuple(changed):
        toggle(top)


@pytest.mark.parametrize("name", ["", "output"])
def test_what_becomes_read_only_is_told_and_what_could_not_start_for_it_does_so_afterwards(
    place: Workspace, read_only: Callable[[Path], None], name: str
) -> None:
    place.flow("work", f"{WORK}; echo late >&2")
    place.start(prefix=AS_ITS_OWNER)
    run_id = dispatch(place, "e")
    until(lambda: log_of(place) == ["start"], what="the step's start")
    read_only(state(place) / name)
    blocked_id = dispatch(place, "blocked")
    until(lambda: "runs wait for storage" in place.log(), what="word of it")
    assert "Permission denied. flowd has to be able to write there" in place.log()
    assert place.call("flow.getRun", runId=blocked_id)["run"]["status"] in ("queued", "running")
    go(place)
    run = ended(place, run_id)
    # The file of standard output was there; that of standard error is made when something is printed there.
    assert (run["effectiveStatus"], run["outputTruncated"]) == ("changed", True)
    assert log_of(place) == ["start", "end"]
    assert place.log().count("output not removed") == 1
    read_only(state(place) / name)
    assert ended(place, blocked_id)["effectiveStatus"] == "changed"
    assert log_of(place) == ["start", "end"] * 2
    assert "supervision failed" not in place.log()
    assert place.stop() == 0


def test_a_state_that_is_read_only_at_the_start_is_named_with_what_to_do(
    place: Workspace, read_only: Callable[[Path], None]
) -> None:
    place.start(prefix=AS_ITS_OWNER)
    assert place.stop() == 0
    read_only(state(place))
    argv = [*AS_ITS_OWNER, sys.executable, "-m", "flowd", "serve", "-w", str(place.path)]
    done = subprocess.run(argv, capture_output=True, text=True, timeout=60)
    assert done.returncode in (74, 78), done.stderr
    assert str(state(place)) in done.stderr
    assert "Fault" not in done.stderr


# --- what else is taken away


def test_the_token_of_http_is_made_again_and_one_that_its_owner_writes_is_taken(place: Workspace) -> None:
    web = HttpPlace(place).start(FLOWD_HTTP_OPEN="")
    file = state(place) / "http-token"
    token = file.read_text()
    for change in (remove, emptied, replaced):
        change(file)
        until(lambda: file.exists() and file.read_text() == token, what="the token")
        assert file.stat().st_mode & 0o777 == 0o600
    with create_flow_client("http", base_url=web.url) as client:
        assert client.list_runs().items == ()
    file.write_text("another-token-of-its-owner\n")
    until(lambda: "http token changed" in place.log(), what="the change")
    assert web.get("/runs", authorization="Bearer another-token-of-its-owner").status == 200
    assert web.get("/runs", authorization=f"Bearer {token.strip()}").status == 401
    assert place.stop() == 0


@pytest.mark.parametrize(("name", "inside"), [("flows/work", "."), ("flows", "work")])
def test_packages_that_are_taken_away_for_a_while_cost_no_run(place: Workspace, name: str, inside: str) -> None:
    place.flow("work", WORK)
    place.start(FLOWD_MAX_PARALLEL="1")
    running_id, queued_id = dispatch(place, "e"), dispatch(place, "e2")
    until(lambda: log_of(place) == ["start"], what="the step's start")
    away = place.path / "away"
    (place.path / name).rename(away)
    until(lambda: not place.call("flow.listFlows")["flows"], what="the packages' absence")
    (away / inside / "go").touch()
    assert ended(place, running_id)["effectiveStatus"] == "changed"

    def is_waiting() -> bool:
        found = place.call("flow.getRun", runId=queued_id)["run"].get("waitingFor", {})
        return (
            found == {"package": "work"} if place.store is None else list(found) == ["host"]
        )  # another one may have it

    until(is_waiting, what="the wait")
    assert place.call("daemon.status")["state"] == "ready"
    away.rename(place.path / name)
    run = ended(place, queued_id)
    assert (run["effectiveStatus"], run["attemptCount"]) == ("changed", 1)
    assert log_of(place) == ["start", "end"] * 2
    assert place.stop() == 0


# --- sockets


def replaced_by_a_dead_socket(path: Path) -> None:
    path.unlink()
    with socket.socket(socket.AF_UNIX) as dead:
        dead.bind(str(path))


def healthy(path: Path) -> bool:
    """Whether HTTP answers at a Unix socket."""
    with socket.socket(socket.AF_UNIX) as connection:
        try:
            connection.connect(str(path))
        except OSError:
            return False
        connection.sendall(b"GET /healthz HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n")
        return connection.recv(100).startswith(b"HTTP/1.1 200")


def test_a_removed_short_socket_and_its_pointer_come_back(place: Workspace, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("XDG_RUNTIME_DIR", raising=False)
    deep = place.path / ("d" * 60) / ("e" * 60)
    deep.mkdir(parents=True)
    inner = Workspace(deep)
    try:
        inner.flow("work", say("changed"))
        inner.start()
        pointer = state(inner) / "flowd.sock.path"
        short = Path(pointer.read_text().strip())
        short.unlink()
        assert "ready" in flowd_says(inner, "status")  # the command line asks the lock, and waits
        pointer.unlink()
        until(pointer.exists, what="the pointer")
        assert inner.call("flow.dispatch", event={"id": "e", "type": "work.go"}, wait=True)["status"] == "accepted"
        assert inner.stop() == 0
    finally:
        inner.clean_up()


def test_https_own_socket_is_bound_anew_where_somebody_removed_or_replaced_it(place: Workspace) -> None:
    http = place.path / "http.sock"
    place.start(FLOWD_HTTP=f"unix:{http}", FLOWD_HTTP_OPEN="1")
    for change in (remove, replaced_by_a_dead_socket):
        change(http)
        until(lambda: healthy(http), what="HTTP")
        assert http.stat().st_mode & 0o777 == 0o600
    assert place.log().count("socket bound anew") == 2
    http.unlink()
    http.write_text("somebody else's")
    until(lambda: "socket removed" in place.log(), what="word in the log")
    assert place.call("daemon.status")["state"] == "ready"
    http.unlink()
    until(lambda: healthy(http), what="HTTP")
    assert place.stop() == 0
    assert not http.exists()


def test_status_and_serve_do_not_send_one_round_in_a_circle(place: Workspace) -> None:
    place.start()
    place.socket.unlink()
    place.socket.mkdir()  # in the way, so that it cannot be bound anew
    until(lambda: "socket removed" in place.log(), what="word in the log")
    assert place.process is not None
    told = flowd_says(place, "status", code=3)
    assert f"A daemon (pid {place.process.pid}) serves this workspace, but nothing listens" in told
    place.socket.rmdir()
    assert "ready" in flowd_says(place, "status")
    assert place.stop() == 0


def test_doctor_names_folders_that_somebody_removed(place: Workspace) -> None:
    place.start()
    assert place.stop() == 0
    remove(state(place) / "output")
    found = doctor(place.path)["by_check"]["state.folders"]
    assert (found["level"], "output" in found["found"]) == ("warn", True), found
