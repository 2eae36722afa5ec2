"""Finds out how a keeper ended, for the daemon's log: by a pidfd and /proc, as it is no child of the daemon."""

import os
import signal
from pathlib import Path

from flowd.domain.exit import signal_name
from flowd.keeper.capabilities import pidfd_status

_EXIT_CODE = 49
"""Of the fields of /proc/PID/stat behind the name, see proc_pid_stat(5): the wait status of a zombie."""


class KeeperExitWatch:
    """Holds a pidfd of the keeper that the daemon is connected to."""

    def __init__(self, *, can_pidfd: bool) -> None:
        self._can_pidfd = can_pidfd
        self._pid = 0
        self._pidfd = -1

    def watch(self, pid: int) -> None:
        """Watch this process from now on, instead of the one before."""
        self.close()
        if self._can_pidfd:
            try:
                self._pid, self._pidfd = pid, os.pidfd_open(pid)
            except OSError:
                pass

    def ended(self) -> str | None:
        """How it ended, like ``SIGKILL``; None where that is not known."""
        if self._pidfd < 0:
            return None
        # A container's first process may reap late, or never. Of a reaped process, only Linux 6.15 and newer know.
        status = self._zombies_status()
        status = pidfd_status(self._pidfd) if status is None else status
        if status is None:
            return None
        return signal_name(os.WTERMSIG(status)) if os.WIFSIGNALED(status) else f"exit code {os.WEXITSTATUS(status)}"

    def _zombies_status(self) -> int | None:
        try:
            fields = Path(f"/proc/{self._pid}/stat").read_text(encoding="utf-8").rpartition(")")[2].split()
            signal.pidfd_send_signal(self._pidfd, 0)  # it is not reaped, so that was no other with its pid
        except OSError:
            return None
        return int(fields[_EXIT_CODE]) if fields[0] == "Z" else None

    def close(self) -> None:
        """Close the pidfd."""
        if self._pidfd >= 0:
            os.close(self._pidfd)
        self._pidfd = -1
