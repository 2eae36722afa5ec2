"""Starts daemons and commands as copies of `daemon_template`, a process that each process of the tests has once."""

import array
import atexit
import functools
import json
import os
import resource
import select
import signal
import socket
import subprocess
import sys
import threading
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

_READ_AT_THE_START = ("PYTHON", "LD_", "MALLOC_", "GLIBC_", "LC_", "LANG", "TZ")
"""How names of variables begin that the interpreter or the C library reads before the first import has ended."""
_LIMITS = [getattr(resource, name) for name in dir(resource) if name.startswith("RLIMIT_")]
_ROOM = "x" * 4096
"""Between a template's arguments and beside its environment, for those of its copies."""


def may_copy(environ: Mapping[str, str]) -> bool:
    """Whether a process of this environment may be a copy, or must be executed.

    ``EXECUTE_DAEMONS=1`` has all be executed, as they are for users.
    """
    if os.environ.get("EXECUTE_DAEMONS"):
        return False
    first = _template().environ
    names = {name for name in {*first, *environ} if first.get(name) != environ.get(name)}
    return not any(name.startswith(_READ_AT_THE_START) for name in names)


class CopiedProcess:
    """What `subprocess.Popen` is to a process that was executed. It is a zombie until it was waited for, as there."""

    def __init__(
        self,
        words: Sequence[str],
        environ: Mapping[str, str],
        streams: tuple[int, int, int],
        *,
        folder: Path | None = None,
    ) -> None:
        """``python -m flowd`` with these words and standard streams, in this folder or ours, and with our limits."""
        self.args = ("flowd", *words)
        self.returncode: int | None = None
        request = {
            "words": list(words),
            "environ": dict(environ),
            "folder": str(folder or Path.cwd()),
            "limits": [(limit, resource.getrlimit(limit)) for limit in _LIMITS],
        }
        self.pid: int = _template().ask(request, *streams)
        self._end = os.pidfd_open(self.pid)

    def poll(self) -> int | None:
        """The exit code, negative for a signal, once it has ended."""
        return self._look(0)

    def wait(self, timeout: float | None = None) -> int:
        """The exit code.

        Raises:
            subprocess.TimeoutExpired: It still runs after so many seconds.
        """
        if (code := self._look(timeout)) is None:
            raise subprocess.TimeoutExpired(self.args, timeout or 0)
        return code

    def send_signal(self, number: int) -> None:
        """Send it, unless we know that it has ended."""
        if self.poll() is None:
            os.kill(self.pid, number)

    def terminate(self) -> None:
        self.send_signal(signal.SIGTERM)

    def kill(self) -> None:
        self.send_signal(signal.SIGKILL)

    def _look(self, within_s: float | None) -> int | None:
        if self.returncode is None:
            poller = select.poll()
            poller.register(self._end, select.POLLIN)
            if poller.poll(None if within_s is None else within_s * 1000):
                self.returncode = os.waitstatus_to_exitcode(_template().ask({"reap": self.pid}))
                os.close(self._end)
        return self.returncode


class _Template:
    """The process that is copied."""

    def __init__(self) -> None:
        self.environ = dict(os.environ)
        self._lock = threading.Lock()
        self._socket, its = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        self._process = subprocess.Popen(
            [sys.executable, str(Path(__file__).with_name("daemon_template.py")), _ROOM],
            stdin=its,
            env={**self.environ, "ROOM_FOR_COPIES": _ROOM},
        )
        its.close()

    def ask(self, message: Mapping[str, Any], *fds: int) -> Any:
        """One message, and what comes back."""
        rights = [(socket.SOL_SOCKET, socket.SCM_RIGHTS, array.array("i", fds))] if fds else []
        with self._lock:
            self._socket.sendmsg([json.dumps(message).encode()], rights)
            return json.loads(self._socket.recv(64))

    def close(self) -> None:
        """End it; copies that still run go on."""
        self._socket.close()
        self._process.wait()


@functools.cache
def _template() -> _Template:
    template = _Template()
    atexit.register(template.close)
    return template
