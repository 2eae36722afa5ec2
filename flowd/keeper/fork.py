"""Starts a process that is confined before its program begins, which `posix_spawn` cannot do.

A fork of the keeper costs little because the keeper is small (0.3 ms more than `posix_spawn`), and steps that ask for
nothing do not pay for it. The keeper has one thread, so its copy may run Python until it executes the program.
"""

from __future__ import annotations

import ctypes
import errno
import os
import signal
import struct
from functools import cache

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from typing import NoReturn

    from flowd.keeper.confinement import Confinement

_CLONE3 = 435
"""The same number on every architecture (Linux 5.3)."""
_CLONE_INTO_CGROUP = 0x2_0000_0000
_CLONE_ARGS = struct.Struct("=11Q")


class ForkError(Exception):
    """No program runs. ``stage`` is cgroup, exec, or the name of the limit that could not be set."""

    def __init__(self, stage: str, error: OSError) -> None:
        super().__init__(stage)
        self.stage = stage
        self.error = error


def fork_exec(argv: list[str], env: Mapping[str, str], fds: list[int], plan: Confinement, *, signals: list[int]) -> int:
    """Start ``argv`` in a session of its own, with ``fds`` as its first descriptors; return when it is executed.

    Args:
        signals: All that we handle or ignore; for it they have their default meaning.

    Raises:
        ForkError: Nothing runs.
    """
    report, write_end = os.pipe()  # closed by the execution
    # A signal between fork and execution would reach our own loop, through the pipe that both have then.
    before = signal.pthread_sigmask(signal.SIG_BLOCK, signals)
    try:
        pid, is_in_cgroup = _fork(plan.cgroup if plan.may_clone else "")
        if not pid:
            joins = bool(plan.cgroup) and not is_in_cgroup
            _run_child(argv, env, fds, plan, signals=signals, report=write_end, joins=joins)
    except OSError as error:
        os.close(report)
        raise ForkError("exec", error) from None
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)
        os.close(write_end)
    with open(report, "rb", buffering=0) as reader:
        failure = reader.readall()
    if failure:
        os.waitpid(pid, 0)
        stage, _, number = failure.decode().partition(" ")
        raise ForkError(stage, OSError(int(number), os.strerror(int(number))))
    return pid


def _fork(cgroup: str) -> tuple[int, bool]:
    """Fork, into the cgroup where the kernel can. Joining one later costs up to 15 ms: it waits for every processor."""
    if cgroup:
        folder = os.open(cgroup, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            pid = _clone_into(folder)
        finally:
            os.close(folder)
        if pid >= 0:
            return pid, True
    return os.fork(), False


def _clone_into(folder: int) -> int:
    """Like fork, into a cgroup; -1 where the kernel or a sandbox does not let us."""
    packed = _CLONE_ARGS.pack(_CLONE_INTO_CGROUP, 0, 0, 0, signal.SIGCHLD, 0, 0, 0, 0, 0, folder)
    arguments = ctypes.create_string_buffer(packed, len(packed))
    return int(_syscall()(ctypes.c_long(_CLONE3), arguments, ctypes.c_size_t(len(packed))))


@cache
def _syscall() -> Callable[..., int]:
    # PyDLL keeps the interpreter's lock over the call, so that the copy has it as well.
    function = ctypes.PyDLL(None).syscall
    function.restype = ctypes.c_long
    return function


def _run_child(
    argv: list[str],
    env: Mapping[str, str],
    fds: list[int],
    plan: Confinement,
    *,
    signals: list[int],
    report: int,
    joins: bool,
) -> NoReturn:
    """In the child: confine this process and execute the program, or report what failed."""
    stage = "exec"
    number = errno.EINVAL
    try:
        signal.set_wakeup_fd(-1)
        for handled in signals:
            signal.signal(handled, signal.SIG_DFL)
        os.setsid()
        for target, fd in enumerate(fds):
            os.dup2(fd, target)
        if joins:
            stage = "cgroup"
            _join(plan.cgroup)
        for stage, apply in plan.calls():  # noqa: B007 - for the report
            apply()
        stage = "exec"
        signal.pthread_sigmask(signal.SIG_SETMASK, [])
        os.execve(argv[0], argv, env)
    except OSError as error:
        number = error.errno or errno.EINVAL
    except MemoryError:
        stage, number = "memory_bytes", errno.ENOMEM
    except ValueError:  # a limit above the hard one; or a zero byte in the command
        number = errno.EINVAL if stage == "exec" else errno.EPERM
    finally:
        os.write(report, f"{stage} {number}".encode())
        os._exit(127)


def _join(cgroup: str) -> None:
    fd = os.open(os.path.join(cgroup, "cgroup.procs"), os.O_WRONLY | os.O_CLOEXEC)
    os.write(fd, b"0")
    os.close(fd)
