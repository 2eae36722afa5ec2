"""Daemons that follow one another on listening sockets that somebody else keeps: no caller notices."""

import os
import signal
import socket
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from daemon_rig import Workspace, until

CALLERS = 6
RESTARTS = 4

# What a service manager does between fork and exec; the pid in LISTEN_PID must be the daemon's own.
_SERVE = """
import os, sys
for target, fd in enumerate(map(int, sys.argv[2:4]), start=3):
    os.dup2(fd, target)
names = {"LISTEN_PID": str(os.getpid()), "LISTEN_FDS": "2", "LISTEN_FDNAMES": "flowd.sock:http"}
serve = [sys.executable, "-m", "flowd", "serve", "-w", sys.argv[1], "--http", sys.argv[4], "--http-open"]
os.execve(sys.executable, serve, {**os.environ, **names})
"""


@pytest.fixture
def held(place: Workspace) -> Iterator[tuple[socket.socket, socket.socket]]:
    """The control socket and one for HTTP, listening."""
    place.socket.parent.mkdir(parents=True)
    with socket.socket(socket.AF_UNIX) as control, socket.socket() as http:
        control.bind(str(place.socket))
        http.bind(("127.0.0.1", 0))
        for listener in (control, http):
            listener.listen(1024)
        yield control, http


def serve(place: Workspace, held: tuple[socket.socket, socket.socket]) -> subprocess.Popen[bytes]:
    high = [os.dup2(listener.fileno(), number) for number, listener in enumerate(held, start=50)]
    address = "127.0.0.1:{1}".format(*held[1].getsockname())
    with place.log_path.open("ab") as log:
        argv = [sys.executable, "-c", _SERVE, str(place.path), *map(str, high), address]
        started = place.process = subprocess.Popen(argv, stdout=log, stderr=log, pass_fds=high)
    for fd in high:
        os.close(fd)
    return started


def ask_control(path: Path) -> bool:
    with socket.socket(socket.AF_UNIX) as caller:
        caller.settimeout(30)
        caller.connect(str(path))
        caller.sendall(b'{"jsonrpc":"2.0","id":1,"method":"flow.listRuns"}\n')
        return b'"result"' in caller.recv(65536)


def ask_http(where: tuple[str, int]) -> bool:
    with socket.create_connection(where, timeout=30) as caller:
        caller.sendall(b"GET /runs HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n")
        return caller.recv(65536).startswith(b"HTTP/1.1 200")


@pytest.mark.parametrize("kind", ["control", "http"])
def test_no_caller_is_dropped_over_restarts(
    place: Workspace, held: tuple[socket.socket, socket.socket], kind: str
) -> None:
    control, http = held
    ask: Callable[[], bool] = {
        "control": lambda: ask_control(Path(control.getsockname())),
        "http": lambda: ask_http(http.getsockname()),
    }[kind]
    answered = [0] * CALLERS
    dropped: list[str] = []
    enough = threading.Event()

    def keep_asking(caller: int) -> None:
        while not enough.is_set():
            try:
                answered[caller] += ask()
            except OSError as error:
                dropped.append(repr(error))

    daemon = serve(place, held)
    assert ask()
    callers = [threading.Thread(target=keep_asking, args=(caller,)) for caller in range(CALLERS)]
    for caller in callers:
        caller.start()
    try:
        for times in range(1, RESTARTS + 1):
            before = place.log().count("ready")
            daemon.send_signal(signal.SIGTERM)
            assert daemon.wait(60) == 0, place.log()
            daemon = serve(place, held)
            assert ask()
            assert place.log().count("ready") > before
            until(lambda least=2 * times: dropped or min(answered) > least, what="answers for every caller")
    finally:
        enough.set()
        for caller in callers:
            caller.join()
    assert dropped == []
