"""Writes changes of the flow packages into the journal."""

import asyncio
import logging

from flowd.domain.errors import RefusedError
from flowd.domain.flow import Snapshot
from flowd.domain.journal import FlowState
from flowd.ports import Clock, Journal

log = logging.getLogger("flowd.engine")


class CatalogJournal:
    """Notes each snapshot of the catalog in the journal, which compares it with the one before; so what changes while
    no daemon runs is told, too. One note at a time, and of several snapshots that wait only the newest."""

    def __init__(self, journal: Journal, clock: Clock) -> None:
        self._journal = journal
        self._clock = clock
        self._next: Snapshot | None = None
        self._task: asyncio.Task[None] | None = None

    def note(self, snapshot: Snapshot) -> None:
        """Note this snapshot soon."""
        self._next = snapshot
        if self._task is None or self._task.done():
            self._task = asyncio.create_task(self._work(), name="flow notes")

    async def settle(self) -> None:
        """Return when every snapshot so far is noted."""
        if self._task is not None:
            await self._task

    async def _work(self) -> None:
        while self._next is not None:
            snapshot, self._next = self._next, None
            try:
                await self._journal.note_flows(flow_states(snapshot), at_ms=self._clock.now_ms())
            except RefusedError as error:
                # The next snapshot, or the next daemon, is compared with what was noted last and tells the difference.
                log.warning("flow change not journaled", extra={"slug": error.slug, "problem": error.message})


def flow_states(snapshot: Snapshot) -> list[FlowState]:
    """The packages by name, each with how it is and a digest that changes with it."""
    states = {
        flow.name: FlowState(flow.name, "stale" if flow.stale else "ok", flow.package_hash) for flow in snapshot.flows
    }
    for package in snapshot.broken:
        known = states.get(package.name)
        status = "broken" if known is None else known.status
        digest = "" if known is None else known.package_hash
        states[package.name] = FlowState(package.name, status, f"{digest} {package.sentence()}")
    return list(states.values())
