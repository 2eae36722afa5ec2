"""Follows the journal for ever, each time on another host, from the last cursor that it heard."""

from __future__ import annotations

import json
import random
import socket
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

_STAY_S = (0.3, 4.0)


class Reader:
    """A subscriber without a home.

    Attributes:
        heard: Every update, in the order in which they were told.
        moves: How often it has gone on elsewhere.
    """

    def __init__(self, sockets: list[Path], seed: int) -> None:
        """Begin to follow."""
        self._sockets = sockets
        self._random = random.Random(seed)
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._follow, daemon=True)
        self.heard: list[dict[str, Any]] = []
        self.moves = 0
        self._thread.start()

    @property
    def cursor(self) -> str:
        """Of what was heard last."""
        return str(self.heard[-1]["cursor"]) if self.heard else "oldest"

    def end(self) -> None:
        """Stop following."""
        self._ended.set()
        self._thread.join(30)

    def _follow(self) -> None:
        while not self._ended.is_set():
            self.moves += 1
            try:
                self._stay(self._random.choice(self._sockets), self._random.uniform(*_STAY_S))
            except OSError:
                time.sleep(0.05)

    def _stay(self, path: Path, seconds: float) -> None:
        with socket.socket(socket.AF_UNIX) as link:
            link.settimeout(1)
            link.connect(str(path))
            request = {"jsonrpc": "2.0", "id": 1, "method": "flow.subscribe", "params": {"after": self.cursor}}
            link.sendall(json.dumps(request).encode() + b"\n")
            for message in _messages(link, until_s=time.monotonic() + seconds):
                update = message.get("params", {})
                if update.get("kind") == "ended":
                    return
                if message.get("method") == "flow.update" and update["cursor"] != self.cursor:
                    self.heard.append(update)


def _messages(link: socket.socket, *, until_s: float) -> Iterator[dict[str, Any]]:
    """What comes until then: frames as the daemon sends them, a line each."""
    kept = b""
    while time.monotonic() < until_s:
        try:
            data = link.recv(65536)
        except TimeoutError:
            continue
        if not data:
            return
        *lines, kept = (kept + data).split(b"\n")
        yield from (json.loads(line) for line in lines if line.strip())
