"""Clients of the socket that are not ours: a shell's printf, a half-closed connection, headers that make no sense."""

import json
import signal
import socket
import sys
from contextlib import ExitStack
from typing import Any

import pytest
from daemon_rig import Workspace


def exchange(place: Workspace, sent: bytes) -> bytes:
    with socket.socket(socket.AF_UNIX) as connection:
        connection.settimeout(20)
        connection.connect(str(place.socket))
        connection.sendall(sent)
        connection.shutdown(socket.SHUT_WR)
        got = b""
        while piece := connection.recv(65536):
            got += piece
    return got


def request(method: str) -> bytes:
    return json.dumps({"jsonrpc": "2.0", "id": 1, "method": method}).encode()


def test_odd_frames_are_answered(place: Workspace) -> None:
    place.start()

    answer: Any = json.loads(exchange(place, request("daemon.status")))
    assert answer["result"]["state"] == "ready", "a last line without a newline"

    answer = json.loads(exchange(place, request("daemon.status")[:-1]))
    assert answer["error"]["data"]["slug"] == "parse_error", "a last line that was cut off"

    headers, _, body = exchange(place, b"Content-Length: abc\r\n\r\n{}").partition(b"\r\n\r\n")
    assert headers.startswith(b"Content-Length: ")
    answer = json.loads(body)
    assert answer["error"]["data"]["slug"] == "parse_error"
    assert "Content-Length" in answer["error"]["message"]

    assert place.call("daemon.status")["state"] == "ready"


@pytest.mark.skipif(sys.platform == "darwin", reason="its kernel caps the backlog at 128")
def test_a_burst_of_clients_is_let_in_while_the_daemon_is_busy(place: Workspace) -> None:
    place.start()
    assert place.process is not None
    with ExitStack() as stack:
        place.process.send_signal(signal.SIGSTOP)
        try:
            for _ in range(400):
                connection = stack.enter_context(socket.socket(socket.AF_UNIX))
                connection.settimeout(20)
                connection.connect(str(place.socket))
        finally:
            place.process.send_signal(signal.SIGCONT)
        connection.sendall(request("daemon.status") + b"\n")
        reader = stack.enter_context(connection.makefile("rb"))
        assert json.loads(reader.readline())["result"]["state"] == "ready"
