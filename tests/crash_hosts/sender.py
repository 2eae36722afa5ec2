"""Sends events to any of the hosts, and remembers which of them were acknowledged."""

from __future__ import annotations

import random
import threading
import time

from crash_hosts.kinds import KINDS, REPOSITORIES
from crash_hosts.stage import Stage

from flowd_client.errors import FlowClientError

_PAUSE_S = (0.1, 0.9)
_PATIENCE_S = 4.0
_KEYED = {name for name, kind in KINDS.items() if kind.is_keyed}


class Sender:
    """Some threads that send, so that one host that stands still does not keep the others without work.

    Attributes:
        acknowledged: Run ids by event id, as a host has answered.
        doubtful: Sent, and not answered; `settle` sends them again.
    """

    def __init__(self, stage: Stage, seed: int, threads: int = 3) -> None:
        """Begin to send."""
        self._stage = stage
        self._bag = [name.partition("/")[0] for name, kind in KINDS.items() for _ in range(kind.weight)]
        self._ended = threading.Event()
        self._lock = threading.Lock()
        self._sent = 0
        self.acknowledged: dict[str, list[str]] = {}
        self.doubtful: list[str] = []
        self.repeated = 0
        self._threads = [
            threading.Thread(target=self._work, args=(random.Random(seed + number),), daemon=True)
            for number in range(threads)
        ]
        for thread in self._threads:
            thread.start()

    def end(self) -> None:
        """Send no new ones."""
        self._ended.set()
        for thread in self._threads:
            thread.join(30)

    def settle(self, *, bound_s: float = 240.0) -> None:
        """Send again what was not answered, until all is."""
        chance, deadline = random.Random(self._sent), time.monotonic() + bound_s
        while self.doubtful:
            assert time.monotonic() < deadline, f"not taken any more: {self.doubtful}"
            again, self.doubtful = self.doubtful, []
            for event_id in again:
                self._send(event_id, chance)

    def _work(self, chance: random.Random) -> None:
        while not self._ended.is_set():
            if self.doubtful and chance.random() < 0.4:
                with self._lock:
                    event_id = self.doubtful.pop(0) if self.doubtful else ""
            else:
                event_id = self._new(chance.choice(self._bag), chance.randrange(REPOSITORIES))
            if event_id:
                self._send(event_id, chance)
            flow, _, rest = event_id.partition("-")
            if flow in _KEYED:  # two want a key at once, of which another host is asked perhaps
                self._send(self._new(flow, int(rest.partition("-r")[2])), chance)
            self._ended.wait(chance.uniform(*_PAUSE_S))

    def _new(self, flow: str, repository: int) -> str:
        with self._lock:
            self._sent += 1
            return f"{flow}-{self._sent}-r{repository}"

    def _send(self, event_id: str, chance: random.Random) -> None:
        flow, _, repository = event_id.split("-")
        event = {"id": event_id, "type": f"{flow}.go", "payload": {"repo": repository}}
        try:
            with chance.choice(tuple(self._stage.hosts.values())).client(timeout_s=_PATIENCE_S) as client:
                run_ids = client.call("flow.dispatch", {"event": event})["runIds"]
        except FlowClientError:
            self.repeated += 1
            self.doubtful.append(event_id)
            time.sleep(0.1)
        else:
            self.acknowledged[event_id] = run_ids
