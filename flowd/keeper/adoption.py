"""Takes over the steps of a keeper that died: its journal says what it began, the kernel what has become of that."""

from __future__ import annotations

import os

from flowd.keeper import argv_print
from flowd.keeper.capabilities import Capabilities, now_s
from flowd.keeper.proctree import Process, Processes
from flowd.keeper.step import INFINITY, Step
from flowd.keeper.steps import Steps

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any


class Adoption:
    """The attempts of an earlier keeper, until they are settled.

    They are settled once the daemon has said hello, because it may first hand over pidfds that have the exits of steps
    that ended while there was no keeper; or without it after a while, because timeouts are kept without a daemon, too.
    """

    def __init__(self, can: Capabilities, processes: Processes, steps: Steps, boot_id: str) -> None:
        self._can = can
        self._processes = processes
        self._steps = steps
        self._boot_id = boot_id
        self._waiting: list[Step] = []

    def take(self, attempts: dict[str, dict[str, Any]]) -> None:
        """Take over the attempts of a journal: those that have ended as they are, the others as adopted steps."""
        marked: list[Process] | None = None
        for attempt_id, entries in attempts.items():
            # Only what has ended has a begin without a mark: then the line with the exit could not be read.
            if exit_ := entries.get("exit") or ("mark" not in entries["begin"] and {"op": "exit"}):
                facts = {name: value for name, value in exit_.items() if name not in ("op", "id")}
                self._steps.ended[attempt_id] = facts
                continue
            step = Step(attempt_id, entries["begin"])
            step.is_own = step.is_settled = step.is_seen = False
            step.cause = entries.get("cause", {}).get("cause")
            if started := entries.get("started"):
                self._identify(step, started)
            else:
                marked = self._marked() if marked is None else marked
                self._find(step, marked, entries["begin"].get("imprint"))
                if not step.pid and _was_never_spawned(step):
                    continue  # unknown to us, so the daemon starts it
            self._open_pidfd(step)
            self._steps.active[attempt_id] = step
            self._waiting.append(step)

    def hand_over(self, attempt_id: str, pidfd: int) -> None:
        """Take a pidfd of a step's leader from the daemon. It is closed where it is not needed."""
        for step in self._waiting:
            if step.id == attempt_id and step.pid and step.pidfd < 0 and self._can.pidfd:
                step.pidfd = pidfd
                return
        os.close(pidfd)

    def settle(self) -> None:
        """Decide about each: it goes on under our watch, or has ended, and its exit is known or not."""
        waiting, self._waiting = self._waiting, []
        for step in waiting:
            self._steps.settle(step)

    def _identify(self, step: Step, started: dict[str, Any]) -> None:
        if started["boot"] != self._boot_id:
            step.pid = 0  # another boot's numbers mean nothing now
            return
        step.pid = int(started["pid"])
        step.start = int(started["start"])
        step.deadline_s = float(started.get("deadline_s", INFINITY))

    def _find(self, step: Step, marked: list[Process], imprint: list[int] | None) -> None:
        """Find the leader of a step that was about to be started, by the mark in its environment.

        Its children have the mark, too, and some lead a session. One of them must not be taken for the leader: the step
        would run as long as that child does, and end as it does. So a process that may be a child counts as left behind
        by a leader whose exit was not seen.
        """
        for process in marked:
            is_candidate = step.mark in process.marks and process.pid == process.sid
            if is_candidate and imprint and argv_print.matches(process.pid, imprint):
                step.pid, step.start = process.pid, process.start
                # The last keeper died before it could write the deadline: rather late than never.
                step.deadline_s = now_s() + step.timeout_s
                return

    def _marked(self) -> list[Process]:
        return [process for process in self._processes.all().values() if process.marks]

    def _open_pidfd(self, step: Step) -> None:
        if not (step.pid and self._can.pidfd):
            return
        try:
            pidfd = os.pidfd_open(step.pid)
        except OSError:
            return
        if self._processes.is_same(self._processes.look(step.pid), step.start):
            step.pidfd = pidfd
        else:
            os.close(pidfd)


def _was_never_spawned(step: Step) -> bool:
    """Whether the last keeper journaled that a step begins, and died before it made the process.

    In between it makes its output files: that of standard output alone where it prints into pipes. With these there, a
    process may have run and ended unseen. The first of two is removed, because the next start makes it anew.
    """
    stdout, stderr = step.paths
    if os.path.exists(stdout if step.slot else stderr):
        return False
    try:
        os.unlink(stdout)
    except FileNotFoundError:
        pass
    return True
