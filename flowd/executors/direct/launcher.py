"""Finds the workspace's living keeper, or starts one. Blocking: `KeeperLink` calls it in a thread.

The lock ``keeper.lock`` decides: whoever can take it knows that no keeper lives, and hands it, locked, to the one it
starts. So there are never two, and a lock never outlives its keeper.
"""

import array
import errno
import fcntl
import json
import os
import socket
import time
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import flowd
from flowd.domain.launching import KeeperLostError
from flowd.keeper.identity import code
from flowd.keeper.proctree import MARK
from flowd.keeper.protocol import LISTEN_FD, LOCK_FD, VERSION, FrameError, FrameReader, dumps, encode
from flowd.state import files
from flowd.state.lock import try_lock
from flowd.state.sockets import is_bindable, short_path

CONNECT_WITHIN_S = 10.0
"""A keeper answers within milliseconds; a machine under heavy load takes its time."""
MAX_SPAWNS = 3
"""A keeper that dies so often before it says hello will not do it the next time."""
MAX_LOG_BYTES = 1 << 20
_BOOTSTRAP = "import sys; sys.path.insert(0, sys.argv[1]); from flowd.keeper.main import main; main(*sys.argv[2:])"


@dataclass(frozen=True, slots=True)
class Link:
    """A connection to a keeper that has replied to our hello.

    Attributes:
        reader: Has read the hello; it may hold the beginning of what follows.
        frames: What was received together with the hello.
        records: All attempts that the keeper knows.
        is_new: We have just started it.
    """

    socket: socket.socket
    reader: FrameReader
    frames: list[tuple[dict[str, Any], bytes]]
    hello: dict[str, Any]
    records: list[dict[str, Any]]

    is_new: bool

    @property
    def is_outdated(self) -> bool:
        """Whether the keeper runs other code than one that we would start now; not if we just did."""
        return not self.is_new and self.hello.get("code") != code()

    @property
    def is_idle(self) -> bool:
        """Whether the keeper runs no step."""
        return not any(record["state"] == "running" for record in self.records)


@dataclass(frozen=True, slots=True)
class Launcher:
    """How to reach the keeper of one folder.

    Attributes:
        directory: Private to us; holds lock, socket, journal and log of the keeper.
        python: The interpreter to start it with.
        without: Capabilities it must not use.
        cgroup: ``auto``, ``off``, or the path of a cgroup that is to be used for steps.
        step_open_files: The soft limit of open files for steps; None is our own.
    """

    directory: Path
    base_env: Mapping[str, str]
    orphan_grace_s: float
    without: frozenset[str]
    python: str
    cgroup: str = "auto"
    step_open_files: int | None = None

    def connect(self, pidfds: Mapping[str, int]) -> Link:
        """Connect to the living keeper, or start one, and introduce ourselves.

        Args:
            pidfds: By attempt, of the steps that ran when the last keeper died; the new one learns their exits by them.

        Raises:
            KeeperLostError: No keeper could be started, or the living one does not answer.
        """
        deadline = time.monotonic() + CONNECT_WITHIN_S
        spawns_left = MAX_SPAWNS
        while True:
            try:
                spawns_left -= self._spawn_if_alone()
            except OSError as error:
                raise KeeperLostError(self._describe(error)) from error
            try:
                link = self._reach(pidfds, deadline, is_new=spawns_left < MAX_SPAWNS)
                if not (link.is_outdated and link.is_idle):
                    return link
                _dismiss(link, deadline)
            except (OSError, FrameError) as error:  # it may be just starting, or just ending
                if not spawns_left or time.monotonic() > deadline:
                    raise KeeperLostError(self._describe(error)) from error
            time.sleep(0.02)

    def _spawn_if_alone(self) -> bool:
        # Not its parents: a state folder that was removed under us stays away.
        self.directory.mkdir(mode=0o700, exist_ok=True)
        lock_fd = try_lock(self.directory / "keeper.lock")
        if lock_fd is None:
            return False
        try:
            self._spawn(lock_fd)
        finally:
            os.close(lock_fd)
        return True

    def _reach(self, pidfds: Mapping[str, int], deadline: float, *, is_new: bool) -> Link:
        connection = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        try:
            connection.settimeout(max(0.1, deadline - time.monotonic()))
            with _Reachable(self._socket_path()) as address:
                connection.connect(address)
            return self._greet(connection, pidfds, is_new=is_new)
        except BaseException:
            connection.close()
            raise

    def _greet(self, connection: socket.socket, pidfds: Mapping[str, int], *, is_new: bool) -> Link:
        for attempt_id, pidfd in pidfds.items():
            ancillary = [(socket.SOL_SOCKET, socket.SCM_RIGHTS, array.array("i", [pidfd]))]
            frame = encode({"op": "adopt", "id": attempt_id})
            sent = connection.sendmsg([frame], ancillary)
            connection.sendall(frame[sent:])
        hello = {"op": "hello", "v": VERSION, "orphan_grace_s": self.orphan_grace_s}
        connection.sendall(encode(hello, dumps(dict(self.base_env)).encode()))
        reader = FrameReader()
        frames: list[tuple[dict[str, Any], bytes]] = []
        while not frames:
            data = connection.recv(1 << 18)
            if not data:
                raise ConnectionResetError(errno.ECONNRESET, "the keeper hung up")
            frames = reader.feed(data)
        header, body = frames[0]
        if header["op"] != "hello":
            raise FrameError(f"the keeper answered {header.get('error', header['op'])!r}")
        connection.settimeout(0)
        return Link(connection, reader, frames[1:], header, json.loads(body), is_new)

    def _spawn(self, lock_fd: int) -> None:
        """Start a keeper. The spawned process forks, exits and is reaped here: the keeper is no child of ours."""
        listener = self._listen()
        log_fd = self._open_log()
        null_fd = os.open(os.devnull, os.O_RDWR | os.O_CLOEXEC)
        source = str(Path(flowd.__file__).resolve().parent.parent)
        without, open_files = ",".join(sorted(self.without)), str(self.step_open_files or "")
        options = [str(self.directory), without, self.cgroup, open_files]
        argv = [self.python, "-I", "-S", "-c", _BOOTSTRAP, source, *options]
        # By the mark, a flowd around us knows that this keeper belongs to its step.
        env = {name: os.environ[name] for name in ("PATH", "TZ", MARK) if name in os.environ}
        high = [
            fcntl.fcntl(fd, fcntl.F_DUPFD_CLOEXEC, 10) for fd in (null_fd, log_fd, log_fd, listener.fileno(), lock_fd)
        ]
        try:
            pid = os.posix_spawn(
                self.python,
                argv,
                env,
                file_actions=[
                    (os.POSIX_SPAWN_DUP2, fd, target)
                    for fd, target in zip(high, (0, 1, 2, LISTEN_FD, LOCK_FD), strict=True)
                ],
                setsid=True,
                setsigmask=[],
            )
            _, status = os.waitpid(pid, 0)
        finally:
            for fd in (*high, log_fd, null_fd):
                os.close(fd)
            listener.close()
        if status:
            raise OSError(errno.ECHILD, f"the keeper's start failed (wait status {status})")

    def _listen(self) -> socket.socket:
        path = self._new_socket_path()
        path.unlink(missing_ok=True)
        listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        try:
            with _Reachable(path) as address:
                listener.bind(address)
            path.chmod(0o600)
            listener.listen(16)
        except BaseException:
            listener.close()
            raise
        return listener

    def _open_log(self) -> int:
        flags = os.O_WRONLY | os.O_CREAT | os.O_APPEND
        fd = files.open_own(self.directory / "keeper.log", flags)
        if os.fstat(fd).st_size > MAX_LOG_BYTES:
            os.ftruncate(fd, 0)
        return fd

    def _socket_path(self) -> Path:
        try:
            return Path((self.directory / "keeper.sock.path").read_text(encoding="utf-8").strip())
        except FileNotFoundError:
            return self.directory / "keeper.sock"

    def _new_socket_path(self) -> Path:
        """Where to listen: at a path that is too long through /proc, or else elsewhere, with a pointer file."""
        path, pointer = self.directory / "keeper.sock", self.directory / "keeper.sock.path"
        if is_bindable(path) or self._has_proc():
            pointer.unlink(missing_ok=True)
            return path
        path = short_path(path)
        files.write_text(pointer, f"{path}\n")
        return path

    def _has_proc(self) -> bool:
        return "proc" not in self.without and Path("/proc/self/fd").is_dir()

    def _describe(self, error: Exception) -> str:
        try:
            tail = (self.directory / "keeper.log").read_text(encoding="utf-8", errors="replace")[-500:].strip()
        except OSError:
            tail = ""
        return f"The keeper in {self.directory} cannot be reached: {error}\n{tail}".strip()


def _dismiss(link: Link, deadline: float) -> None:
    """Have a keeper without steps end. What it remembers of steps that have ended is in its journal, for the next."""
    with link.socket as connection:
        connection.settimeout(max(0.1, deadline - time.monotonic()))
        connection.sendall(encode({"op": "quit"}))
        while connection.recv(1 << 18):
            pass


class _Reachable:
    """A socket address for a path of any length: a long one goes through a descriptor of its folder."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._fd: int | None = None

    def __enter__(self) -> str:
        if is_bindable(self._path):
            return str(self._path)
        self._fd = os.open(self._path.parent, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        return f"/proc/self/fd/{self._fd}/{self._path.name}"

    def __exit__(self, *_: object) -> None:
        if self._fd is not None:
            os.close(self._fd)


def environment_without(names: str | None = None) -> frozenset[str]:
    """The capabilities that ``FLOWD_WITHOUT`` switches off, for tests; by default those of our own environment.

    >>> sorted(environment_without("pidfd, proc"))
    ['pidfd', 'proc']
    """
    names = os.environ.get("FLOWD_WITHOUT", "") if names is None else names
    parts: Iterable[str] = (name.strip() for name in names.split(","))
    return frozenset(filter(None, parts))
