"""A daemon that serves HTTP, and plain ways to talk to it that are none of ours: `http.client` and raw sockets."""

import contextlib
import functools
import hashlib
import hmac
import http.client
import http.server
import json
import os
import random
import socket
import subprocess
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

from command_copy import run_flowd
from daemon_rig import Workspace


class Reply(NamedTuple):
    """A response, read whole."""

    status: int
    headers: dict[str, str]
    body: bytes

    @property
    def json(self) -> Any:
        return json.loads(self.body)

    @property
    def slug(self) -> str:
        return str(self.json["slug"])


class HttpPlace:
    """A workspace whose daemon listens on a free port of loopback."""

    def __init__(self, place: Workspace) -> None:
        self.place = place
        self.port = 0

    def configure(self, text: str) -> None:
        """Write ``.codex/flowd.toml``."""
        folder = self.place.path / ".codex"
        folder.mkdir(exist_ok=True)
        (folder / "flowd.toml").write_text(text, encoding="utf-8")

    def start(self, **environment: str) -> "HttpPlace":
        """Start the daemon and wait for its address. Where it has no secret, everybody may do everything."""
        self.place.start(**{"FLOWD_HTTP": "127.0.0.1:0", "FLOWD_HTTP_OPEN": "1", **environment})
        self.port = int(self.place.call("daemon.status")["http"].rpartition(":")[2])
        return self

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def send(
        self, method: str, path: str, body: Any = None, headers: dict[str, str] | None = None, timeout_s: float = 20
    ) -> Reply:
        """One request on a connection of its own. A body that is no bytes goes as JSON."""
        data = body if body is None or isinstance(body, bytes) else json.dumps(body).encode()
        sent = {"content-type": "application/json"} if data is not None else {}
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=timeout_s)
        try:
            connection.request(method, path, data, {**sent, **(headers or {})})
            response = connection.getresponse()
            found = {name.lower(): value for name, value in response.getheaders()}
            return Reply(response.status, found, response.read())
        finally:
            connection.close()

    def get(self, path: str, **headers: str) -> Reply:
        return self.send("GET", path, headers={name.replace("_", "-"): value for name, value in headers.items()})

    def post(self, path: str, body: Any = None, **headers: str) -> Reply:
        return self.send("POST", path, body, {name.replace("_", "-"): value for name, value in headers.items()})

    @contextlib.contextmanager
    def raw(self, timeout_s: float = 20) -> Iterator[socket.socket]:
        """A connection without any manners."""
        with socket.create_connection(("127.0.0.1", self.port), timeout=timeout_s) as connection:
            yield connection

    def talk(self, data: bytes, timeout_s: float = 20) -> bytes:
        """Send bytes, and read until the other end closes."""
        with self.raw(timeout_s) as connection:
            connection.sendall(data)
            return read_all(connection)


class _Quiet(http.server.SimpleHTTPRequestHandler):
    """Serves a folder without a word."""

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002
        """Say nothing."""


@contextlib.contextmanager
def elsewhere(folder: Path) -> Iterator[int]:
    """A folder that another origin serves: its port on loopback."""
    handler = functools.partial(_Quiet, directory=str(folder))
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        try:
            yield server.server_address[1]
        finally:
            server.shutdown()
            thread.join()


def read_all(connection: socket.socket) -> bytes:
    """What comes until the other end closes."""
    parts = []
    with contextlib.suppress(ConnectionError):
        while data := connection.recv(65536):
            parts.append(data)
    return b"".join(parts)


def refused_start(place: Workspace, *arguments: str, **environment: str) -> str:
    """What a daemon says that does not start."""
    done = run_flowd("serve", "-w", place.path, *arguments, env={**os.environ, **environment})
    assert done.returncode != 0
    return done.stderr


def curl(*arguments: str, stdin: bytes | None = None) -> str:
    """What curl prints."""
    done = subprocess.run(["curl", "-sS", "--max-time", "20", *arguments], input=stdin, capture_output=True, timeout=30)
    assert done.returncode == 0, done.stderr
    return done.stdout.decode()


def eventually(condition: Any, *, bound_s: float = 60.0) -> None:
    """Fail when it does not come true."""
    deadline = time.monotonic() + bound_s
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.02)


def free_port() -> int:
    """A port of loopback for a daemon that is to have the same one again: nobody listens on it, and it is none of those
    that the kernel gives whoever asks for any, or connects somewhere, while the daemon is down."""
    for port in random.sample(range(15_000, 32_000), 100):
        with socket.socket() as listener, contextlib.suppress(OSError):
            listener.bind(("127.0.0.1", port))
            return port
    raise AssertionError("no port is free")


def write_secret(path: Path, *secrets: str) -> str:
    """A file with secrets, one a line."""
    path.write_text("".join(f"{secret}\n" for secret in secrets), encoding="utf-8")
    return str(path)


def v2(
    method: str, target: str, body: bytes, *, secret: str = "new", nonce: str = "n" * 16, at_s: float | None = None
) -> dict[str, str]:
    """Headers of a v2 signature, from the description and not from flowd's code."""
    timestamp = str(int(time.time() if at_s is None else at_s))
    text = "\n".join((method, target, timestamp, nonce, hashlib.sha256(body).hexdigest()))
    signature = hmac.new(secret.encode(), text.encode(), hashlib.sha256).hexdigest()
    return {"x-flow-signature-v2": f"sha256={signature}", "x-flow-timestamp": timestamp, "x-flow-nonce": nonce}
