"""Ends steps whose leases are over while there is no keeper that could: it was killed, or is stopped by a signal.

The next keeper finds what is left of them, and says what is known of their ends.
"""

from __future__ import annotations

import os
import signal

from flowd.keeper.capabilities import boot_id, now_s
from flowd.keeper.proctree import Processes
from flowd.keeper.step import INFINITY

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from flowd.keeper.proctree import Process

LOOK_S = 0.2
"""Between two looks at all processes."""


class _Leased:
    """A step as the journal of its keeper has it."""

    def __init__(self, begin: dict[str, Any], started: dict[str, Any]) -> None:
        self.until_s = float(begin["lease_until_s"])
        self.grace_s = max(0.0, float(begin["grace_s"]))
        self.detach = bool(begin["detach"])
        self.mark = os.fsencode(begin["mark"])
        self.pid, self.start = int(started.get("pid", 0)), int(started.get("start", 0))
        self.is_told = False

    def members(self, table: dict[int, Process], processes: Processes) -> list[Process]:
        """Its processes: those of its leader's session, and those with its mark."""
        leader = table.get(self.pid) if self.pid else None
        is_led = leader is not None and processes.is_same(leader, self.start) and not leader.is_dead
        if self.detach and not is_led:
            return []  # what it has left behind may live on
        sid = self.pid if is_led else -1
        return [one for one in table.values() if not one.is_dead and (one.sid == sid or self.mark in one.marks)]


class Fence:
    """The leased steps of a journal that have not ended."""

    def __init__(self, attempts: dict[str, dict[str, Any]]) -> None:
        """``attempts`` are what `flowd.keeper.journal.load` gives."""
        boot = boot_id()
        self._processes = Processes(proc=os.path.exists("/proc/self/stat"), pidfd=hasattr(signal, "pidfd_send_signal"))
        self._leased = [
            _Leased(entries["begin"], entries.get("started", {}))
            for entries in attempts.values()
            if entries["begin"].get("lease_until_s") and "exit" not in entries
            and entries.get("started", {}).get("boot", boot) == boot
        ]  # fmt: skip
        self._next_s = min((one.until_s for one in self._leased), default=INFINITY)

    @property
    def is_needed(self) -> bool:
        """Whether any of them may still run."""
        return bool(self._leased)

    def look(self) -> None:
        """End what is over: with SIGTERM, and once its grace is over, with SIGKILL until nothing of it is left. Cheap
        while nothing is due."""
        now = now_s()
        if now < self._next_s:
            return
        table = self._processes.all()
        self._leased = [one for one in self._leased if now < one.until_s or self._end(one, table, now)]
        self._next_s = max(now + LOOK_S, min((one.until_s for one in self._leased), default=INFINITY))

    def _end(self, one: _Leased, table: dict[int, Process], now: float) -> bool:
        """Whether anything of it was left."""
        members = one.members(table, self._processes)
        is_late = now >= one.until_s + one.grace_s
        if is_late or not one.is_told:
            for process in members:
                self._processes.signal(process, signal.SIGKILL if is_late else signal.SIGTERM)
                self._processes.signal(process, signal.SIGCONT)
            one.is_told = True
        return bool(members)
