"""Local mode with real processes: what each kind of state keeps, who may share it, and what steps are given."""

import asyncio
import json
import os
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from daemon_rig import Workspace, about_the_file, say, until

from flowd.state.lock import Lock
from flowd_client import (
    DaemonRunningError,
    LocalFlowClientUnsupportedStateError,
    TimedOutError,
    create_async_flow_client,
    create_flow_client,
)
from flowd_client.client import FlowClient

EVENT = {"id": "e", "type": "hello.go"}
HOLD = "echo begun; while [ ! -e go ]; do sleep 0.02; done"


def local(place: Workspace, **options: object) -> FlowClient:
    return create_flow_client("local", workspace=place.path, **options)  # type: ignore[call-overload,no-any-return]


@pytest.fixture(autouse=True)
def temporary(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """A temporary directory of our own, so that other programs' private state is not taken for ours."""
    tmp_path_factory.getbasetemp()  # later tests' folder, which is made in the temporary directory at its first use
    with tempfile.TemporaryDirectory(prefix="fl-") as folder:
        before, tempfile.tempdir = tempfile.tempdir, folder
        yield
        tempfile.tempdir = before


def private_folders() -> set[str]:
    return {name for name in os.listdir(tempfile.gettempdir()) if name.startswith("flowd-local-")}


def test_a_call_that_is_given_up_while_the_engine_opens_leaves_nothing(place: Workspace) -> None:
    before = private_folders()
    for state in (None, "memory", "file"):
        with local(place, state=state, timeout_s=0.01) as client, pytest.raises(TimedOutError):
            client.list_flows()
    assert private_folders() <= before
    with local(place, state="file") as client:  # the lock is free
        assert client.list_flows().flows == ()


def test_what_an_interrupted_removal_left_is_removed_by_the_next_client(place: Workspace) -> None:
    left, held, young = (Path(tempfile.gettempdir(), f"flowd-local-{name}") for name in ("left", "held", "young"))
    for folder in (left, held, young):
        (folder / "keeper").mkdir(parents=True)
    long_ago = time.time() - 3600
    with Lock(held):
        os.utime(left, (long_ago, long_ago))
        os.utime(held, (long_ago, long_ago))
        with local(place) as client:
            client.list_flows()
        assert (left.exists(), held.exists(), young.exists()) == (False, True, True)


@pytest.mark.parametrize(
    ("verb", "args", "operation"),
    [
        ("replay_event", ("e",), "replayEvent"), ("cancel_run", ("r",), "cancelRun"), ("list_runs", (), "listRuns"),
        ("get_run", ("r",), "getRun"), ("list_events", (), "listEvents"), ("get_event", ("e",), "getEvent"),
        ("wait_run", ("r",), "waitRun"), ("read_output", ("r",), "readOutput"), ("retry_run", ("r",), "retryRun"),
    ],
)  # fmt: skip
def test_without_state_what_needs_it_is_refused_in_the_reference_systems_words(
    place: Workspace, verb: str, args: tuple[str, ...], operation: str
) -> None:
    with (
        local(place, state=None) as client,
        pytest.raises(
            LocalFlowClientUnsupportedStateError, match=f"^Local flow client {operation} requires local state"
        ),
    ):
        getattr(client, verb)(*args)


def test_without_state_a_dispatch_waits_gives_the_output_and_leaves_nothing(place: Workspace) -> None:
    place.flow("hello", f"echo x >>count; echo out; {say('changed')}")
    before = private_folders()
    with local(place, state=None, timeout_s=0.01) as client:
        for _ in range(2):  # nothing is remembered, so nothing is a duplicate
            answer = client.dispatch_event(EVENT)
            assert (answer.status, answer.runs[0].status) == ("accepted", "changed")
            assert answer.runs[0].output[0].text.startswith("out\n")
    with local(place, state=None) as client:
        assert {flow.name for flow in client.list_flows().flows} == {"hello"}
    assert (place.path / "flows/hello/count").read_text() == "x\nx\n"
    assert private_folders() <= before
    assert not (place.path / ".codex").exists()


def test_memory_ends_with_the_client_and_so_do_its_steps(place: Workspace) -> None:
    place.flow("hello", "trap 'echo told >told; exit 1' TERM; echo $$ >pid; while :; do sleep 0.05; done")
    before = private_folders()
    with local(place) as client:
        client.dispatch_event(EVENT)
        pid = int(until(lambda: _text(place.path / "flows/hello/pid"), what="the step's start"))
    assert (place.path / "flows/hello/told").exists()
    with pytest.raises(ProcessLookupError):
        os.kill(pid, 0)
    assert private_folders() <= before
    with local(place) as client:
        assert len(client.list_events()) == 0


@about_the_file
def test_file_state_survives_the_client_with_ids_and_replays(place: Workspace) -> None:
    place.flow("hello", say("changed"))
    with local(place, state="file") as client:
        first = client.dispatch_event(EVENT, wait=True)
        replay = client.replay_event("e", wait=True)
    with local(place, state="file") as client:
        assert client.dispatch_event(EVENT).is_duplicate
        assert [run.id for run in client.list_runs()] == [*replay.run_ids, *first.run_ids]
    place.start()  # and a daemon finds it, too
    assert place.call("flow.getEvent", eventId="e")["event"]["runIds"] == [*first.run_ids, *replay.run_ids]


def test_a_step_under_way_outlives_a_file_client_and_the_next_one_sees_its_end(place: Workspace) -> None:
    folder = place.flow("hello", f"{HOLD}; {say('changed')}")
    with local(place, state="file") as client:
        run = client.dispatch_event(EVENT).run_ids[0]
        until(lambda: client.get_run(run).output, what="the step's start")
    with local(place, state="file") as client:
        assert client.get_run(run).process_status == "running"
        (folder / "go").touch()
        ended = client.wait_run(run)
    assert (ended.status, ended.attempt_count) == ("changed", 1)


def test_a_second_client_on_the_same_state_is_served_by_the_first_and_takes_over_from_it(place: Workspace) -> None:
    folder = place.flow("hello", f"{HOLD}; echo x >>count; {say('changed')}")
    script = (
        "import sys, flowd_client as f\n"
        "with f.create_flow_client('local', workspace=sys.argv[1], state='file') as c:\n"
        "    print(c.dispatch_event({'id': 'e', 'type': 'hello.go'}).status, flush=True)\n"
        "    print(c.status()['pid'], flush=True)\n"
        "    sys.stdin.readline()\n"
    )
    argv = [sys.executable, "-c", script, str(place.path)]
    with subprocess.Popen(argv, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as first:
        assert first.stdin is not None
        assert first.stdout is not None
        assert first.stdout.readline() == "accepted\n"
        assert int(first.stdout.readline()) == first.pid
        with local(place, state="file") as second:
            again = second.dispatch_event(EVENT)
            assert (again.is_duplicate, second.status()["pid"]) == (True, first.pid)
            views = []
            waiting = threading.Thread(target=lambda: views.append(second.wait_run(again.run_ids[0])))
            waiting.start()
            first.stdin.close()
            assert first.wait(60) == 0
            assert second.status()["pid"] == os.getpid()
            (folder / "go").touch()
            waiting.join(60)
            assert [(view.status, view.attempt_count) for view in views] == [("changed", 1)]
    assert (folder / "count").read_text() == "x\n"


def test_many_processes_on_one_state_folder_run_every_event_once(place: Workspace) -> None:
    folder = place.flow("hello", f"echo $CODEX_FLOW_EVENT_ID >>ids; {say('changed')}")
    script = (
        "import sys, flowd_client as f\n"
        "for n in range(6):\n"
        "    with f.create_flow_client('local', workspace=sys.argv[1], state='file') as c:\n"
        "        assert c.dispatch_event({'id': f'e{n}', 'type': 'hello.go'}, wait=True).runs[0].status == 'changed'\n"
    )
    argv = [sys.executable, "-W", "error", "-c", script, str(place.path)]
    several = [subprocess.Popen(argv, stderr=subprocess.PIPE, text=True) for _ in range(3)]
    for one in several:
        _, complaint = one.communicate(timeout=60)
        assert (one.returncode, complaint) == (0, "")
    assert sorted((folder / "ids").read_text().split()) == [f"e{n}" for n in range(6)]


def test_beside_a_daemon_it_is_refused_with_the_socket_to_use_instead(place: Workspace) -> None:
    place.start()
    with local(place, state="file") as client, pytest.raises(DaemonRunningError) as raised:
        client.list_runs()
    assert raised.value.data["socket"] == str(place.socket)
    with create_flow_client("socket", socket_path=raised.value.data["socket"]) as client:
        assert len(client.list_runs()) == 0


def test_a_state_folder_can_be_anywhere(place: Workspace, tmp_path: Path) -> None:
    place.flow("hello", say("changed"))
    place.start()
    with local(place, state="file", state_dir=tmp_path / "elsewhere") as client:
        assert client.dispatch_event(EVENT, wait=True).runs[0].status == "changed"
    assert (tmp_path / "elsewhere/flowd.db").exists()
    assert place.call("flow.listEvents")["events"] == []


def test_an_empty_env_isolates_steps_and_another_is_all_they_get(
    place: Workspace, monkeypatch: pytest.MonkeyPatch
) -> None:
    place.flow("hello", f"env >env; {say('changed')}")
    monkeypatch.setenv("A_SECRET_OF_MINE", "hunter2")
    for env, expected in ((None, {"A_SECRET_OF_MINE", "PATH"}), ({}, set()), ({"ONLY": "this"}, {"ONLY"})):
        with local(place, state=None, env=env) as client:
            assert client.dispatch_event(EVENT).runs[0].status == "changed"
        names = {line.partition("=")[0] for line in (place.path / "flows/hello/env").read_text().splitlines()}
        given = {name for name in names if not name.startswith(("CODEX_FLOW", "FLOWD_")) and name not in ("PWD", "_")}
        assert expected <= given
        assert env is None or given - {"SHLVL", "OLDPWD"} == expected


@pytest.mark.parametrize("state", [None, "memory", "file"])
def test_output_is_told_while_it_is_written_and_all_of_it_before_a_waiting_dispatch_returns(
    place: Workspace, state: str | None
) -> None:
    folder = place.flow("hello", f"{HOLD}; echo last >&2; {say('changed')}")
    told: list[tuple[str, str, str]] = []

    def tell(run_id: str, stream: str, text: str) -> None:
        told.append((run_id, stream, text))
        (folder / "go").touch()  # so the step ends only because its first line was told

    with local(place, state=state, on_output=tell) as client:
        answer = client.dispatch_event(EVENT, wait=True)
    assert answer.runs[0].status == "changed"
    assert told[0] == (answer.run_ids[0], "stdout", "begun\n")
    assert "".join(text for _, stream, text in told if stream == "stderr") == "last\n"


def test_a_package_that_was_written_just_now_is_seen(place: Workspace) -> None:
    with local(place) as client:
        assert client.dispatch_event(EVENT).matched == 0
        place.flow("hello", say("changed"))
        assert client.dispatch_event({**EVENT, "id": "f"}, wait=True).runs[0].status == "changed"


def test_two_event_loops_can_use_local_clients_at_once(place: Workspace) -> None:
    place.flow("hello", say("changed"))

    async def use(name: str) -> str:
        async with create_async_flow_client("local", workspace=place.path, state="file") as client:
            return (await client.dispatch_event({**EVENT, "id": name}, wait=True)).runs[0].status

    results: list[str] = []
    threads = [threading.Thread(target=lambda name=name: results.append(asyncio.run(use(name)))) for name in "ab"]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert results == ["changed", "changed"]


def test_state_that_cannot_be_read_is_refused_and_left_alone(place: Workspace) -> None:
    database = place.path / ".codex/flowd/flowd.db"
    database.parent.mkdir(parents=True, mode=0o700)
    database.write_bytes(b"not a database" * 100)
    with local(place, state="file") as client, pytest.raises(Exception, match=r"flowd\.db") as raised:
        client.list_runs()
    assert raised.value.slug == "bad_state"  # type: ignore[attr-defined]
    assert database.read_bytes() == b"not a database" * 100
    assert json.dumps(raised.value.data)  # type: ignore[attr-defined]


def _text(file: Path) -> str:
    return file.read_text().strip() if file.exists() else ""


LEAVING = """
import gc, os, sys, tempfile, time, warnings
import flowd_client
tempfile.tempdir = sys.argv[2]
client = flowd_client.create_flow_client("local", workspace=sys.argv[1], state=sys.argv[3])
client.dispatch_event({"id": "e", "type": "hello.go"})
while not os.path.exists("pid"):
    time.sleep(0.01)
if sys.argv[4] == "dropped":
    del client
    gc.collect()
elif sys.argv[4] == "in a cycle":
    ring = [client]
    ring.append(ring)
    del client, ring
    gc.collect()
elif sys.argv[4] == "forked":
    if os.fork() == 0:
        sys.exit(0)
    os.wait()
    print(client.list_runs()[0].status)
elif sys.argv[4] == "failed":
    sys.exit("done")
"""


@pytest.mark.parametrize("how", ["dropped", "in a cycle", "forked", "failed", "still there"])
def test_a_client_that_is_left_open_ends_its_steps_removes_its_folder_and_warns(place: Workspace, how: str) -> None:
    folder = place.flow("hello", "trap 'echo told >told; exit 1' TERM; echo $$ >pid; while :; do sleep 0.05; done")
    argv = [sys.executable, "-W", "always::ResourceWarning", "-c", LEAVING]
    argv += [str(place.path), tempfile.gettempdir(), "memory", how]
    done = subprocess.run(argv, cwd=folder, capture_output=True, text=True, timeout=60)
    assert done.returncode == (1 if how == "failed" else 0)
    assert done.stdout == ("running\n" if how == "forked" else "")
    assert done.stderr.count("ResourceWarning: A local flowd client was left open.") == 1
    assert "Traceback" not in done.stderr
    assert (folder / "told").exists()
    with pytest.raises(ProcessLookupError):
        os.kill(int((folder / "pid").read_text()), 0)
    assert private_folders() == set()


def test_a_file_client_that_is_left_open_leaves_its_step_to_the_next_one(place: Workspace) -> None:
    folder = place.flow("hello", f"echo $$ >pid; {HOLD}; {say('changed')}")
    argv = [sys.executable, "-c", LEAVING, str(place.path), tempfile.gettempdir(), "file", "still there"]
    done = subprocess.run(argv, cwd=folder, capture_output=True, text=True, timeout=60)
    assert (done.returncode, done.stderr) == (0, "")
    with local(place, state="file") as client:
        (run,) = client.list_runs()
        assert run.process_status == "running"
        (folder / "go").touch()
        assert client.wait_run(run.id).status == "changed"


def test_a_closed_client_warns_of_nothing(place: Workspace) -> None:
    place.flow("hello", say("changed"))
    script = (
        "import sys, flowd_client as f\n"
        "c = f.create_flow_client('local', workspace=sys.argv[1]); c.list_flows(); c.close()\n"
        "f.create_flow_client('local', workspace=sys.argv[1])\n"
    )
    argv = [sys.executable, "-W", "error", "-c", script, str(place.path)]
    done = subprocess.run(argv, capture_output=True, text=True, timeout=60)
    assert (done.returncode, done.stderr) == (0, "")
