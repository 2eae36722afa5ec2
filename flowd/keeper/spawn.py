"""Starts a step's process with its files and its directory. Either it runs afterwards, or nothing is left of it."""

from __future__ import annotations

import errno
import os
import resource
import signal

from flowd.keeper.fork import ForkError, fork_exec
from flowd.keeper.oom import Protection
from flowd.keeper.refusal import RefusalError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from flowd.keeper.confinement import Confinement

_OUT_OF_SOMETHING = frozenset({errno.EMFILE, errno.ENFILE, errno.ENOMEM, errno.EAGAIN, errno.ENOSPC, errno.E2BIG})


class Spawner:
    """Starts processes that see nothing of their parent: no descriptor, no ignored signal, no raised limit."""

    def __init__(self, directory: str, *, memfd: bool, open_files: int | None = None) -> None:
        """Raise our own limit of open files; call it after the keeper has set its signals.

        Args:
            open_files: The soft limit for steps; by default ours.
        """
        self._directory = directory
        self._memfd = memfd
        self._protection = Protection()
        uses = {int(number): signal.getsignal(number) for number in signal.valid_signals()}
        self._ignored = [number for number, use in uses.items() if use is signal.SIG_IGN]
        self._handled = [number for number, use in uses.items() if use not in (signal.SIG_DFL, signal.SIG_IGN, None)]
        soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
        self._own_limit = (soft, hard)
        self._step_limit = (soft if open_files is None else min(open_files, hard), hard)
        # Badges are worn only where this limit is unbounded; macOS has none.
        self._own_rttime_limit = (resource.RLIM_INFINITY, resource.RLIM_INFINITY)
        if hasattr(resource, "RLIMIT_RTTIME"):
            self._own_rttime_limit = resource.getrlimit(resource.RLIMIT_RTTIME)
        try:
            resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
            self._own_limit = (hard, hard)
        except (OSError, ValueError):  # macOS refuses an unlimited soft limit
            pass

    def spawn(
        self,
        argv: list[str],
        *,
        cwd: str,
        env: Mapping[str, str],
        stdin: bytes,
        stdout: str,
        stderr: str,
        recording: tuple[Callable[[], None], Sequence[int]] | None = None,
        badge: int = 0,
        plan: Confinement | None = None,
    ) -> int:
        """Start a process in its own session, with a badge and confined if so planned, and return its pid.

        Both output files are created here, for appending; a file that exists already is a refusal, never overwritten.

        Args:
            recording: What it gets as standard output and standard error instead of those files, and what is to be
                called for them right before there is a process.

        Raises:
            RefusalError: Nothing runs, and no file was left behind.
        """
        fds: list[int] = []
        created: list[str] = []
        try:
            fds.append(self._stdin(stdin))
            if recording:
                begin, outputs = recording
                begin()
                return self._spawn(argv, cwd, env, [fds[0], *outputs], badge=badge, plan=plan)
            for what, path in (("stdout", stdout), ("stderr", stderr)):
                fds.append(_create(what, path))
                created.append(path)
            return self._spawn(argv, cwd, env, fds, badge=badge, plan=plan)
        except RefusalError:
            for path in created:
                os.unlink(path)
            raise
        finally:
            for fd in fds:
                os.close(fd)

    def _spawn(
        self,
        argv: list[str],
        cwd: str,
        env: Mapping[str, str],
        fds: list[int],
        *,
        badge: int,
        plan: Confinement | None,
    ) -> int:
        try:
            os.chdir(cwd)
        except (OSError, ValueError) as error:
            raise RefusalError("cwd", cwd, _os_error(error)) from None
        self._protection.take_off()
        try:
            # The kernel copies limits at the fork, so for that moment ours are the step's.
            if badge:
                resource.setrlimit(resource.RLIMIT_RTTIME, (badge, resource.RLIM_INFINITY))
            if plan is not None:
                plan.rlimits.insert(0, ("open_files", resource.RLIMIT_NOFILE, *self._step_limit))
                return fork_exec(argv, env, fds, plan, signals=self._ignored + self._handled)
            if self._own_limit != self._step_limit:  # files that are open already are unaffected
                resource.setrlimit(resource.RLIMIT_NOFILE, self._step_limit)
            return os.posix_spawn(
                argv[0],
                argv,
                env,
                file_actions=[(os.POSIX_SPAWN_DUP2, fd, target) for target, fd in enumerate(fds)],
                setsid=True,
                setsigmask=[],
                setsigdef=self._ignored,
            )
        except ForkError as failure:
            if failure.stage == "exec":
                raise _spawn_refusal(argv[0], failure.error) from None
            raise RefusalError("limit", failure.stage, failure.error) from None
        except (OSError, ValueError) as error:
            raise _spawn_refusal(argv[0], _os_error(error)) from None
        finally:
            self._protection.put_on()
            if badge:
                resource.setrlimit(resource.RLIMIT_RTTIME, self._own_rttime_limit)
            if plan is None and self._own_limit != self._step_limit:
                resource.setrlimit(resource.RLIMIT_NOFILE, self._own_limit)
            os.chdir("/")  # never keep a step's directory busy

    def _stdin(self, content: bytes) -> int:
        """A file that holds the content, at its start: a step that never reads it blocks nothing."""
        try:
            if self._memfd:
                fd = os.memfd_create("stdin", os.MFD_CLOEXEC)
            else:
                path = os.path.join(self._directory, "stdin.tmp")
                fd = os.open(path, os.O_RDWR | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
                os.unlink(path)
        except OSError as error:
            raise RefusalError("stdin", self._directory, error) from None
        try:
            written = 0
            while written < len(content):  # without moving the place where the step begins to read
                written += os.pwrite(fd, memoryview(content)[written:], written)
        except OSError as error:
            os.close(fd)
            raise RefusalError("stdin", self._directory, error) from None
        return fd


def _create(what: str, path: str) -> int:
    try:
        return os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_APPEND | os.O_CLOEXEC, 0o600)
    except (OSError, ValueError) as error:
        raise RefusalError(what, path, _os_error(error)) from None


def _spawn_refusal(program: str, error: OSError) -> RefusalError:
    if error.errno in _OUT_OF_SOMETHING:
        return RefusalError("resource", program, error)
    if error.errno == errno.ENOENT and (interpreter := _interpreter(program)):
        return RefusalError("interpreter", f"{program}: {interpreter}", error)
    return RefusalError("program", program, error)


def can_be_executed(program: str) -> bool:
    """Whether a program is there and executable for us, and so is the interpreter that its first line names."""
    return all(
        os.path.isfile(path) and os.access(path, os.X_OK) for path in (program, _interpreter(program) or program)
    )


def _interpreter(program: str) -> str:
    """What the `#!` line of an existing program names; empty without one."""
    try:
        with open(program, "rb") as file:
            line = file.readline(256)
    except (OSError, ValueError):
        return ""
    words = line[2:].split()
    return words[0].decode("utf-8", "replace") if line.startswith(b"#!") and words else ""


def _os_error(error: OSError | ValueError) -> OSError:
    """Python itself refuses a zero byte with a ValueError, before the system could."""
    return error if isinstance(error, OSError) else OSError(errno.EINVAL, str(error))
