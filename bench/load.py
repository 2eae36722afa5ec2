"""Sends requests as fast as a daemon answers, from a process of its own.

The process speaks over raw sockets and encodes everything before the clock starts, so that it neither slows down what
is measured nor counts into its CPU time. `send` starts it; it runs this module, with the standard library alone.
"""

import gc
import json
import select
import socket
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from typing import Any

Address = str | tuple[str, int]
"""A Unix socket's path, or host and port."""


@dataclass(frozen=True)
class Load:
    """What to send.

    Attributes:
        address: Where to.
        requests: In order; each is sent once.
        callers: Connections. Each sends its next request when its last one is answered.
        is_http: Whether requests and answers are HTTP/1.1; else each is one line of JSON.
        is_pipelined: Sends everything at once over one connection. Over once all is answered and the daemon says that
            no run is queued or running.
    """

    address: Address
    requests: list[str]
    callers: int = 1
    is_http: bool = False
    is_pipelined: bool = False


@dataclass(frozen=True)
class Sent:
    """How long it took, in seconds: the whole, and each answer (sorted; empty if pipelined)."""

    whole_s: float
    took_s: list[float]

    def percentile_ms(self, part: float) -> float:
        """The time within which this part of the answers came."""
        return self.took_s[min(len(self.took_s) - 1, int(len(self.took_s) * part))] * 1000

    @property
    def rate(self) -> float:
        """Answers a second."""
        return len(self.took_s) / self.whole_s


def send(load: Load) -> Sent:
    """Send everything from a process of its own, and wait for it.

    Raises:
        RuntimeError: An answer was an error; the message quotes it.
    """
    process = subprocess.run(
        [sys.executable, "-I", "-S", __file__], input=json.dumps(asdict(load)), capture_output=True, text=True
    )
    if process.returncode:
        raise RuntimeError(process.stderr.strip().rpartition("\n")[2])
    return Sent(**json.loads(process.stdout))


def rpc(method: str, **params: object) -> str:
    """One JSON-RPC request."""
    return json.dumps({"jsonrpc": "2.0", "id": 1, "method": method, "params": params})


def dispatch(event_id: str, event_type: str, *, wait: bool = False) -> str:
    """Hand in an event; with `wait`, the answer comes when its runs have ended."""
    return rpc("flow.dispatch", event={"id": event_id, "type": event_type, "payload": {"n": 1}}, wait=wait)


def call(address: Address, method: str, **params: object) -> Any:
    """One call over a connection of its own; returns its result.

    Raises:
        OSError: Nobody listens there.
        RuntimeError: The answer was an error.
    """
    with connect(address) as connection:
        connection.sendall(rpc(method, **params).encode() + b"\n")
        received = bytearray()
        while not received.endswith(b"\n"):
            chunk = connection.recv(1 << 20)
            if not chunk:
                raise ConnectionError("the daemon hung up")
            received += chunk
    answer = json.loads(received)
    if "result" not in answer:
        raise RuntimeError(str(answer)[:300])
    return answer["result"]


def connect(address: Address) -> socket.socket:
    """A connected stream socket."""
    if isinstance(address, str):
        connection = socket.socket(socket.AF_UNIX)
        connection.connect(address)
    else:
        connection = socket.create_connection((address[0], address[1]))
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    return connection


def _is_whole_line(received: bytearray) -> bool:
    if not received.endswith(b"\n"):
        return False
    if b'"error":{' in received[:60] or b'"result"' not in received[:200]:
        raise RuntimeError(received[:300].decode())
    return True


def _is_whole_response(received: bytearray) -> bool:
    head_end = received.find(b"\r\n\r\n")
    if head_end < 0:
        return False
    if received[9:10] != b"2":
        raise RuntimeError(received[:300].decode())
    lower = received[:head_end].lower()
    length_at = lower.index(b"content-length: ") + 16
    end_of_line = lower.find(b"\r", length_at)
    length = int(lower[length_at : end_of_line if end_of_line > 0 else head_end])
    return len(received) >= head_end + 4 + length


def _closed_loop(load: Load, is_whole: Callable[[bytearray], bool]) -> Sent:
    encoded = [request.encode() + (b"" if load.is_http else b"\n") for request in load.requests]
    connections = [connect(load.address) for _ in range(min(load.callers, len(encoded)))]
    by_fd = {connection.fileno(): connection for connection in connections}
    received = {fd: bytearray() for fd in by_fd}
    sent_at = dict.fromkeys(by_fd, 0.0)
    took_s: list[float] = []
    poller = select.epoll()
    following = iter(encoded)
    clock = time.perf_counter
    began = clock()
    for fd, connection in by_fd.items():
        poller.register(fd, select.EPOLLIN)
        sent_at[fd] = clock()
        connection.sendall(next(following))
    while len(took_s) < len(encoded):
        for fd, _ in poller.poll():
            chunk = by_fd[fd].recv(1 << 20)
            if not chunk:
                raise ConnectionError("the server hung up")
            received[fd] += chunk
            if not is_whole(received[fd]):
                continue
            now = clock()
            took_s.append(now - sent_at[fd])
            received[fd].clear()
            request = next(following, None)
            if request is None:
                poller.unregister(fd)
            else:
                sent_at[fd] = now
                by_fd[fd].sendall(request)
    return Sent(clock() - began, sorted(took_s))


def _pipelined(load: Load) -> Sent:
    everything = memoryview("".join(request + "\n" for request in load.requests).encode())
    answers_missing = len(load.requests)
    connection = connect(load.address)
    connection.setblocking(False)  # noqa: FBT003 - the standard library's own way
    began = time.perf_counter()
    while answers_missing:
        readable, writable, _ = select.select([connection], [connection] if everything else [], [])
        if writable:
            everything = everything[connection.send(everything) :]
        if readable:
            chunk = connection.recv(1 << 20)
            if not chunk or b'"error":{' in chunk:
                raise RuntimeError(chunk[:300].decode() or "the server hung up")
            answers_missing -= chunk.count(b"\n")
    while not _is_idle(call(load.address, "daemon.status")):
        time.sleep(0.005)
    return Sent(time.perf_counter() - began, [])


def _is_idle(status: dict[str, Any]) -> bool:
    return not (status["runs"].get("queued") or status["runs"].get("running"))


def _main() -> None:
    load = Load(**json.load(sys.stdin))
    gc.disable()
    if load.is_pipelined:
        sent = _pipelined(load)
    else:
        sent = _closed_loop(load, _is_whole_response if load.is_http else _is_whole_line)
    json.dump(asdict(sent), sys.stdout)


if __name__ == "__main__":
    _main()
