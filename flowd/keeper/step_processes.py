"""Finds and signals the processes of a step, also those that have left its group or outlived its leader.

With a subreaper, everything a step leaves behind becomes our child, so one read of our children shows that a step has
no leftovers. Without one, or for an adopted step, all processes are searched for the step's mark. A cgroup, where steps
have one, adds whatever is in it; it replaces nothing, because a step of our own user can move itself out of it.
"""

from __future__ import annotations

import os
import signal
import stat

from flowd.keeper.capabilities import PIDFD_SIGNAL_PROCESS_GROUP, Capabilities
from flowd.keeper.proctree import Process, Processes, Table, badge_of
from flowd.keeper.step import Step

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

    from flowd.keeper.cgroup import Cgroups


class StepProcesses:
    """Finds a step's processes and signals them."""

    def __init__(
        self,
        can: Capabilities,
        processes: Processes,
        active: dict[str, Step],
        leaders: dict[int, Step],
        cgroups: Cgroups | None,
        *,
        spared_pid: Callable[[], int],
    ) -> None:
        """Nothing is searched yet.

        Args:
            can: What the kernel can do here.
            processes: Reads them.
            active: The steps that run, by id.
            leaders: Those that are our children, by pid.
            cgroups: What confines steps, where one is delegated.
            spared_pid: Tells which child of ours is of no step, as of now; 0 for none.
        """
        self._can = can
        self._processes = processes
        self._active = active
        self._leaders = leaders
        self._cgroups = cgroups
        self._orphans: list[int] = []  # our living children that are no leaders
        self._owners: dict[int, str] = {}  # step ids by orphan; "" for one that is left alone
        self._has_disowned = False
        self._table: Table | None = None
        self._orphans_of: dict[str, list[Process]] = {}  # in the table, by owner
        self._spared_pid = spared_pid
        self._children_fd = -1
        if can.children:
            pid = os.getpid()
            self._children_fd = os.open(f"/proc/self/task/{pid}/children", os.O_RDONLY | os.O_CLOEXEC)

    def new_turn(self) -> None:
        """Forget the process table, which is out of date."""
        self._table = None

    def reap(self) -> None:
        """Reap the orphans that have ended, and list those that live."""
        if self._can.children:
            strangers = [pid for pid in self._children() if pid not in self._leaders and pid != self._spared_pid()]
            self._orphans = [pid for pid in strangers if not self._is_reaped(pid)]
        elif self._can.subreaper and self._can.waitid:
            self._reap_unlisted()

    def has_any(self, step: Step) -> bool:
        """Whether anything of an ended step still lives. Cheap where orphans come to us; call `reap` before."""
        if self._cgroups and step.cgroup and self._cgroups.is_populated(step.cgroup):
            return True
        if step.is_own and self._can.children:
            return any(self._owner(pid) == step.id for pid in self._orphans)
        return bool(self.of(step))

    def of(self, step: Step) -> list[Process]:
        """All living processes of a step, its leader included."""
        table = self._look()
        own_pid = os.getpid()
        members = [
            process
            for process in table.with_descendants(self._roots(table, step))
            if not process.is_dead and process.pid != own_pid
        ]
        step.seen.update((process.pid, process.start) for process in members)
        return members

    def _roots(self, table: Table, step: Step) -> list[Process]:
        leader = table.by_pid.get(step.pid)
        is_held = step.is_own and step.status is None  # by us, as a child that is not reaped
        is_leader_there = leader is not None and (is_held or self._processes.is_same(leader, step.start))
        roots = [] if leader is None or not is_leader_there else [leader]
        # A number without a process is still reserved while it names a group or session. For an adopted step, somebody
        # else may have had it in between.
        if step.pid > 0 and (is_leader_there or (step.is_own and leader is None)):
            roots += table.groups.get(step.pid, ())
            roots += table.sessions.get(step.pid, ())
        for pid, start in step.seen.items():
            process = table.by_pid.get(pid)
            if process is not None and self._processes.is_same(process, start):
                roots.append(process)
        if self._cgroups and step.cgroup:
            roots += filter(None, map(table.by_pid.get, self._cgroups.pids(step.cgroup)))
        if step.is_own and self._can.children:
            roots += self._orphans_of.get(step.id, ())
        else:
            roots += table.marked(step.mark)
            roots += table.badged(step.badge) if step.badge else ()
        return roots

    def has_filter(self, step: Step) -> bool:
        """Whether anything of it reads from a pipe, as a log filter does; where we cannot know, yes."""
        return any(_reads_from_a_pipe(process.pid) for process in self.of(step)) if self._can.proc else True

    def signal(self, step: Step, number: int) -> None:
        """Signal the group at once, so that no newcomer is missed, and then whoever has left it, each by identity.

        The table of this turn will do, so that a thousand stops cost one look: whoever has just appeared is found when
        the leader has ended.
        """
        members = self.of(step)
        if number == signal.SIGKILL and self._cgroups and step.cgroup:
            self._cgroups.kill(step.cgroup)
        has_group = self._signal_group(step, number)
        outside = [process for process in members if not (has_group and process.pgid == step.pid)]
        for process in outside:
            self._processes.signal(process, number)
        if number != signal.SIGKILL:  # a stopped process sees nothing else before it is continued
            self._signal_group(step, signal.SIGCONT)
            for process in outside:
                self._processes.signal(process, signal.SIGCONT)

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

    def disown(self, step: Step) -> None:
        """Leave the remaining processes of a step alone from now on: they may run on, or cannot be ended."""
        self._has_disowned = True
        for pid in self._orphans:
            if self._owner(pid) == step.id:
                self._owners[pid] = ""
        if step.is_own and not step.is_over:
            self._owners[step.pid] = ""

    def _look(self) -> Table:
        if self._table is None:
            self._table = Table(self._processes.all())
            self._orphans_of = {}
            if self._can.children:
                for process in self._table.children.get(os.getpid(), ()):
                    if process.pid in self._leaders or process.pid == self._spared_pid():
                        continue
                    if owner := self._owner(process.pid):
                        self._orphans_of.setdefault(owner, []).append(process)
        return self._table

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
        """The step an orphan belongs to; empty when it is left alone or not known. Reaping forgets it."""
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
        for mark in process.marks:
            step = self._active.get(os.fsdecode(mark).rpartition("@")[0])
            if step is not None and step.mark == mark:
                return step.id
        badge = badge_of(process.pid) if self._can.badge else 0
        for step in self._active.values():
            if step.seen.get(process.pid) == process.start or (badge and step.badge == badge):
                return step.id
        # It left its session, and dropped environment and badge. If only one step can have started it, that one did.
        candidates = [step.id for step in self._leaders.values() if step.start <= process.start]
        return candidates[0] if len(candidates) == 1 and not self._has_disowned else ""


def _reads_from_a_pipe(pid: int) -> bool:
    try:
        return stat.S_ISFIFO(os.stat(f"/proc/{pid}/fd/0").st_mode)
    except OSError:
        return False
