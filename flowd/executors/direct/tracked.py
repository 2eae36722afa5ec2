"""One attempt as the daemon follows it: who waits for its end, and the pidfd that outlives its keeper."""

import asyncio
import os
from typing import Any

from flowd.domain.run import Exit
from flowd.keeper.proctree import Processes
from flowd.ports import KeeperLostError

_PROCESSES = Processes(proc=True, pidfd=True)


class TrackedAttempt:
    """What the client knows of an attempt.

    Attributes:
        pidfd: Of its leader while it runs; -1 where there are none.
        was_started: The keeper has told so.
        stop_wish: The last stop that was asked for; the next keeper hears it again.
    """

    __slots__ = ("_end", "_failure", "_waiting", "grace_s", "pidfd", "stop_wish", "was_started")

    def __init__(self) -> None:
        self.pidfd = -1
        self.was_started = False
        self.grace_s = 0.0
        self.stop_wish: dict[str, Any] | None = None
        self._end: Exit | None = None
        self._failure: KeeperLostError | None = None
        self._waiting: list[asyncio.Future[None]] = []

    @property
    def is_running(self) -> bool:
        """Its end has not been told."""
        return self._end is None

    async def wait(self) -> Exit:
        """Its end. Many may wait, and any of them may be cancelled.

        Raises:
            KeeperLostError: Nobody will tell any more.
        """
        while self._end is None:
            if self._failure is not None:
                raise self._failure
            future = asyncio.get_running_loop().create_future()
            self._waiting.append(future)
            await future
        return self._end

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
        """It has ended so. The first end stays."""
        if self._end is None:
            self._end = exit_
        self.close()
        self._wake()

    def fail(self, error: KeeperLostError) -> None:
        """Its end will not be told."""
        self._failure = error
        self._wake()

    def close(self) -> None:
        """Close the pidfd."""
        if self.pidfd >= 0:
            os.close(self.pidfd)
        self.pidfd = -1

    def _wake(self) -> None:
        for future in self._waiting:
            if not future.done():
                future.set_result(None)
        self._waiting.clear()
