"""Looks at the processes of this machine (parents, sessions, marks) and signals exactly the one that was meant.

A process is identified by its pid and start time, never by the pid alone. The start time is in clock ticks since boot
(field 22 of /proc/<pid>/stat), or in wall seconds where only `ps` is there.
"""

from __future__ import annotations

import os
import resource
import signal
import sys
import time

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable

MARK = "FLOWD_MARK"
"""Environment variable that names every flowd attempt around a process, innermost last, separated by commas."""

BADGE = 1 << 61
"""Badges are random numbers from this one on. As microseconds they are 73,000 years."""

_MARK_BYTES = MARK.encode() + b"="
_PS_ENVIRONMENT = {"PATH": os.defpath, "LC_ALL": "C", "TZ": "UTC"}  # an instant reads "Sun Nov 22 22:07:49 2026"
_MONTHS = "Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"
_DAYS_BEFORE = dict(zip(_MONTHS, (0, 31, 59, 90, 120, 151, 181, 212, 243, 273, 304, 334), strict=True))
_PS_TOLERANCE_S = 2  # `ps` shows whole seconds, on Linux computed from the uptime each time


class Process:
    """One process as it was when it was looked at. `ps` does not show ``exit_status``."""

    __slots__ = ("_marks", "exit_status", "name", "pgid", "pid", "ppid", "sid", "start", "state")

    def __init__(
        self,
        pid: int,
        *,
        ppid: int,
        pgid: int,
        sid: int,
        start: int,
        state: str,
        name: str,
        exit_status: int | None = None,
        marks: frozenset[bytes] | None = None,
    ) -> None:
        self.pid = pid
        self.ppid = ppid
        self.pgid = pgid
        self.sid = sid
        self.start = start
        self.state = state
        self.name = name
        self.exit_status = exit_status
        self._marks = marks

    def __str__(self) -> str:
        return f"{self.pid} {self.name}"

    @property
    def is_dead(self) -> bool:
        """It has ended and waits for its parent."""
        return self.state in "ZX"

    @property
    def marks(self) -> frozenset[bytes]:
        """The attempts around it by its environment; none where that cannot be read."""
        if self._marks is None:
            try:
                with open(f"/proc/{self.pid}/environ", "rb") as file:
                    self._marks = _marks(file.read().split(b"\0"))
            except OSError:
                self._marks = frozenset()
        return self._marks

    def inherit(self, earlier: Process) -> None:
        """Take over what was seen of the same process before. That it had none means nothing: it may have executed."""
        if earlier.start == self.start and earlier._marks:
            self._marks = earlier._marks

    def exit_status_if_visible(self) -> int | None:
        """A zombie's wait status; None where its user or group is not ours, for then the kernel shows 0 instead."""
        try:
            with open(f"/proc/{self.pid}/status", encoding="utf-8", errors="replace") as file:
                ids = {line.split()[0]: set(line.split()[1:]) for line in file if line.startswith(("Uid:", "Gid:"))}
        except OSError:
            return None
        ours = {"Uid:": {str(os.geteuid())}, "Gid:": {str(os.getegid())}}
        return self.exit_status if ids == ours and self.is_dead else None


class Processes:
    """Looks at processes through /proc, or through `ps` where there is no /proc."""

    def __init__(self, *, proc: bool, pidfd: bool) -> None:
        self._proc = proc
        self._pidfd = pidfd
        self._seen: dict[int, Process] = {}

    def look(self, pid: int) -> Process | None:
        """One process now; None when there is none."""
        return _read_stat(pid) if self._proc else _ps(["-p", str(pid)]).get(pid)

    def all(self) -> dict[int, Process]:
        """All processes now, by pid. 20 µs for each, and as much again for its marks, which are remembered.

        A process that had marks keeps them in our eyes, even if it clears its environment.
        """
        if not self._proc:
            return _ps(["-ax"] if sys.platform == "darwin" else ["ax"])
        found = ((pid, _read_stat(pid)) for pid in map(int, filter(str.isdecimal, os.listdir("/proc"))))
        table = {pid: process for pid, process in found if process is not None}
        for pid, known in self._seen.items():
            if pid in table:
                table[pid].inherit(known)
        self._seen = table
        return table

    def count_of_user(self) -> int:
        """How many processes and threads run under our user id; all there are, where there is only `ps`."""
        if not self._proc:
            return len(self.all())
        return sum(map(_threads_if_ours, filter(str.isdecimal, os.listdir("/proc"))))

    def start_of(self, pid: int) -> int:
        """The start time of our own child, which was just spawned and cannot be gone."""
        process = self.look(pid)
        if process is None:
            return 0 if self._proc else int(time.time())  # `ps` cannot run where no process may start
        return process.start

    def is_same(self, process: Process | None, start: int) -> bool:
        """Whether this is the process that started then, not another one with its pid."""
        tolerance = 0 if self._proc else _PS_TOLERANCE_S
        return process is not None and abs(process.start - start) <= tolerance

    def signal(self, process: Process, number: int) -> bool:
        """Signal exactly this process. False when it is gone, or we may not signal it."""
        if not self._pidfd:
            return self._signal_by_pid(process, number)
        try:
            pidfd = os.pidfd_open(process.pid)
        except ProcessLookupError:
            return False
        except OSError:  # out of descriptors
            return self._signal_by_pid(process, number)
        try:
            # Looking after opening: if this is the right one now, the pidfd is its, whatever happens to the pid.
            if not self.is_same(self.look(process.pid), process.start):
                return False
            signal.pidfd_send_signal(pidfd, number)
        except OSError:
            return False
        finally:
            os.close(pidfd)
        return True

    def _signal_by_pid(self, process: Process, number: int) -> bool:
        if not self.is_same(self.look(process.pid), process.start):
            return False
        try:
            os.kill(process.pid, number)
        except OSError:
            return False
        return True


class Table:
    """All processes as they were at one moment, found by whatever ties them together."""

    def __init__(self, processes: dict[int, Process]) -> None:
        self.by_pid = processes
        self.children: dict[int, list[Process]] = {}
        self.groups: dict[int, list[Process]] = {}
        self.sessions: dict[int, list[Process]] = {}
        self._marked: dict[bytes, list[Process]] | None = None
        self._badged: dict[int, list[Process]] | None = None
        for process in processes.values():
            self.children.setdefault(process.ppid, []).append(process)
            self.groups.setdefault(process.pgid, []).append(process)
            self.sessions.setdefault(process.sid, []).append(process)

    def marked(self, mark: bytes) -> list[Process]:
        """Those with this mark in their environment. The first question costs a file for each process."""
        if self._marked is None:
            self._marked = {}
            for process in self.by_pid.values():
                for found in process.marks:
                    self._marked.setdefault(found, []).append(process)
        return self._marked.get(mark, [])

    def badged(self, badge: int) -> list[Process]:
        """Those with this badge; the first question costs 1 µs for each process."""
        if self._badged is None:
            self._badged = {}
            for process in self.by_pid.values():
                if found := badge_of(process.pid):
                    self._badged.setdefault(found, []).append(process)
        return self._badged.get(badge, [])

    def with_descendants(self, roots: Iterable[Process]) -> list[Process]:
        """The roots and everything below them, each once."""
        found = {process.pid: process for process in roots}
        queue = list(found.values())
        while queue:
            for child in self.children.get(queue.pop().pid, ()):
                if child.pid not in found:
                    found[child.pid] = child
                    queue.append(child)
        return list(found.values())


def new_badge() -> int:
    """A number that no other step has: a soft RLIMIT_RTTIME, which bounds real-time processes only.

    It is inherited by every child and over every execution, and no program clears it, as some clear their environment.
    """
    return BADGE | int.from_bytes(os.urandom(7), "big")


def badge_of(pid: int) -> int:
    """The badge of a process; 0 without one, or where it is another user's."""
    try:
        soft = resource.prlimit(pid, resource.RLIMIT_RTTIME)[0]
    except (OSError, AttributeError):
        return 0
    return soft if soft >= BADGE and soft != resource.RLIM_INFINITY else 0


def _marks(variables: list[bytes]) -> frozenset[bytes]:
    for variable in variables:
        if variable.startswith(_MARK_BYTES):
            return frozenset(variable[len(_MARK_BYTES) :].split(b","))
    return frozenset()


def _read_stat(pid: int) -> Process | None:
    try:
        fd = os.open(f"/proc/{pid}/stat", os.O_RDONLY | os.O_CLOEXEC)
        try:
            line = os.read(fd, 4096)
        finally:
            os.close(fd)
    except OSError:
        return None
    # The name stands in parentheses and may hold any byte, so the last closing one ends it.
    opening, closing = line.find(b"("), line.rfind(b")")
    fields = line[closing + 2 :].split()
    return Process(
        pid,
        ppid=int(fields[1]),
        pgid=int(fields[2]),
        sid=int(fields[3]),
        start=int(fields[19]),
        state=fields[0].decode(),
        name=line[opening + 1 : closing].decode("utf-8", "replace"),
        exit_status=int(fields[49]),
    )


def _threads_if_ours(pid: str) -> int:
    try:
        if os.stat(f"/proc/{pid}").st_uid != os.geteuid():
            return 0
        with open(f"/proc/{pid}/stat", "rb", buffering=0) as file:
            return int(file.read().rpartition(b")")[2].split()[17])
    except OSError:
        return 0


def _ps(which: list[str]) -> dict[int, Process]:
    """Ask `ps`, with the environments of our own processes, which it prints after the command.

    It is asked when they started, not how old they are: an age is wrong by as long as its reader was kept waiting.
    """
    show_environment = "-E" if sys.platform == "darwin" else "e"
    read_end, write_end = os.pipe()
    argv = ["ps", *which, show_environment, "-ww", "-o", "pid=,ppid=,pgid=,sess=,lstart=,state=,ucomm=,command="]
    try:
        pid = os.posix_spawnp("ps", argv, _PS_ENVIRONMENT, file_actions=[(os.POSIX_SPAWN_DUP2, write_end, 1)])
    except OSError:
        os.close(read_end)
        return {}
    finally:
        os.close(write_end)
    with open(read_end, "rb") as output:
        lines = output.read().splitlines()
    os.waitpid(pid, 0)
    found = (_parse_ps(line) for line in lines)
    return {process.pid: process for process in found if process is not None and process.pid != pid}


def _parse_ps(line: bytes) -> Process | None:
    fields = line.split(None, 11)
    try:
        return Process(
            int(fields[0]),
            ppid=int(fields[1]),
            pgid=int(fields[2]),
            sid=int(fields[3]) if fields[3].isdigit() else 0,  # macOS prints an address or nothing useful
            start=_epoch_s(*map(bytes.decode, fields[5:9])),
            state=fields[9][:1].decode(),
            name=fields[10].decode("utf-8", "replace"),
            marks=_marks(fields[11].split(b" ") if len(fields) > 11 else []),
        )
    except (LookupError, TypeError, ValueError):
        return None


def _epoch_s(month: str, day: str, clock: str, year: str) -> int:
    """Seconds since 1970 of an instant in UTC. The library's `strptime` would load half a megabyte into the keeper.

    >>> _epoch_s("Mar", "1", "00:00:00", "1972")
    68256000
    """
    before = _DAYS_BEFORE[month]
    leap_days = (int(year) - (1969 if before < 59 else 1968)) // 4
    days = (int(year) - 1970) * 365 + leap_days + before + int(day) - 1
    hours, minutes, seconds = map(int, clock.split(":"))
    return ((days * 24 + hours) * 60 + minutes) * 60 + seconds
