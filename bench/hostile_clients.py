"""Clients that mean no good, each in threads of a process of its own until it is killed. Standard library alone."""

import json
import os
import socket
import sys
import threading
import time
from collections.abc import Callable
from typing import Any

_MANY = 10
_IDLE = 250
_BODY = 1_000_000


def _line(number: int, method: str, **params: Any) -> bytes:
    return json.dumps({"jsonrpc": "2.0", "id": number, "method": method, "params": params}).encode() + b"\n"


class Victim:
    """Where the daemon is, and what is known of it."""

    def __init__(self, asked: dict[str, Any]) -> None:
        self.socket: str = asked["socket"]
        self.http: tuple[str, int] = (asked["http"][0], asked["http"][1])
        self.run_id: str = asked["run_id"]
        self.token: str = asked["token"]

    def on_socket(self) -> socket.socket:
        connection = socket.socket(socket.AF_UNIX)
        connection.connect(self.socket)
        return connection

    def on_http(self) -> socket.socket:
        return socket.create_connection(self.http)

    def head(self, line: str, *more: str, token: str | None = None) -> bytes:
        lines = (line, "Host: localhost", f"Authorization: Bearer {token or self.token}", *more)
        return "\r\n".join((*lines, "", "")).encode()


def _drain(connection: socket.socket) -> None:
    while connection.recv(1 << 20):
        pass


def pipeliners(victim: Victim) -> None:
    """2,000 requests at once, again and again."""
    while True:
        connection = victim.on_socket()
        threading.Thread(target=_drain, args=(connection,), daemon=True).start()
        for _ in range(20):
            connection.sendall(b"".join(_line(n, "flow.listRuns", limit=500) for n in range(2000)))


def batches(victim: Victim) -> None:
    """1,000 requests in one message."""
    connection = victim.on_socket()
    threading.Thread(target=_drain, args=(connection,), daemon=True).start()
    batch = b"[" + b",".join(_line(n, "daemon.status").strip() for n in range(1000)) + b"]\n"
    while True:
        connection.sendall(batch)


def slow_readers(victim: Victim) -> None:
    """Asks for much, and takes a byte now and then."""
    connection = victim.on_socket()
    connection.sendall(b"".join(_line(n, "rpc.discover") for n in range(200)))
    while True:
        connection.recv(1)
        time.sleep(0.05)


def slow_writers(victim: Victim) -> None:
    """A body that comes byte by byte."""
    while True:
        connection = victim.on_http()
        connection.sendall(
            victim.head("POST /events HTTP/1.1", "Content-Type: application/json", "Content-Length: 900000")
        )
        try:
            while True:
                connection.sendall(b"x")
                time.sleep(0.02)
        except OSError:
            pass


def big_bodies(victim: Victim) -> None:
    """As large as they may be, and no event."""
    head = victim.head("POST /events HTTP/1.1", "Content-Type: application/json", f"Content-Length: {_BODY}")
    body = b'{"payload":"' + b"x" * (_BODY - 14) + b'"}'
    while True:
        connection = victim.on_http()
        threading.Thread(target=_drain, args=(connection,), daemon=True).start()
        try:
            for _ in range(100):
                connection.sendall(head + body)
        except OSError:
            pass


def idle_connections(victim: Victim) -> None:
    """Connections that say nothing; over HTTP they are closed after a while, and opened anew."""
    held = [victim.on_socket() for _ in range(_IDLE // _MANY)]
    while True:
        held += [victim.on_http() for _ in range(_IDLE // _MANY)]
        time.sleep(5)
        del held[_IDLE // _MANY :]


def cancelled_waits(victim: Victim) -> None:
    """Waits for what does not end, and cancels that."""
    connection = victim.on_socket()
    threading.Thread(target=_drain, args=(connection,), daemon=True).start()
    while True:
        connection.sendall(b"".join(_line(n, "flow.waitRun", runId=victim.run_id) for n in range(256)))
        for n in range(256):
            cancel = {"jsonrpc": "2.0", "method": "$/cancelRequest", "params": {"id": n}}
            connection.sendall(json.dumps(cancel).encode() + b"\n")
        time.sleep(0.01)


def wrong_tokens(victim: Victim) -> None:
    """Guesses, as fast as they are answered."""
    while True:
        connection = victim.on_http()
        try:
            for _ in range(1000):
                connection.sendall(victim.head("GET /runs HTTP/1.1", token=os.urandom(8).hex()))
                connection.recv(65536)
        except OSError:
            pass


KINDS: dict[str, Callable[[Victim], None]] = {
    kind.__name__.replace("_", " "): kind
    for kind in (
        pipeliners,
        batches,
        slow_readers,
        slow_writers,
        big_bodies,
        idle_connections,
        cancelled_waits,
        wrong_tokens,
    )
}


def main() -> None:
    """Be one of them, in several threads."""
    asked = json.loads(sys.argv[1])
    victim = Victim(asked)
    for _ in range(_MANY):
        threading.Thread(target=KINDS[asked["kind"]], args=(victim,), daemon=True).start()
    time.sleep(0.5)
    print("begun", flush=True)
    time.sleep(3600)


if __name__ == "__main__":
    main()
