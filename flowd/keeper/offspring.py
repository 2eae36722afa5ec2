"""Which processes belong to which step, once they have left its group or outlived its leader.

With a subreaper, everything a step leaves behind becomes our child, so a step without leftovers is told by one read of
our children. Without one, or for an adopted step, all processes are searched for the step's mark.
"""

from __future__ import annotations

import os
import signal

from flowd.keeper.capabilities import PIDFD_SIGNAL_PROCESS_GROUP, Capabilities
from flowd.keeper.proctree import Process, Processes, with_descendants
from flowd.keeper.step import Step


class Offspring:
    """Finds a step's processes and signals them."""

    def __init__(
        self, can: Capabilities, processes: Processes, active: dict[str, Step], leaders: dict[int, Step]
    ) -> None:
        self._can = can
        self._processes = processes
        self._active = active
        self._leaders = leaders
        self._orphans: list[int] = []  # our living children that are no leaders
        self._owners: dict[int, str] = {}  # step ids by orphan; "" for one that is left alone
        self._has_let_go = False
        self._table: dict[int, Process] | None = None
        self._children_fd = -1
        if can.children:
            pid = os.getpid()
            self._children_fd = os.open(f"/proc/self/task/{pid}/children", os.O_RDONLY | os.O_CLOEXEC)

    def new_turn(self) -> None:
        """What was seen of the process table is out of date."""
        self._table = None

    def reap(self) -> None:
        """Reap the orphans that have ended and list those that live."""
        if self._can.children:
            self._orphans = [pid for pid in self._children() if pid not in self._leaders and not self._is_reaped(pid)]
        elif self._can.subreaper and self._can.waitid:
            self._reap_unlisted()

    def has_any(self, step: Step) -> bool:
        """Whether anything of an ended step still lives. Cheap where orphans come to us; call `reap` before."""
        if step.is_own and self._can.children:
            return any(self._owner(pid) == step.id for pid in self._orphans)
        return bool(self.of(step))

    def of(self, step: Step) -> list[Process]:
        """All living processes of a step, its leader included."""
        table = self._look()
        leader = table.get(step.pid)
        is_held = step.is_own and step.status is None  # by us, as a child that is not reaped
        is_leader_there = leader is not None and (is_held or self._processes.is_same(leader, step.start))
        # A number without a process is still reserved while it names a group or session. For an adopted step, somebody
        # else may have had it in between.
        has_number = step.pid > 0 and (is_leader_there or (step.is_own and leader is None))
        roots = [process for process in table.values() if self._is_of(step, process, has_number=has_number)]
        own_pid = os.getpid()
        members = [
            process for process in with_descendants(table, roots) if not process.is_dead and process.pid != own_pid
        ]
        step.seen.update((process.pid, process.start) for process in members)
        return members

    def signal(self, step: Step, number: int) -> None:
        """Signal the group at once, so that no newcomer is missed, and then whoever has left it, each by identity."""
        members = self.of(step)
        has_group = self._signal_group(step, number)
        outside = [process for process in members if not (has_group and process.pgid == step.pid)]
        for process in outside:
            self._processes.signal(process, number)
        if number != signal.SIGKILL:  # a stopped process sees nothing else before it is continued
            self._signal_group(step, signal.SIGCONT)
            for process in outside:
                self._processes.signal(process, signal.SIGCONT)
        self.new_turn()

    def _signal_group(self, step: Step, number: int) -> bool:
        try:
            if step.is_own and step.status is None:  # not reaped, so the group's number is still its
                os.killpg(step.pid, number)
            elif step.pidfd >= 0 and self._can.pidfd_group:
                signal.pidfd_send_signal(step.pidfd, number, None, PIDFD_SIGNAL_PROCESS_GROUP)
            else:
                return False
        except OSError:
            return False
        return True

    def let_go(self, step: Step) -> None:
        """Leave alone what is left of a step: it may run on, or cannot be ended."""
        self._has_let_go = True
        for pid in self._orphans:
            if self._owner(pid) == step.id:
                self._owners[pid] = ""
        if step.is_own and not step.is_over:
            self._owners[step.pid] = ""

    def _look(self) -> dict[int, Process]:
        if self._table is None:
            self._table = self._processes.all()
        return self._table

    def _is_of(self, step: Step, process: Process, *, has_number: bool) -> bool:
        if has_number and step.pid in (process.pid, process.pgid, process.sid):
            return True
        if process.pid in step.seen and self._processes.is_same(process, step.seen[process.pid]):
            return True
        if step.is_own and self._can.children:
            return process.ppid == os.getpid() and process.pid not in self._leaders and self._is_owned(process, step)
        return step.mark in process.marks

    def _is_owned(self, process: Process, step: Step) -> bool:
        return self._owner(process.pid) == step.id

    def _children(self) -> list[int]:
        chunks = []
        offset = 0
        while chunk := os.pread(self._children_fd, 65536, offset):
            chunks.append(chunk)
            offset += len(chunk)
        return [int(pid) for pid in b"".join(chunks).split()]

    def _is_reaped(self, pid: int) -> bool:
        try:
            is_reaped = os.waitpid(pid, os.WNOHANG)[0] != 0
        except ChildProcessError:
            is_reaped = True
        if is_reaped:
            self._owners.pop(pid, None)
        return is_reaped

    def _reap_unlisted(self) -> None:
        """Reap orphans without a list of children. A leader that is a zombie hides those behind it for now."""
        while True:
            try:
                ended = os.waitid(os.P_ALL, 0, os.WEXITED | os.WNOHANG | os.WNOWAIT)
            except ChildProcessError:
                return
            if ended is None or ended.si_pid in self._leaders:
                return
            self._is_reaped(ended.si_pid)

    def _owner(self, pid: int) -> str:
        """The step an orphan belongs to; empty when it is left alone or cannot be told. Reaping forgets the answer."""
        owner = self._owners.get(pid)
        if owner is None:
            process = self._processes.look(pid)
            if process is None or process.is_dead:
                return ""
            owner = self._find_owner(process)
            if owner:
                self._owners[pid] = owner
        return owner

    def _find_owner(self, process: Process) -> str:
        for number in (process.sid, process.pgid):
            if number in self._leaders:
                return self._leaders[number].id
        for step in self._active.values():
            if step.seen.get(process.pid) == process.start or step.mark in process.marks:
                return step.id
        # It left the session and dropped its environment. If only one step can have started it, that one did.
        candidates = [step.id for step in self._leaders.values() if step.start <= process.start]
        return candidates[0] if len(candidates) == 1 and not self._has_let_go else ""
