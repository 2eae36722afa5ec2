"""Has a step's leader ended, and how? Our own children are peeked at and reaped; of others, the kernel is asked."""

from __future__ import annotations

import os

from flowd.keeper.capabilities import Capabilities, pidfd_status
from flowd.keeper.proctree import Processes
from flowd.keeper.step import Step

_UNREAPED_PAUSE_S = 0.15
"""A dead adopted leader that is still not reaped when our pauses have grown to this has a parent that never reaps."""


class Leaders:
    """Our children that lead steps, by pid, until they are reaped."""

    def __init__(self, can: Capabilities, processes: Processes) -> None:
        self._can = can
        self._processes = processes
        self.own: dict[int, Step] = {}

    def has_ended(self, step: Step) -> bool:
        """Look now. An own leader stays a zombie, so that its numbers stay its, where the system lets us look so."""
        return self._peek(step) if step.is_own else self._look(step)

    def reap(self, step: Step) -> None:
        """Take the exit of an own leader that has ended, and let go of its numbers."""
        self.own.pop(step.pid, None)
        if step.status is not None:
            return
        try:
            pid, status, usage = os.wait4(step.pid, os.WNOHANG)
        except ChildProcessError:
            return
        if pid:
            step.spent(status, usage)

    def _peek(self, step: Step) -> bool:
        try:
            if self._can.waitid:
                return os.waitid(os.P_PID, step.pid, os.WEXITED | os.WNOHANG | os.WNOWAIT) is not None
            pid, status, usage = os.wait4(step.pid, os.WNOHANG)
        except ChildProcessError:
            return True
        if pid:
            step.spent(status, usage)
        return bool(pid)

    def _look(self, step: Step) -> bool:
        knows_exit = self._can.pidfd_info and step.pidfd >= 0
        process = self._processes.look(step.pid) if step.pid else None
        if process is None or not self._processes.is_same(process, step.start):
            step.status = pidfd_status(step.pidfd) if knows_exit else None
            return True
        if not process.is_dead:
            return False
        # Its pidfd tells the exit once it is reaped, usually at once.
        if knows_exit and step.pause_s < _UNREAPED_PAUSE_S:
            step.is_ending = True
            return False
        step.status = process.exit_status_if_visible()
        return True
