"""A small real JSON-RPC server on a real Unix socket, whose answers the test writes."""

import json
import os
import socket
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from types import TracebackType
from typing import Any, Self


class RefusalError(Exception):
    """What a script raises to answer with an error."""

    def __init__(self, code: int, slug: str, message: str = "no") -> None:
        super().__init__(message)
        self.error = {"code": code, "message": message, "data": {"slug": slug}}


class NoAnswerError(Exception):
    """What a script raises to stay silent."""


@dataclass
class Connection:
    """The server's side of one connection."""

    sock: socket.socket
    lock: threading.Lock = field(default_factory=threading.Lock)

    def send(self, data: bytes) -> None:
        with self.lock:
            self.sock.sendall(data)

    def hang_up(self) -> None:
        self.sock.shutdown(socket.SHUT_RDWR)


@dataclass
class Call:
    """One request as it came in."""

    method: str
    params: dict[str, Any]
    id: int
    connection: Connection


Script = Callable[[Call], Any]


class ScriptedDaemon:
    """Answers every request with what ``script(call)`` returns, each in a thread of its own."""

    def __init__(self, path: Path, script: Script, *, greeting: bytes | None = None, bound_s: float = 0) -> None:
        """``bound_s`` is how long the socket is there before it listens."""
        self.path = path
        self.script = script
        self.calls: list[Call] = []
        self.connections: list[Connection] = []
        self._greeting = greeting
        self._threads: list[threading.Thread] = []
        self._listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        folder = os.open(path.parent, os.O_RDONLY)
        try:
            self._listener.bind(f"/proc/self/fd/{folder}/{path.name}" if len(str(path)) > 100 else str(path))
        finally:
            os.close(folder)
        if not bound_s:
            self._listener.listen(64)
        self._start(self._accept, bound_s)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    @property
    def methods(self) -> list[str]:
        return [call.method for call in self.calls]

    def close(self) -> None:
        self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        self.path.unlink(missing_ok=True)
        for connection in self.connections:
            try:
                connection.hang_up()
            except OSError:
                pass
        for thread in self._threads:
            thread.join(timeout=60)
            assert not thread.is_alive()
        for connection in self.connections:
            connection.sock.close()

    def _start(self, target: Callable[..., None], *args: Any) -> None:
        thread = threading.Thread(target=target, args=args, daemon=True)
        self._threads.append(thread)
        thread.start()

    def _accept(self, bound_s: float) -> None:
        if bound_s:
            time.sleep(bound_s)
            self._listener.listen(64)
        while True:
            try:
                sock, _ = self._listener.accept()
            except OSError:
                return
            connection = Connection(sock)
            self.connections.append(connection)
            if self._greeting is not None:
                connection.send(self._greeting)
                connection.hang_up()
            else:
                self._start(self._read, connection)

    def _read(self, connection: Connection) -> None:
        buffer = b""
        while True:
            try:
                chunk = connection.sock.recv(65536)
            except OSError:
                return
            if not chunk:
                return
            *lines, buffer = (buffer + chunk).split(b"\n")
            for line in lines:
                message = json.loads(line)
                call = Call(message["method"], message["params"], message["id"], connection)
                self.calls.append(call)
                self._start(self._answer, call)

    def _answer(self, call: Call) -> None:
        answer: dict[str, Any] = {"jsonrpc": "2.0", "id": call.id}
        try:
            answer["result"] = self.script(call)
        except RefusalError as refusal:
            answer["error"] = refusal.error
        except NoAnswerError:
            return
        try:
            call.connection.send(json.dumps(answer).encode() + b"\n")
        except OSError:
            pass


def echo(call: Call) -> Any:
    """A script that answers with what it was asked."""
    return {"method": call.method, "params": call.params}
