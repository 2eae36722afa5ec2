"""Starts a step that is given secrets, and masks their values in what it prints before anything is recorded:
``python -I -S mask.py ROOT GRACE_S DETACH NAME=… PROGRAM ARGUMENT…``, where each ``NAME`` is a variable whose value is
secret, and ``DETACH`` is 1 where what the step leaves behind lives on.

It is the step's first process: it takes no notice of signals, which go to the whole step, and ends as its program did.
Like the keeper it lives without a daemon, so what is printed while flowd is down is masked, too.
"""

import os
import resource
import select
import signal
import sys
import time

TYPE_CHECKING = False
if TYPE_CHECKING:
    from flowd.domain.redaction import Redactor

QUIET_S = 0.2
"""What the program has left behind may print on, until it has been quiet for so long, and no longer than its grace."""

_READ_BYTES = 65536
_SIGNALS = (
    signal.SIGTERM,
    signal.SIGINT,
    signal.SIGHUP,
    signal.SIGQUIT,
    signal.SIGUSR1,
    signal.SIGUSR2,
    signal.SIGCHLD,
)


class _Stream:
    """One of the two: read from the program, masked, written on."""

    def __init__(self, redactor: "Redactor", read_fd: int, write_fd: int) -> None:
        self.read_fd = read_fd
        self._write_fd = write_fd
        self._redactor = redactor
        self._before = self._pending = b""

    def pump(self) -> bool:
        """Move what is there now. False at the end."""
        data = os.read(self.read_fd, _READ_BYTES)
        self._pending += data
        self.write(is_end=not data)
        return bool(data)

    def write(self, *, is_end: bool) -> None:
        """Write what is surely no part of a secret; at the end, all of it."""
        masked, taken = self._redactor.part(self._before, self._pending, b"", is_end=is_end)
        self._before = (self._before + self._pending[:taken])[-self._redactor.longest :]
        self._pending = self._pending[taken:]
        while masked:
            masked = masked[os.write(self._write_fd, masked) :]


def main(root: str, grace_s: str, detach: str, names: str, *argv: str) -> int:
    """Run the program and return how it ended, as ``os.waitpid`` has it."""
    sys.path.insert(0, root)
    from flowd.domain.redaction import Redactor  # noqa: PLC0415 - from where we are told

    redactor = Redactor(names.split("="), os.environ)  # the one character that no name has
    wake_fd, woken_fd = os.pipe()
    os.set_blocking(woken_fd, False)
    signal.set_wakeup_fd(woken_fd, warn_on_full_buffer=False)
    for number in _SIGNALS:
        signal.signal(number, lambda *_: None)
    pipes = [os.pipe(), os.pipe()]
    try:
        pid = os.posix_spawn(
            argv[0], argv, os.environ,
            file_actions=[(os.POSIX_SPAWN_DUP2, write_fd, fd) for fd, (_, write_fd) in enumerate(pipes, start=1)],
            setsigdef=[signal.SIGPIPE],
        )  # fmt: skip
    except OSError as error:
        os.write(2, f"{argv[0]} cannot be started: {error.strerror}\n".encode("utf-8", "replace"))
        return 126 << 8
    for _, write_fd in pipes:
        os.close(write_fd)
    streams = {fds[0]: _Stream(redactor, fds[0], number) for number, fds in enumerate(pipes, start=1)}
    status = _pump(pid, streams, wake_fd, float(grace_s))
    for stream in streams.values():
        stream.write(is_end=True)
    if streams and detach == "1":
        _read_on(list(streams))
    return status


def _pump(pid: int, streams: dict[int, _Stream], wake_fd: int, grace_s: float) -> int:
    """Mask until the program has ended and nobody prints any more."""
    poll = select.poll()
    for fd in (wake_fd, *streams):
        poll.register(fd, select.POLLIN)
    status: int | None = None
    deadline_s = 0.0
    while streams or status is None:
        ready = [fd for fd, _ in poll.poll(None if status is None else QUIET_S * 1000)]
        if wake_fd in ready:
            os.read(wake_fd, _READ_BYTES)
            if status is None:
                ended, found = os.waitpid(pid, os.WNOHANG)
                if ended:
                    status, deadline_s = found, time.monotonic() + grace_s
        for fd in ready:
            if fd in streams and not streams[fd].pump():
                poll.unregister(fd)
                del streams[fd]
        # What it printed last may have come after this look at the streams, if it was awoken by another signal.
        if status is not None and wake_fd not in ready and (not ready or time.monotonic() >= deadline_s):
            break
    assert status is not None
    return status


def _read_on(fds: list[int]) -> None:
    """Leave a process behind that reads what is still printed, and throws it away: without a reader, SIGPIPE would end
    what is to live on."""
    if os.fork():
        return
    null_fd = os.open(os.devnull, os.O_RDWR)
    for fd in range(3):
        os.dup2(null_fd, fd)
    poll = select.poll()
    for fd in fds:
        poll.register(fd, select.POLLIN)
    left = len(fds)
    while left:
        for fd, _ in poll.poll():
            if not os.read(fd, _READ_BYTES):
                poll.unregister(fd)
                left -= 1
    os._exit(0)


def _end_as(status: int) -> None:
    """Exit with the same code, or by the same signal, without a second core dump."""
    if os.WIFSIGNALED(status):
        number = os.WTERMSIG(status)
        resource.setrlimit(resource.RLIMIT_CORE, (0, resource.getrlimit(resource.RLIMIT_CORE)[1]))
        if number not in (signal.SIGKILL, signal.SIGSTOP):
            signal.signal(number, signal.SIG_DFL)
        os.kill(os.getpid(), number)
    os._exit(os.WEXITSTATUS(status))


if __name__ == "__main__":
    _end_as(main(*sys.argv[1:]))
