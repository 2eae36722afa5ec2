"""Process 1 of a container: reaps every orphan, passes signals on to the daemon, and ends as that does.

The daemon itself must not reap strangers: it could not tell them from children of its own whose end it waits for.
"""

import os
import signal
import sys
from contextlib import suppress

_OURS = frozenset({signal.SIGCHLD})
_NOT_PASSED_ON = frozenset(
    {signal.SIGKILL, signal.SIGSTOP, signal.SIGSEGV, signal.SIGBUS, signal.SIGFPE, signal.SIGILL, signal.SIGABRT}
)


def fork_from_init() -> None:
    """Where this is process 1, go on as its child; process 1 stays behind and never returns from here."""
    if os.getpid() != 1:
        return
    waited_for = signal.valid_signals() - _NOT_PASSED_ON
    # Blocked before the fork, so that none is lost; what is blocked reaches a process 1, too.
    before = signal.pthread_sigmask(signal.SIG_BLOCK, waited_for)
    child = os.fork()
    if child:
        _serve_as_init(child, waited_for)
    _take_terminal()
    signal.pthread_sigmask(signal.SIG_SETMASK, before)


def _serve_as_init(child: int, waited_for: set[signal.Signals]) -> None:
    while True:
        number = signal.sigwaitinfo(waited_for).si_signo
        if number not in _OURS:
            with suppress(ProcessLookupError):
                os.kill(child, number)
        elif (status := _reap(child)) is not None:
            code = os.waitstatus_to_exitcode(status)
            os._exit(code if code >= 0 else 128 - code)


def _reap(child: int) -> int | None:
    """Reap all that has ended; the wait status of the child, if it was among them."""
    found = None
    while True:
        try:
            pid, status = os.waitpid(-1, os.WNOHANG)
        except ChildProcessError:
            return found
        if pid == 0:
            return found
        if pid == child:
            found = status


def _take_terminal() -> None:
    """Be a process group of our own, in the terminal's foreground: ^C then comes once, from the terminal."""
    with suppress(OSError):
        os.setpgid(0, 0)
        if sys.stdin is not None and sys.stdin.isatty():
            before = signal.signal(signal.SIGTTOU, signal.SIG_IGN)
            os.tcsetpgrp(sys.stdin.fileno(), os.getpgrp())
            signal.signal(signal.SIGTTOU, before)
