"""Waits for runs on any of the hosts, mostly on another one than theirs, and remembers what it was told."""

from __future__ import annotations

import random
import threading
import time
from contextlib import suppress
from typing import NamedTuple

from crash_hosts.sender import Sender
from crash_hosts.stage import Stage

from flowd_client.errors import FlowClientError

WAITS_S = 20.0
_PATIENCE_S = WAITS_S + 10
_PAUSE_S = (0.1, 1.0)
_AMONG = 12
_GOES_ON = ("slow", "once", "keyed", "chain", "far")
"""What ends while somebody waits for it, most likely."""


class Told(NamedTuple):
    """The answer of a host to who waited for a run.

    Attributes:
        status: Of the run, as it was told.
        is_over: The run had ended; else the time was up.
    """

    run_id: str
    host: str
    from_s: float
    until_s: float
    status: str
    is_over: bool


class Waiter:
    """Some threads that wait.

    Attributes:
        told: What they were told.
    """

    def __init__(self, stage: Stage, sender: Sender, seed: int, threads: int = 3) -> None:
        """Begin to wait."""
        self._stage, self._sender = stage, sender
        self._ended = threading.Event()
        self.told: list[Told] = []
        self._threads = [
            threading.Thread(target=self._work, args=(random.Random(f"wait {number} {seed}"),), daemon=True)
            for number in range(threads)
        ]
        for thread in self._threads:
            thread.start()

    def end(self) -> None:
        """Wait for nothing more."""
        self._ended.set()
        for thread in self._threads:
            thread.join(_PATIENCE_S + 10)

    def _work(self, chance: random.Random) -> None:
        while not self._ended.wait(chance.uniform(*_PAUSE_S)):
            lately = list(self._sender.acknowledged.items())[-_AMONG:]
            known = [run_ids[-1] for event_id, run_ids in lately if event_id.startswith(_GOES_ON)]
            if known:
                self._wait(known[-1], chance.choice(list(self._stage.hosts)))

    def _wait(self, run_id: str, host: str) -> None:
        begun_s = time.time()
        with suppress(FlowClientError), self._stage.hosts[host].client(timeout_s=_PATIENCE_S) as client:
            found = client.call("flow.waitRun", {"runId": run_id, "timeoutMs": int(WAITS_S * 1000)})
            status, is_over = found["run"]["processStatus"], not found["timedOut"]
            self.told.append(Told(run_id, host, begun_s, time.time(), status, is_over))
