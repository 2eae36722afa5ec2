"""One attempt under the keeper as the daemon follows it, with the pidfd that outlives its keeper."""

import asyncio
import os
from typing import Any

from flowd.domain.exit import Exit
from flowd.domain.launching import KeeperLostError
from flowd.executors.tracked import TrackedAttempt
from flowd.keeper.proctree import Processes

_PROCESSES = Processes(proc=True, pidfd=True)


class KeeperAttempt(TrackedAttempt):
    """What the daemon knows of an attempt under its keeper.

    Attributes:
        pidfd: Of its leader while it runs; -1 where there is none.
        was_started: The keeper has said that it was started.
        stop_request: The last stop that was asked for; the next keeper is asked again.
        lease_until_s: The last lease that the keeper was told of; the next keeper is told again.
    """

    __slots__ = ("_starting", "grace_s", "lease_until_s", "pidfd", "stop_request", "was_started")

    def __init__(self) -> None:
        super().__init__()
        self.pidfd = -1
        self.was_started = False
        self.grace_s = 0.0
        self.stop_request: dict[str, Any] | None = None
        self.lease_until_s: float | None = None
        self._starting: list[asyncio.Future[int]] = []

    @property
    def is_starting(self) -> bool:
        """Whether a call waits for the keeper's reply to a start."""
        return bool(self._starting)

    async def started(self) -> int:
        """The pid, when the keeper has replied to the start. Many may wait, and any of them may be cancelled.

        Raises:
            SpawnError: The keeper refused.
            KeeperLostError: The keeper died before it replied.
        """
        future: asyncio.Future[int] = asyncio.get_running_loop().create_future()
        self._starting.append(future)
        return await future

    def reply(self, result: int | Exception) -> None:
        """The keeper's reply to the start: the pid, or why there is none."""
        starting, self._starting = self._starting, []
        for future in starting:
            if future.done():  # its caller was cancelled
                continue
            if isinstance(result, Exception):
                future.set_exception(result)
            else:
                future.set_result(result)

    def hold(self, pid: int, start: int) -> None:
        """Open a pidfd, unless there is one, or the process is gone, or another has its pid."""
        if self.pidfd >= 0:
            return
        try:
            pidfd = os.pidfd_open(pid)
        except OSError:
            return
        if _PROCESSES.is_same(_PROCESSES.look(pid), start):
            self.pidfd = pidfd
        else:
            os.close(pidfd)

    def end(self, exit_: Exit) -> None:
        """Report its end, and close the pidfd. The first end stays."""
        super().end(exit_)
        self.close()

    def fail(self, error: KeeperLostError) -> None:
        """Neither its start nor its end will be reported: every waiting call raises this."""
        self.reply(error)
        super().fail(error)

    def close(self) -> None:
        """Close the pidfd."""
        if self.pidfd >= 0:
            os.close(self.pidfd)
        self.pidfd = -1
