"""The keeper's standby: a copy of its process that has every pipe open, and drains them when the keeper cannot.

A pipe loses what is in it when the last process closes it. A step may end while there is neither daemon nor keeper, so
somebody else must have its pipes open. The standby sleeps while the keeper works; when that is gone, or stopped by a
signal, it goes on with the recordings of the keeper's journal, until nobody prints any more, the keeper goes on, or the
next keeper ends it. It may be killed at any instant: what it moves is moved by the kernel, all else is in the files.
"""

from __future__ import annotations

import ctypes
import fcntl
import os
import select
import signal

from flowd.keeper import journal
from flowd.keeper.pipes import open_for_reading, slots_in
from flowd.keeper.recording import AT_END, Recording
from flowd.keeper.turn import Turn

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any, NoReturn

LOOK_S = 1.0
"""How often we look whether the keeper is stopped, and how long we wait when the disk is full."""
YIELD_WITHIN_S = 0.05
"""How long a keeper that goes on again waits for its turn."""
_END_WITHIN_S = 2.0
"""How long the next keeper waits for an earlier standby to be gone: it is killed, so this is the scheduler's delay."""


class Standby:
    """The keeper's side: starts a standby when there are pipes, and another when that one dies."""

    def __init__(self, directory: str, folder: str, turn: Turn) -> None:
        """None is started yet.

        Args:
            directory: The keeper's.
            folder: Of the pipes.
            turn: Who drains now.
        """
        self._directory = directory
        self._folder = folder
        self._turn = turn
        self._control_fd = -1
        self.pid = 0

    def start(self) -> None:
        """Start one; it opens the pipes of `hold`."""
        read_end, write_end = os.pipe()
        lock_fd = os.open(self._lock_path(), os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
        try:
            fcntl.flock(lock_fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
            pid = os.fork()
        except OSError:
            for fd in (read_end, write_end, lock_fd):
                os.close(fd)
            raise
        if not pid:
            _become_standby(read_end, lock_fd, self._directory, self._folder, self._turn)
        self.pid = pid
        os.close(read_end)
        os.close(lock_fd)
        self._drop_control()
        os.set_blocking(write_end, False)
        self._control_fd = write_end

    def hold(self, slot: str) -> None:
        """Have it open this slot's pipes."""
        self._tell(f"hold {slot}\n")

    def drop(self, slot: str) -> None:
        """Have it close them."""
        self._tell(f"drop {slot}\n")

    def has_died(self) -> bool:
        """Whether there was one, and it is gone."""
        if not self.pid:
            return False
        try:
            is_gone = os.waitpid(self.pid, os.WNOHANG)[0] != 0
        except ChildProcessError:
            is_gone = True
        if is_gone:
            self.pid = 0
        return is_gone

    def end(self) -> None:
        """End ours: nothing is left to hold."""
        self._tell("end\n")

    def end_earlier(self) -> None:
        """Kill the standby of an earlier keeper, if one lives. Open the pipes before: it may be the last one."""
        try:
            fd = os.open(self._lock_path(), os.O_RDWR | os.O_CLOEXEC | os.O_NOFOLLOW)
        except OSError:
            return
        try:
            for _ in range(int(_END_WITHIN_S / 0.01)):
                if _try_flock(fd):
                    return
                # It has written its pid there, and has the lock for as long as it lives: the pid is its own.
                pid = os.pread(fd, 32, 0).decode("ascii", "replace").strip()
                if pid.isdecimal():
                    _kill(int(pid))
                select.select([], [], [], 0.01)
        finally:
            os.close(fd)

    def _lock_path(self) -> str:
        return os.path.join(self._directory, "standby.lock")

    def _tell(self, line: str) -> None:
        if self._control_fd >= 0:
            try:
                os.write(self._control_fd, line.encode())
            except OSError:
                pass  # it is gone, which our loop hears

    def _drop_control(self) -> None:
        if self._control_fd >= 0:
            os.close(self._control_fd)
        self._control_fd = -1


def _become_standby(control_fd: int, lock_fd: int, directory: str, folder: str, turn: Turn) -> NoReturn:
    try:
        keeper_pid = os.getppid()
        for number in (signal.SIGCHLD, signal.SIGTERM):
            signal.signal(number, signal.SIG_DFL)
        signal.set_wakeup_fd(-1)
        os.setsid()
        os.dup2(control_fd, 3, inheritable=False)  # the keeper's listening socket and its lock are closed by that
        os.dup2(lock_fd, 4, inheritable=False)
        os.closerange(5, 1 << 20)
        turn.open_anew()
        os.ftruncate(4, 0)
        os.pwrite(4, str(os.getpid()).encode(), 0)
        _call_ourselves(f"flowd-standby {directory}")
        _Watch(3, directory, folder, turn, keeper_pid).run()
    except BaseException as error:  # noqa: BLE001 - nobody else can tell
        os.write(2, f"standby: {error!r}\n".encode("utf-8", "replace"))
    finally:
        os._exit(0)


class _Watch:
    """The standby's side."""

    def __init__(self, control_fd: int, directory: str, folder: str, turn: Turn, keeper_pid: int) -> None:
        self._control_fd = control_fd
        self._turn = turn
        self._keeper_pid = keeper_pid
        self._directory = directory
        self._folder = folder
        self._held: dict[str, list[int]] = {}

    def run(self) -> None:
        """Hold what the keeper says. Returns when it has ended us, or is gone and nobody prints any more."""
        rest = b""
        while True:
            while not select.select([self._control_fd], [], [], LOOK_S)[0]:
                if self._is_keeper_stopped():
                    self._stand_in_meanwhile()
            data = os.read(self._control_fd, 65536)
            if not data:
                self._drain(self._begin())
                return
            *lines, rest = (rest + data).split(b"\n")
            for line in lines:
                word, _, slot = line.decode().partition(" ")
                if word == "end":
                    return
                self._hold(slot) if word == "hold" else self._drop(slot)

    def _hold(self, slot: str) -> None:
        if slot not in self._held:
            try:
                self._held[slot] = open_for_reading(self._folder, slot)
            except OSError:
                pass  # removed by now

    def _drop(self, slot: str) -> None:
        for fd in self._held.pop(slot, ()):
            os.close(fd)

    def _is_keeper_stopped(self) -> bool:
        """Whether it lives, and a signal or a debugger has stopped it; never where we cannot know."""
        try:
            with open(f"/proc/{self._keeper_pid}/stat", "rb") as file:
                state = file.read().rpartition(b")")[2].split()[0]
        except OSError:
            return False
        return state in (b"T", b"t") and os.getppid() == self._keeper_pid

    def _stand_in_meanwhile(self) -> None:
        """Drain while the keeper is stopped; unless it was stopped while it drained, for then its turn is not over."""
        if self._turn.try_take():
            try:
                self._drain(self._begin(), goes_on=self._is_keeper_stopped)
            finally:
                self._turn.give_back()

    def _begin(self) -> list[Recording]:
        for slot in slots_in(self._folder):
            self._hold(slot)
        return _recordings(self._directory, self._held)

    def _drain(self, recordings: list[Recording], goes_on: Callable[[], bool] = lambda: True) -> None:
        """Drain every pipe until nobody has it open for writing."""
        poll = select.poll()
        ends = {
            fd: (recording, number) for recording in recordings for number, fd in enumerate(self._held[recording.slot])
        }
        for fd in ends:
            poll.register(fd, select.POLLIN)
        ready = list(ends)  # polling says nothing of a pipe that has had no writer since it was opened
        while ends and goes_on():
            for fd in ready:
                recording, number = ends[fd]
                try:
                    is_at_end = recording.drain(number) == AT_END
                except OSError:  # the disk is full: the pipe keeps what is in it
                    select.select([], [], [], LOOK_S)
                    continue
                if is_at_end:
                    poll.unregister(fd)
                    del ends[fd]
            ready = [fd for fd, _ in poll.poll(YIELD_WITHIN_S * 1000)] if ends else []
        for recording in recordings:
            recording.close()


def _recordings(directory: str, held: dict[str, list[int]]) -> list[Recording]:
    """Those of the steps that ran when the keeper died; of the other pipes, what still comes is thrown away."""
    attempts, _ = journal.load(os.path.join(directory, "keeper.journal"))
    begun = {
        entries["begin"].get("pipes"): entries["begin"]
        for entries in attempts.values()
        if "exit" not in entries and _was_spawned(entries)
    }
    found = []
    null_fd = os.open(os.devnull, os.O_WRONLY | os.O_CLOEXEC)
    for slot, fds in held.items():
        spec = begun.get(slot) or {}
        paths = str(spec.get("stdout", os.devnull)), str(spec.get("stderr", os.devnull))
        limit = int(spec.get("max_output_bytes", 0))
        recording = Recording(slot, fds, paths, max_output_bytes=limit, null_fd=null_fd)
        if spec:
            recording.resume()
        found.append(recording)
    return found


def _was_spawned(entries: dict[str, dict[str, Any]]) -> bool:
    """Whether there may be a process. Its files, which are made right before it, say so to the next keeper; we must not
    make them."""
    return "started" in entries or os.path.exists(str(entries["begin"]["stderr"]))


def _try_flock(fd: int) -> bool:
    try:
        fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        return False
    return True


def _kill(pid: int) -> None:
    try:
        os.kill(pid, signal.SIGKILL)
    except OSError:
        pass


def _call_ourselves(title: str) -> None:
    """Show another command line than the keeper's, whose copy we are (Linux: fields 48 and 49 of /proc/<pid>/stat)."""
    try:
        with open("/proc/self/stat", "rb") as file:
            fields = file.read().rpartition(b")")[2].split()
        begin, end = int(fields[45]), int(fields[46])
        words = os.fsencode(title).replace(b" ", b"\0", 1)[: end - begin - 1]
        ctypes.memmove(begin, words.ljust(end - begin, b"\0"), end - begin)
    except (OSError, ValueError, IndexError):
        pass
