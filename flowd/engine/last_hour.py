"""What ended in the last hour, also before this daemon began."""

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from typing import Protocol

from flowd.domain.filters import RunFilter
from flowd.domain.pulse import MINUTES, Minute, Pulse
from flowd.domain.run import Run
from flowd.domain.stored import Page

_HOUR_MS = MINUTES * 60_000
_PAGE = 500
_PAGES = 10
"""So many are read at most, the newest: for a small chart that is enough, and it takes a tenth of a second."""


class ListRuns(Protocol):
    """See `flowd.engine.reads.Reads.runs`."""

    def __call__(self, where: RunFilter, *, limit: int, cursor: str | None = None) -> Awaitable[Page[Run]]:
        """A page of runs, newest first."""


class LastHour:
    """Counts what ends, and reads once what had ended before."""

    def __init__(self, pulse: Pulse, list_runs: ListRuns, *, now_ms: Callable[[], int]) -> None:
        self._pulse = pulse
        self._list_runs = list_runs
        self._now_ms = now_ms
        self._reading = asyncio.Lock()

    async def minutes(self) -> Sequence[Minute]:
        """The minutes up to now, the oldest first.

        What ended before the daemon began is known of the newest 5,000 runs that were made in the hour before.
        """
        async with self._reading:
            if self._now_ms() - self._pulse.since_ms < _HOUR_MS:
                await self._read(self._pulse.since_ms)
        return self._pulse.last(self._now_ms())

    async def _read(self, began_ms: int) -> None:
        asked = RunFilter(since_ms=began_ms - _HOUR_MS, until_ms=began_ms)
        self._pulse.since_ms = began_ms - _HOUR_MS
        cursor: str | None = None
        for _ in range(_PAGES):
            page = await self._list_runs(asked, limit=_PAGE, cursor=cursor)
            for run in page.items:
                if run.status.is_final and run.updated_at_ms < began_ms:
                    self._pulse.ended(run)
            cursor = page.next_cursor
            if cursor is None:
                return
