"""Finds out whether and how the leaders of steps have ended.

A leader that is our child is looked at before it is reaped; of one that an earlier keeper started, the kernel is asked.
"""

from __future__ import annotations

import os

from flowd.keeper.capabilities import Capabilities, now_s, pidfd_status
from flowd.keeper.proctree import Processes
from flowd.keeper.step import INFINITY, Step

REAPED_WITHIN_S = 10.0
"""Some systems' first process takes seconds to reap an orphan; one that takes longer does not reap at all."""


class Leaders:
    """Our children that lead steps, by pid, until they are reaped."""

    def __init__(self, can: Capabilities, processes: Processes) -> None:
        self._can = can
        self._processes = processes
        self.own: dict[int, Step] = {}

    def has_ended(self, step: Step) -> bool:
        """Whether the leader has ended. A leader of ours stays a zombie, if the system lets it: that keeps its pid."""
        return self._peek(step) if step.is_own else self._look(step)

    def reap(self, step: Step) -> None:
        """Reap a leader of ours that has ended. From then on its pid may be another process's."""
        self.own.pop(step.pid, None)
        if step.status is not None:
            return
        try:
            pid, status, usage = os.wait4(step.pid, os.WNOHANG)
        except ChildProcessError:
            return
        if pid:
            step.record_usage(status, usage)

    def _peek(self, step: Step) -> bool:
        try:
            if self._can.waitid:
                return os.waitid(os.P_PID, step.pid, os.WEXITED | os.WNOHANG | os.WNOWAIT) is not None
            pid, status, usage = os.wait4(step.pid, os.WNOHANG)
        except ChildProcessError:
            return True
        if pid:
            step.record_usage(status, usage)
        return bool(pid)

    def _look(self, step: Step) -> bool:
        knows_exit = self._can.pidfd_info and step.pidfd >= 0
        process = self._processes.look(step.pid) if step.pid else None
        if process is None or not self._processes.is_same(process, step.start):
            step.status = pidfd_status(step.pidfd) if knows_exit else None
            return True
        if not process.is_dead:
            step.is_seen = True
            return False
        step.status = process.exit_status_if_visible()
        if step.status is None and knows_exit and self._may_be_reaped(step):
            step.is_ending = True  # its pidfd has the exit then
            return False
        return True

    def _may_be_reaped(self, step: Step) -> bool:
        """Whether to go on waiting for a zombie's parent."""
        now = now_s()
        if step.give_up_at_s == INFINITY:
            step.give_up_at_s = now + REAPED_WITHIN_S
        return now < step.give_up_at_s
