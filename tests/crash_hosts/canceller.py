"""Cancels runs on any of the hosts, and remembers when that was acknowledged."""

from __future__ import annotations

import random
import threading
import time

from crash_hosts.sender import Sender
from crash_hosts.stage import Stage

from flowd_client.errors import FlowClientError

_PAUSE_S = (0.5, 5.0)
_PATIENCE_S = 4.0
_AMONG = 8
"""Events that were acknowledged last: most of their runs have not ended."""


class Canceller:
    """A thread that wants runs to end.

    Attributes:
        asked: Runs that somebody wanted canceled, whether or not a host has answered.
        acknowledged: When a host had answered, by wall time.
    """

    def __init__(self, stage: Stage, sender: Sender, seed: int) -> None:
        """Begin to cancel."""
        self._stage, self._sender = stage, sender
        self._chance = random.Random(f"cancel {seed}")
        self._ended = threading.Event()
        self.asked: set[str] = set()
        self.acknowledged: dict[str, float] = {}
        self._thread = threading.Thread(target=self._work, daemon=True)
        self._thread.start()

    def end(self) -> None:
        """Cancel no more."""
        self._ended.set()
        self._thread.join(30)

    def _work(self) -> None:
        while not self._ended.wait(self._chance.uniform(*_PAUSE_S)):
            lately = list(self._sender.acknowledged.values())[-_AMONG:]
            known = [run_id for run_ids in lately for run_id in run_ids if run_id not in self.asked]
            if known:
                self._cancel(self._chance.choice(known))

    def _cancel(self, run_id: str) -> None:
        self.asked.add(run_id)
        host = self._chance.choice(tuple(self._stage.hosts.values()))
        try:
            with host.client(timeout_s=_PATIENCE_S) as client:
                client.call("flow.cancelRun", {"runId": run_id})
        except FlowClientError:
            return
        self.acknowledged[run_id] = time.time()
