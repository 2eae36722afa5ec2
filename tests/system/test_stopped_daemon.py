"""A daemon that is stopped, by Ctrl-Z say: whoever waits for it is told, and goes on when it does."""

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from typing import Any

import psutil
import pytest
from client_rig import KINDS, Kind, opened, options_of
from daemon_rig import Workspace, say

from flowd_client import TimedOutError

SOCKETS = [kind for kind in KINDS if kind.mode == "socket"]
COMMANDS = [
    ["status"],
    ["runs"],
    ["dispatch", "-"],
    ["dispatch", "-", "--wait"],
    ["logs", "-f", "{run}"],
    ["cancel", "{run}"],
    ["events", "-f"],
]


@pytest.fixture
def stopped(place: Workspace) -> Iterator[tuple[Workspace, psutil.Process, str]]:
    """A workspace whose daemon is stopped, its process, and a run that has ended."""
    place.flow("hello", say("changed"))
    place.start()
    with place.client() as client:
        (run,) = client.dispatch_event({"id": "before", "type": "hello.go"}, wait=True).run_ids
        process = psutil.Process(client.status()["pid"])
    process.suspend()
    try:
        yield place, process, run
    finally:
        process.resume()


@pytest.mark.parametrize("command", COMMANDS, ids=" ".join)
def test_a_command_says_that_the_daemon_is_stopped_and_goes_on_with_it(stopped: Any, command: list[str]) -> None:
    place, process, run = stopped
    argv = [sys.executable, "-m", "flowd", *(word.format(run=run) for word in command), "-w", str(place.path)]
    with subprocess.Popen(
        argv, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    ) as caller:
        assert caller.stdin is not None
        assert caller.stderr is not None
        caller.stdin.write('{"id": "e", "type": "hello.go"}')
        caller.stdin.close()
        said = caller.stderr.readline()
        assert f"kill -CONT {process.pid}" in said
        assert said.startswith("flowd: ")
        process.resume()
        if command == ["events", "-f"]:
            caller.send_signal(signal.SIGINT)
        caller.wait(60)
        assert caller.returncode == {"cancel": 5, "events": 130}.get(command[0], 0)


@pytest.mark.parametrize("kind", SOCKETS, ids=str)
def test_a_client_that_gives_up_says_that_the_daemon_is_stopped(stopped: Any, kind: Kind) -> None:
    place, process, _ = stopped
    with opened(kind, {"workspace": place.path}, timeout_s=0.3) as client:
        with pytest.raises(TimedOutError, match=rf"within 0\.3 s\. Its process {process.pid} is stopped") as raised:
            client.list_runs()
        assert raised.value.data["stoppedPid"] == process.pid
        process.resume()
    with opened(kind, options_of(kind, place)) as client:
        assert len(client.list_runs()) == 1
    assert os.path.exists(place.socket)
