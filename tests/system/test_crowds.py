"""Many requests and many connections at once, on the control socket and over HTTP."""

import json
import os
import resource
import socket
import subprocess
import sys
from contextlib import ExitStack, suppress
from typing import Any

from daemon_rig import Workspace, say, until
from http_rig import HttpPlace


def line(request_id: Any, method: str, **params: Any) -> bytes:
    return json.dumps({"jsonrpc": "2.0", "id": request_id, "method": method, "params": params}).encode() + b"\n"


def connect(place: Workspace, stack: ExitStack) -> tuple[socket.socket, Any]:
    connection = stack.enter_context(socket.socket(socket.AF_UNIX))
    connection.settimeout(20)
    connection.connect(str(place.socket))
    return connection, stack.enter_context(connection.makefile("rb"))


def cancel(request_id: Any) -> bytes:
    return json.dumps({"jsonrpc": "2.0", "method": "$/cancelRequest", "params": {"id": request_id}}).encode() + b"\n"


def ask(connection: socket.socket, lines: Any) -> bytes:
    """An answer, or what the daemon said before it hung up."""
    with suppress(ConnectionError):
        connection.sendall(line(3, "daemon.status"))
    with suppress(ConnectionError):
        return bytes(lines.readline())
    return b""


def test_cancelled_requests_are_answered_and_make_room(place: Workspace) -> None:
    place.flow("slow", f"sleep 60; {say('completed')}")
    place.start()
    (run_id,) = place.call("flow.dispatch", event={"id": "e", "type": "slow.go"})["runIds"]
    with ExitStack() as stack:
        connection, lines = connect(place, stack)
        ids = list(range(300))  # more than may be under way at once
        connection.sendall(b"".join(line(n, "flow.waitRun", runId=run_id) for n in ids))
        connection.sendall(b"".join(map(cancel, ids)) + line("last", "daemon.status"))
        answers = {answer["id"]: answer for answer in (json.loads(lines.readline()) for _ in range(301))}
        assert answers.pop("last")["result"]["state"] == "ready"
        assert {answer["error"]["code"] for answer in answers.values()} == {-32800}
        assert {answer["error"]["data"]["slug"] for answer in answers.values()} == {"request_cancelled"}
        assert sorted(answers) == ids
        connection.sendall(cancel(1) + line(1, "daemon.status"))  # of a request that has its response
        assert "result" in json.loads(lines.readline())
        connection.sendall(b"[" + line(2, "flow.waitRun", runId=run_id).strip() + b"]\n" + cancel(2))
        assert json.loads(lines.readline())[0]["error"]["code"] == -32800


def test_batches_that_wait_are_not_all_taken_in(place: Workspace) -> None:
    place.flow("slow", f"sleep 60; {say('completed')}")
    place.start()
    (run_id,) = place.call("flow.dispatch", event={"id": "e", "type": "slow.go"})["runIds"]
    with ExitStack() as stack:
        connection, _ = connect(place, stack)
        connection.settimeout(1)
        batch = b"[" + b",".join(line(n, "flow.waitRun", runId=run_id).strip() for n in range(600)) + b"]\n"
        sent = 0
        with suppress(TimeoutError):
            while sent < 200:
                connection.sendall(batch)
                sent += 1
        # What the socket and the framer hold comes to that.
        assert sent * len(batch) < 4 << 20
        small, lines = connect(place, stack)
        small.sendall((b"[" + line(1, "flow.waitRun", runId=run_id).strip() + b"]\n") * 200 + line(2, "daemon.status"))
        assert json.loads(lines.readline())["id"] == 2, "small batches hold up nothing"
        small.sendall(cancel(1))
        assert json.loads(lines.readline())[0]["error"]["data"]["slug"] == "request_cancelled"


def test_what_has_not_begun_when_the_daemon_stops_is_told_so(place: Workspace) -> None:
    place.flow("slow", f"sleep 60; {say('completed')}")
    place.start(FLOWD_ON_STOP="keep")
    (run_id,) = place.call("flow.dispatch", event={"id": "e", "type": "slow.go"})["runIds"]
    with ExitStack() as stack:
        connection, lines = connect(place, stack)
        connection.sendall(b"".join(line(n, "flow.waitRun", runId=run_id) for n in range(300)))
        other, answers = connect(place, stack)
        other.sendall(line(1, "daemon.status"))
        answers.readline()  # by now the requests before have been read
        place.stop()
        told = [json.loads(answer) for answer in lines]
        assert [answer["id"] for answer in told] == list(range(256, 300))
        assert {answer["error"]["data"]["slug"] for answer in told} == {"shutting_down"}


def test_half_a_surrogate_pair_is_answered_under_its_id(place: Workspace) -> None:
    place.start()
    with ExitStack() as stack:
        connection, lines = connect(place, stack)
        connection.sendall(
            b'{"jsonrpc":"2.0","id":"\\ud83d","method":"flow.dispatch",'
            b'"params":{"event":{"id":"half","type":"t","payload":["\\ud83d","\\ud83d\\ude00","\\\\ud83d"]}}}\n'
        )
        answer = json.loads(lines.readline())
        assert answer["id"] == "\ufffd"
        assert answer["result"]["event"]["payload"] == ["\ufffd", "\U0001f600", "\\ud83d"]
        connection.sendall(b'\xef\xbb\xbf{"jsonrpc":"2.0","id":5,"method":"daemon.status"}\n')
        assert json.loads(lines.readline())["id"] == 5


def test_pipelined_requests_of_many_let_another_one_through(place: Workspace) -> None:
    place.start()
    with ExitStack() as stack:
        crowd = [connect(place, stack) for _ in range(5)]
        for connection, _ in crowd:
            connection.sendall(b"".join(line(n, "rpc.discover") for n in range(200)))
        assert place.call("daemon.status")["state"] == "ready"
        # It had not to wait until all of theirs were answered: nobody reads those, and they do not fit into a socket.
        for _, lines in crowd:
            assert [json.loads(lines.readline())["id"] for _ in range(200)] == list(range(200))


def test_a_daemon_with_few_descriptors_answers_and_does_not_fill_its_log(place: Workspace) -> None:
    hard = 64
    with place.log_path.open("ab") as log:
        place.process = subprocess.Popen(
            [sys.executable, "-m", "flowd", "serve", "-w", str(place.path), "--http", "127.0.0.1:0"],
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
            env={**os.environ, "FLOWD_HTTP_OPEN": "1"},
            preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard)),  # noqa: PLW1509
        )
    until(lambda: place.socket.exists() and "listening" in place.log(), what="a ready daemon")
    with ExitStack() as stack:
        first, lines = connect(place, stack)
        first.sendall(line(1, "daemon.status"))
        status = json.loads(lines.readline())["result"]
        web = HttpPlace(place)
        web.port = int(status["http"].rpartition(":")[2])
        crowd = [connect(place, stack) for _ in range(80)]
        for _ in range(80):
            stack.enter_context(socket.create_connection(("127.0.0.1", web.port), timeout=20))
        first.sendall(line(2, "daemon.status"))
        assert json.loads(lines.readline())["result"]["state"] == "ready"
        answers = [ask(*one) for one in crowd]
        slugs = [json.loads(answer).get("error", {}).get("data", {}).get("slug") for answer in answers if answer]
        assert None in slugs  # some were let in
        assert "too_many_connections" in slugs
    assert len(place.log().splitlines()) < 30
    until(lambda: place.call("daemon.status")["state"] == "ready", what="an answer once the crowd has gone")
