"""Work that runs beside the calls of an executor: following units, watching the bus and the output."""

import asyncio
from collections.abc import Awaitable, Callable

from flowd.domain.launching import KeeperLostError
from flowd.executors.systemd.bus import BusError


class BackgroundWork:
    """Owns the tasks, and reports those that fail."""

    def __init__(self, on_failure: Callable[[Exception], None]) -> None:
        """Nothing runs yet.

        Args:
            on_failure: Called with the error of work that cannot go on without systemd or the disk.
        """
        self._on_failure = on_failure
        self._tasks: set[asyncio.Task[None]] = set()

    def start(self, work: Callable[..., Awaitable[None]], *arguments: object) -> None:
        """Run ``work(*arguments)`` until it ends by itself or `cancel` is called."""
        # Called in the task: one that is cancelled before its first turn leaves nothing behind that nobody awaits.
        task: asyncio.Task[None] = asyncio.get_running_loop().create_task(self._guarded(work, *arguments))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def cancel(self) -> None:
        """Cancel all of it, and return when it has ended."""
        tasks = tuple(self._tasks)
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    async def _guarded(self, work: Callable[..., Awaitable[None]], *arguments: object) -> None:
        try:
            await work(*arguments)
        except (BusError, KeeperLostError, OSError) as error:
            self._on_failure(error)
