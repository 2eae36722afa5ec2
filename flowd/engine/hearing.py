"""Hears what other hosts have committed to a store that they share: ends that are waited for here, wishes to cancel
what runs here, and runs that may start."""

import asyncio
import logging
from collections.abc import Callable

from flowd.domain.errors import RefusedError
from flowd.domain.journal import Interest
from flowd.engine.attempts import Attempts
from flowd.engine.completions import Completions
from flowd.ports import Journal
from flowd.ports.hosts import Leases

log = logging.getLogger("flowd.engine")

POLL_S = 5.0
"""News may be lost with the connection that they come by."""
_LOOK_S = 0.005
"""Between two looks at least: others may commit a thousand times a second."""
_PAGE = 500
_RUNS = Interest(frozenset({"run"}))


class Hearing:
    """Follows the journal, from when it was opened on, as far as somebody here waits for what is in it."""

    def __init__(
        self,
        *,
        journal: Journal,
        leases: Leases,
        attempts: Attempts,
        completions: Completions,
        ring: Callable[[], None],
        ring_in: Callable[[int], None],
        hold: Callable[[bool], None],
        poll_s: float = POLL_S,
    ) -> None:
        """``ring`` tells that a run may be ready, ``ring_in`` after how many
        milliseconds; ``hold`` whether somebody wants
        nothing to start here."""
        self._journal = journal
        self._leases = leases
        self._attempts = attempts
        self._completions = completions
        self._ring = ring
        self._ring_in = ring_in
        self._hold = hold
        self._poll_s = poll_s
        self._news = asyncio.Event()
        self._cursor: int | None = None
        leases.tell_news(self._news.set)

    async def work(self) -> None:
        """Follow whatever is told, and look now and then without that. Without end."""
        while True:
            try:
                await self.look()
            except RefusedError:
                pass  # the store cannot be reached: who writes tells it
            except Exception:
                log.exception("what other hosts did could not be followed")
            try:
                await asyncio.sleep(_LOOK_S)
                async with asyncio.timeout(self._poll_s):
                    await self._news.wait()
            except TimeoutError:
                pass

    async def look(self) -> None:
        """Hear all that was committed up to now.

        Raises:
            RefusedError: The store cannot be reached.
        """
        self._news.clear()  # before the look: what comes during it is news again
        found = await self._leases.startable()
        self._hold(found.is_held)
        if found.is_any:
            self._ring()
        if found.due_in_ms is not None:
            self._ring_in(found.due_in_ms)
        if self._attempts.active:
            for run_id in await self._leases.cancel_wishes():
                await self._attempts.cancel_once(run_id)
        if self._completions.is_anybody_waiting:
            await self._hear_ends()
        else:
            self._cursor = None  # who waits from now on looks at the store first

    async def _hear_ends(self) -> None:
        if self._cursor is None:
            page = await self._journal.journal(Interest(), after=None, limit=0)
            self._cursor = page.newest
            self._completions.look_again()  # what has ended before that was not heard
            return
        while True:
            page = await self._journal.journal(_RUNS, after=self._cursor, limit=_PAGE)
            if self._cursor < page.oldest - 1:
                self._completions.look_again()  # some of it is not kept
            for entry in page.entries:
                if entry.run is not None and entry.run.status.is_final:
                    self._completions.heard(entry.run)
                elif entry.run is not None:
                    self._completions.again(entry.run.id)
            self._cursor = max(self._cursor, page.reached)
            if page.reached >= page.newest:
                return
