"""Retries what a full disk or a locked database refuses, and logs it once for all runs, not each a second."""

import asyncio
import logging
from collections.abc import Awaitable, Callable
from typing import TypeVar

from flowd.domain.errors import StorageBusyError, StorageFullError

log = logging.getLogger("flowd.engine")

T = TypeVar("T")

TELL_EVERY_S = 10.0
STORAGE_RETRY_S = 1.0


class StorageWaits:
    """Tells when runs begin to wait, now and then that they still do, and when none does any more."""

    def __init__(self, now_s: Callable[[], float]) -> None:
        """``now_s`` is a clock that only goes forward."""
        self._now_s = now_s
        self._waiting: dict[str, int] = {}
        self._since_s = 0.0
        self._told_s = 0.0

    @property
    def count(self) -> int:
        """How many runs wait now; one may wait for two things at a time, ``start run_…`` and ``run_…``."""
        return sum({what.rpartition(" ")[2]: runs for what, runs in self._waiting.items()}.values())

    def has(self, what: str) -> bool:
        """Whether this waits."""
        return what in self._waiting

    async def patiently(
        self, what: str, write: Callable[[], Awaitable[T]], *, runs: Callable[[], int] = lambda: 1
    ) -> T:
        """Write, however long the disk is full or the database locked: giving up would lose runs.

        Args:
            write: Tries once.
            runs: How many wait meanwhile.
        """
        while True:
            try:
                value = await write()
            except (StorageFullError, StorageBusyError) as error:
                self.wait(what, problem=error.message, runs=runs())
                await asyncio.sleep(STORAGE_RETRY_S)
            else:
                self.over(what)
                return value

    def wait(self, what: str, *, problem: str, runs: int = 1) -> None:
        """Something waits, or goes on doing so."""
        now_s = self._now_s()
        if not self._waiting:
            self._since_s, self._told_s = now_s, now_s - TELL_EVERY_S
        self._waiting[what] = runs
        if now_s - self._told_s >= TELL_EVERY_S:
            self._told_s = now_s
            for_s = round(now_s - self._since_s)
            log.warning("runs wait for storage", extra={"runs": self.count, "for_s": for_s, "problem": problem})

    def over(self, what: str) -> None:
        """It waits no more, if it ever did."""
        if what in self._waiting:
            del self._waiting[what]
            if not self._waiting:
                log.info("storage is back", extra={"after_s": round(self._now_s() - self._since_s)})
