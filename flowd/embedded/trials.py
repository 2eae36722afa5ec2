"""Tries chosen steps of a flow for an event, as often as somebody wants, as if it had never been there before."""

import asyncio
from collections.abc import Collection, Mapping
from typing import Any

from flowd.api import people
from flowd.domain import saved
from flowd.domain.filters import RunFilter
from flowd.domain.flow import Flow
from flowd.domain.run import Run
from flowd.embedded.approving import see_through
from flowd.embedded.given import GivenResults
from flowd.embedded.rehearsal import Rehearsal

_PAGE = 500


class Trials:
    """Trials in an engine of the caller's own, one at a time."""

    def __init__(self, rehearsal: Rehearsal, given: GivenResults, approved: Collection[str] = ()) -> None:
        """Steps that are ``approved`` count as completed where they ask for a person."""
        self._rehearsal = rehearsal
        self._approved = approved
        self._given = given
        self._event_id: str | None = None
        self._turn = asyncio.Lock()
        """Held while a trial begins: who ends it then waits for its event, and does not miss it."""

    async def run(
        self, flow: Flow, steps: Collection[str], event: Mapping[str, Any], given: Mapping[str, str]
    ) -> list[Run]:
        """Run these steps, and before them those that they need, and return the runs of all once they have ended.

        Args:
            steps: Of the flow. Those whose trigger the event does not match have no run; of one that no event can
                start, alone, that is not asked.
            given: What other steps of it are taken to have said, as JSON. They are not run, and have no run in what is
                returned.

        Raises:
            FlowdError: The event is none, or this host cannot run these steps.
        """
        engine = self._rehearsal.engine
        async with self._turn:
            event_id = await self._begin(flow, steps, event, given)
        await see_through(engine, event_id, is_tree=False, approved=self._approved)
        await self._rehearsal.settle()
        page = await engine.reads.runs(RunFilter(event_id=event_id), limit=_PAGE)
        return [run for run in reversed(page.items) if not self._given.has(run)]

    async def _begin(
        self, flow: Flow, steps: Collection[str], event: Mapping[str, Any], given: Mapping[str, str]
    ) -> str:
        """Forget what was there, and dispatch the event; its id."""
        engine = self._rehearsal.engine
        # It was seen through: what asks, and what waits for that, is put away, and nobody has canceled it.
        async with self._rehearsal.silently():
            await self._end()
        await engine.forget_all()
        self._given.results = {
            (flow.name, name): text for name, text in given.items() if name not in steps and flow.step(name)
        }
        self._rehearsal.knows(str(event.get("id")))
        if alone := _unstarted(flow, steps):
            accepted = await engine.sending.dispatch(event, only=(flow.name, alone))
        else:
            among = {(flow.name, name) for name in {*steps, *saved.needed(flow, steps)}}
            accepted = await engine.sending.dispatch(event, among=among)
        self._event_id = accepted.event.id
        self._rehearsal.require_served(accepted.runs)
        return accepted.event.id

    async def stop(self) -> None:
        """End what is under way, each step within its own grace, and close what asks. Nothing where nothing is."""
        async with self._turn:
            await self._end()

    async def _end(self) -> None:
        event_id, self._event_id = self._event_id, None
        if event_id is None:
            return
        engine = self._rehearsal.engine
        if (await engine.reads.runs(RunFilter(event_id=event_id), limit=1)).items:
            await engine.cancels.event(event_id, by=await people.of_this_process())
            await self._rehearsal.settle()


def _unstarted(flow: Flow, steps: Collection[str]) -> str | None:
    """The step, if it is the only one and no event can start it."""
    if len(steps) != 1:
        return None
    step = flow.step(next(iter(steps)))
    return step.name if step is not None and step.trigger is None and not step.needs else None
