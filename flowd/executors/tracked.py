"""An attempt as the daemon follows it, whichever executor runs it: its end comes once, and many may wait for it."""

import asyncio

from flowd.domain.exit import Exit
from flowd.domain.launching import KeeperLostError


class TrackedAttempt:
    """An attempt that was begun and is not forgotten."""

    __slots__ = ("_exit", "_failure", "_waiting")

    def __init__(self) -> None:
        self._exit: Exit | None = None
        self._failure: KeeperLostError | None = None
        self._waiting: list[asyncio.Future[None]] = []

    @property
    def exit(self) -> Exit | None:
        """How it ended; None while that is not known."""
        return self._exit

    @property
    def is_running(self) -> bool:
        """Whether its end has not been reported."""
        return self._exit is None

    async def wait(self) -> Exit:
        """How it ended. Many may wait, and cancelling one of them changes nothing for the others.

        Raises:
            KeeperLostError: Its end will not be reported any more.
        """
        while self._exit is None:
            if self._failure is not None:
                raise self._failure
            future = asyncio.get_running_loop().create_future()
            self._waiting.append(future)
            await future
        return self._exit

    def end(self, exit_: Exit) -> None:
        """Report its end. The first one stays."""
        if self._exit is None:
            self._exit = exit_
        self._wake()

    def fail(self, error: KeeperLostError) -> None:
        """Its end will not be reported: every waiting call raises this."""
        self._failure = error
        self._wake()

    def _wake(self) -> None:
        for future in self._waiting:
            if not future.done():
                future.set_result(None)
        self._waiting.clear()
