"""Pauses flows and steps, and shows the queue. What is paused is accepted, and waits until somebody resumes it."""

import logging
from collections.abc import Awaitable, Callable
from dataclasses import replace
from typing import TypeVar

from flowd.domain.errors import InvalidParamsError, StepNotFoundError
from flowd.domain.filters import RunFilter
from flowd.domain.pauses import Pause, Paused
from flowd.domain.people import Person
from flowd.domain.queue_view import QueueView
from flowd.engine.showing import Showing
from flowd.engine.uncancellable import UncancellableCalls
from flowd.ports import Catalog, Clock, PauseStore

log = logging.getLogger("flowd.engine")

T = TypeVar("T")


class Pauses:
    """What is paused."""

    def __init__(
        self,
        *,
        store: PauseStore,
        catalog: Catalog,
        clock: Clock,
        showing: Showing,
        calls: UncancellableCalls,
        ring: Callable[[], None],
        stir: Callable[[], None],
    ) -> None:
        """``ring`` tells that a run may be ready, ``stir`` that runs may wait for a person."""
        self._store = store
        self._showing = showing
        self._catalog = catalog
        self._clock = clock
        self._calls = calls
        self._ring = ring
        self._stir = stir

    async def open(self) -> None:
        """Go on with what an earlier daemon had begun, before anything starts."""
        for pause in await self._store.pauses():
            await self._take_back(pause.what)
        for pause in await self._store.ending_pauses():
            await self._let_go(pause.what)

    async def list(self) -> list[Pause]:
        """The pauses in force, that of all flows first."""
        return await self._store.pauses()

    async def queue(self, where: RunFilter, *, limit: int, cursor: str | None = None) -> QueueView:
        """What is queued; see `flowd.ports.PauseStore.queue`."""
        found = await self._store.queue(where, limit=limit, cursor=cursor)
        runs = tuple(map(self._showing.run, found.page.items))
        return replace(found, page=replace(found.page, items=runs))

    async def pause(self, what: Paused, *, by: Person) -> tuple[Pause, int]:
        """Let nothing of this start that has not started yet, until a person resumes it, over restarts too. What runs
        goes on to its end. Pausing what is paused changes nothing.

        Returns:
            The pause in force, and how many runs were taken back that could have started.

        Raises:
            StepNotFoundError: There is no such flow, or no such step of it.
        """
        self._require_known(what)
        return await self._calls.do(self._pause(what, by))

    async def _pause(self, what: Paused, by: Person) -> tuple[Pause, int]:
        pause = await self._store.begin_pause(what, by, at_ms=self._clock.now_ms())
        taken = await self._take_back(what)
        self._stir()
        log.info("paused", extra={"what": str(what), "by": str(by), "taken_back": taken})
        return pause, taken

    async def resume(self, what: Paused, *, by: Person) -> tuple[bool, int]:
        """End a pause. What it kept goes on, unless another pause keeps it.

        Returns:
            Whether it was paused, and how many runs go on.

        Raises:
            StepNotFoundError: It is not paused, and there is no such flow, or no such step of it.
        """
        return await self._calls.do(self._resume(what, by))

    async def _resume(self, what: Paused, by: Person) -> tuple[bool, int]:
        if not await self._store.end_pause(what):
            self._require_known(what)
            return False, 0
        freed = await self._let_go(what)
        log.info("resumed", extra={"what": str(what), "by": str(by), "let_go": freed})
        return True, freed

    async def _take_back(self, what: Paused) -> int:
        return await _all(lambda after: self._store.take_back(what, after, at_ms=self._clock.now_ms()))

    async def _let_go(self, what: Paused) -> int:
        freed = await _all(lambda after: self._store.let_go(what, after, at_ms=self._clock.now_ms()))
        self._ring()
        return freed

    def _require_known(self, what: Paused) -> None:
        if what.flow is None:
            if what.step is not None:
                raise InvalidParamsError("A step has no name without its flow's.", param="flow")
            return
        snapshot = self._catalog.snapshot
        flow = snapshot.by_name.get(what.flow)
        if flow is None:
            if what.step is None and any(package.name == what.flow for package in snapshot.broken):
                return
            raise StepNotFoundError.of_flow(what.flow, snapshot.by_name)
        if what.step is not None and flow.step(what.step) is None:
            names = ", ".join(step.name for step in flow.steps)
            raise StepNotFoundError(f"Flow {flow.name} has no step {what.step[:200]}. It has: {names}.")


async def _all(some: Callable[[int], Awaitable[tuple[int, int | None]]]) -> int:
    """How many there were in all, in steps that each say where to go on."""
    total, after = 0, _BEFORE_ALL
    while after is not None:
        count, after = await some(after)
        total += count
    return total


_BEFORE_ALL: int | None = -(1 << 62)
"""What was imported has numbers below zero."""
