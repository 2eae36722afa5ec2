"""Cancels runs on any of the hosts, and remembers when that was acknowledged."""

from __future__ import annotations

import random
import threading
import time
from contextlib import suppress

from crash_hosts.sender import Sender
from crash_hosts.stage import Stage

from flowd_client.errors import FlowClientError

_PAUSE_S = (0.2, 2.0)
_PATIENCE_S = 4.0
_AMONG = 8
"""Events that were acknowledged last: most of their runs have not ended."""
_BRIEF = ("quick", "tells")
"""What has ended already, so that a cancel is refused."""
_LASTING = "long"
"""What would be seen to go on."""


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
            lately = list(self._sender.acknowledged.items())[-_AMONG:]
            lately.sort(key=lambda one: one[0].startswith(_LASTING))
            run_ids = [one for event_id, runs in lately if not event_id.startswith(_BRIEF) for one in runs]
            known = [run_id for run_id in run_ids if run_id not in self.asked]
            if known:
                self._cancel(known[-1])

    def _cancel(self, run_id: str) -> None:
        self.asked.add(run_id)
        hosts = list(self._stage.hosts.values())
        for host in self._chance.sample(hosts, len(hosts)):  # one that is down refuses at once
            with suppress(FlowClientError), host.client(timeout_s=_PATIENCE_S) as client:
                client.call("flow.cancelRun", {"runId": run_id})
                self.acknowledged[run_id] = time.time()
                return
