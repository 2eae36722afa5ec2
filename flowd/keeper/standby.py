"""The keeper's standby: a copy of its process that has every pipe open, and drains them when the keeper cannot.

A pipe loses what is in it when the last process closes it. A step may end while there is neither daemon nor keeper, so
somebody else must have its pipes open. The standby sleeps while the keeper works; when that is gone, or stopped by a
signal, it goes on with the recordings of the keeper's journal, until nobody prints any more, the keeper goes on, or the
next keeper ends it. It may be killed at any instant: what it moves is moved by the kernel, all else is in the files.
Meanwhile it ends the steps whose leases are over, for nobody else can.
"""

from __future__ import annotations

import ctypes
import fcntl
import os
import select
import signal
import socket

from flowd.keeper import journal
from flowd.keeper.fence import Fence
from flowd.keeper.pipes import open_for_reading, slots_in
from flowd.keeper.recording import AT_END, Recording
from flowd.keeper.turn import Turn

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence
    from typing import Any, NoReturn

LOOK_S = 1.0
"""How often we look whether the keeper is stopped, and how long we wait when the disk is full."""
YIELD_WITHIN_S = 0.05
"""How long a keeper that goes on again waits for its turn."""
_MAX_FDS = 250
"""In one message: Linux takes 253."""
_END_WITHIN_S = 2.0
"""How long the next keeper waits for an earlier standby to be gone: it is killed, so this is the scheduler's delay."""


class Standby:
    """The keeper's side: starts a standby when there are pipes, and another when that one dies."""

    def __init__(self, directory: str, keeper_id: str, turn: Turn) -> None:
        """None is started yet.

        Args:
            directory: The keeper's.
            keeper_id: Tells a standby that a keeper after its own is at work.
            turn: Who drains now.
        """
        self._directory = directory
        self._keeper_id = keeper_id
        self._turn = turn
        self._control: socket.socket | None = None
        self.pid = 0

    def start(self, pipes: Mapping[str, list[int]]) -> None:
        """Start one that has these slots' pipes open from its first instant on. It drains none before `alone`, while
        an earlier keeper's may still live."""
        ours, its = socket.socketpair()
        try:
            pid = os.fork()
        except OSError:
            ours.close()
            its.close()
            raise
        if not pid:
            _become_standby(its, dict(pipes), self._directory, self._keeper_id, self._turn)
        self.pid = pid
        its.close()
        self._drop_control()
        ours.settimeout(0)
        self._control = ours

    def alone(self) -> None:
        """Tell it that no other standby lives."""
        self._tell("alone\n")

    def hold(self, slot: str, fds: list[int]) -> None:
        """Have it hold this slot's pipes. From now on they are open, even if we die before it has heard of it."""
        self._tell(f"hold {slot}\n", fds)

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
        """Kill the standbys of earlier keepers that live. Have the pipes open before, here and in our own standby."""
        fd = _open_lock(self._directory)
        try:
            for _ in range(int(_END_WITHIN_S / 0.01)):
                if _try_flock(fd):
                    _write(fd, self._keeper_id)
                    return
                # It has written its pid there, and has the lock for as long as it lives: the pid is its own.
                pid = _read(fd)
                if pid.isdecimal():
                    _kill(int(pid))
                select.select([], [], [], 0.01)
        finally:
            os.close(fd)

    def _tell(self, line: str, fds: Sequence[int] = ()) -> None:
        if self._control is not None:
            try:
                socket.send_fds(self._control, [line.encode()], fds)
            except OSError:
                pass  # it is gone, which our loop hears

    def _drop_control(self) -> None:
        if self._control is not None:
            self._control.close()
        self._control = None


def _become_standby(
    control: socket.socket, held: dict[str, list[int]], directory: str, keeper_id: str, turn: Turn
) -> NoReturn:
    try:
        keeper_pid = os.getppid()
        for number in (signal.SIGCHLD, signal.SIGTERM):
            signal.signal(number, signal.SIG_DFL)
        signal.set_wakeup_fd(-1)
        os.setsid()
        _close_all_but({0, 1, 2, control.fileno(), *(fd for fds in held.values() for fd in fds)})
        turn.open_anew()
        _call_ourselves(f"flowd-standby {directory}")
        _Watch(control, held, directory, (keeper_id, keeper_pid), turn).run()
    except BaseException as error:  # noqa: BLE001 - nobody else can tell
        os.write(2, f"standby: {error!r}\n".encode("utf-8", "replace"))
    finally:
        os._exit(0)


def _close_all_but(kept: set[int]) -> None:
    """Close every other descriptor: the keeper's listening socket and its lock are among them."""
    first = 0
    for fd in sorted(kept):
        if first < fd:  # an empty range from 0 is all there are, to Python
            os.closerange(first, fd)
        first = fd + 1
    os.closerange(first, 1 << 20)


class _Watch:
    """The standby's side."""

    def __init__(
        self, control: socket.socket, held: dict[str, list[int]], directory: str, keeper: tuple[str, int], turn: Turn
    ) -> None:
        self._control = control
        self._held = held
        self._directory = directory
        self._keeper_id, self._keeper_pid = keeper
        self._turn = turn
        self._is_alone = False

    def run(self) -> None:
        """Hold what the keeper says. Returns when it has ended us, or is gone and nobody prints any more."""
        rest, fds = b"", list[int]()
        while True:
            while not select.select([self._control], [], [], LOOK_S)[0]:
                if self._is_alone and self._is_keeper_stopped():
                    self._stand_in_meanwhile()
            data, more, _, _ = socket.recv_fds(self._control, 65536, _MAX_FDS)
            if not data:
                if self._become_the_only_one():
                    self._hold_missing()
                    self._drain(self._recordings())
                return
            fds += more
            *lines, rest = (rest + data).split(b"\n")
            if not all(self._obey(line.decode(), fds) for line in lines):
                return

    def _obey(self, line: str, fds: list[int]) -> bool:
        """Do what the keeper says; False when that is to end. ``fds`` came with its lines and are not used yet."""
        word, _, slot = line.partition(" ")
        match word:
            case "hold":
                self._drop(slot)
                self._held[slot] = [fds.pop(0), fds.pop(0)]
            case "drop":
                self._drop(slot)
            case "alone":
                return self._become_the_only_one()
        return word != "end"

    def _become_the_only_one(self) -> bool:
        """Wait until no standby of an earlier keeper lives. False when a keeper after ours is at work."""
        if not self._is_alone:
            lock_fd = _open_lock(self._directory)  # for as long as we live
            fcntl.flock(lock_fd, fcntl.LOCK_EX)
            word = _read(lock_fd)
            if word and not word.isdecimal() and word != self._keeper_id:
                return False
            _write(lock_fd, str(os.getpid()))
            self._is_alone = True
        return True

    def _hold_missing(self) -> None:
        """Hold what we were not told of, because the keeper was faster than we read."""
        folder = os.path.join(self._directory, "pipes")
        for slot in set(slots_in(folder)).difference(self._held):
            try:
                self._held[slot] = open_for_reading(folder, slot)
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
                self._drain(self._recordings(), goes_on=self._is_keeper_stopped)
            finally:
                self._turn.give_back()

    def _recordings(self) -> list[Recording]:
        """Those of the steps that ran when the keeper died; of the other pipes, what still comes is thrown away."""
        attempts, _ = journal.load(os.path.join(self._directory, "keeper.journal"))
        begun = {
            entries["begin"].get("pipes"): entries["begin"]
            for entries in attempts.values()
            if "exit" not in entries and _was_spawned(entries)
        }
        found = []
        null_fd = os.open(os.devnull, os.O_WRONLY | os.O_CLOEXEC)
        for slot, fds in self._held.items():
            spec = begun.get(slot) or {}
            paths = str(spec.get("stdout", os.devnull)), str(spec.get("stderr", os.devnull))
            limit = int(spec.get("max_output_bytes", 0))
            recording = Recording(slot, fds, paths, max_output_bytes=limit, null_fd=null_fd)
            if spec:
                recording.resume()
            found.append(recording)
        return found

    def _drain(self, recordings: list[Recording], goes_on: Callable[[], bool] = lambda: True) -> None:
        """Drain every pipe until nobody has it open for writing, and no step has a lease that is to be kept."""
        fence = Fence(journal.load(os.path.join(self._directory, "keeper.journal"))[0])
        poll = select.poll()
        ends = {
            fd: (recording, number) for recording in recordings for number, fd in enumerate(self._held[recording.slot])
        }
        for fd in ends:
            poll.register(fd, select.POLLIN)
        ready = list(ends)  # polling says nothing of a pipe that has had no writer since it was opened
        while (ends or fence.is_needed) and goes_on():
            fence.look()
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
            ready = [fd for fd, _ in poll.poll(YIELD_WITHIN_S * 1000)] if ends or fence.is_needed else []
        for recording in recordings:
            recording.close()


def _was_spawned(entries: dict[str, dict[str, Any]]) -> bool:
    """Whether there may be a process. The file of its standard output, which is made right before it, says so to the
    next keeper; we must not make it."""
    return "started" in entries or os.path.exists(str(entries["begin"]["stdout"]))


def _open_lock(directory: str) -> int:
    """The file that one standby at a time has locked. It says who that is, or which keeper has seen to it that none
    lives."""
    path = os.path.join(directory, "standby.lock")
    return os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)


def _read(lock_fd: int) -> str:
    return os.pread(lock_fd, 64, 0).decode("ascii", "replace").strip()


def _write(lock_fd: int, word: str) -> None:
    os.ftruncate(lock_fd, 0)
    os.pwrite(lock_fd, word.encode(), 0)


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
