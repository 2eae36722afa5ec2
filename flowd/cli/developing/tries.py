"""Runs what is planned, one plan at a time, and shows it."""

import asyncio
import time
from collections.abc import Callable, Collection

from flowd.cli.audience import is_bad
from flowd.cli.developing.plans import Plan, Planner
from flowd.cli.developing.voice import Voice
from flowd.domain import saved
from flowd.domain.errors import FlowdError
from flowd.domain.run import Run
from flowd.embedded import Sent
from flowd.embedded.given import GivenResults
from flowd.embedded.trials import Trials
from flowd_client.wire import Stream

_LAG_S = 0.5
"""How long after a step has written a file we may hear of it."""


class Tries:
    """What is under way, and what was last. Implements `flowd.embedded.Audience`, and passes over those steps whose
    results are given."""

    def __init__(self, given: GivenResults, voice: Voice) -> None:
        self._given = given
        self._voice = voice
        self._out = voice.watcher()
        self._task: asyncio.Task[bool] | None = None
        self._has_begun = False
        self._ended_s = -_LAG_S
        self.last: Plan | None = None

    def open(self, trials: Trials, planner: Planner) -> None:
        """Begin with an open engine."""
        self._trials = trials
        self._planner = planner

    async def start(self, plan: Plan, why: str, on_over: "Callable[[asyncio.Task[bool]], object]") -> None:
        """End what is under way, and begin with this. ``on_over`` is told when it has ended."""
        await self.end()
        self._has_begun = False
        self._task = asyncio.create_task(self.run(plan, why), name="flowd-dev")
        self._task.add_done_callback(on_over)

    def is_current(self, task: "asyncio.Task[bool]") -> bool:
        """Whether this was not ended for another one."""
        return task is self._task

    async def end(self) -> None:
        """End what is under way, each step within its own grace, and wait for that."""
        task, self._task = self._task, None
        if task is None or task.done():
            return
        if not self._has_begun:  # keys may come quicker than it gets its turn
            task.cancel()
            await asyncio.wait([task])
            return
        await self._trials.stop()
        await task

    def may_write(self) -> bool:
        """Whether what we hear of now may have been written by a step that runs, or has just ended."""
        is_under_way = self._task is not None and not self._task.done()
        return is_under_way or time.monotonic() - self._ended_s < _LAG_S

    async def run(self, plan: Plan, why: str) -> bool:
        """Run what is planned. Whether all went well."""
        self._has_begun = True
        try:
            return await self._run(plan, why)
        finally:
            self._ended_s = time.monotonic()

    async def _run(self, plan: Plan, why: str) -> bool:
        self.last = plan
        given = self._planner.given(plan)
        steps = [*_first(plan, given), *plan.steps]
        self._out = self._voice.watcher([f"{plan.flow.name}/{step}" for step in steps])
        self._voice.say(f"── {time.strftime('%H:%M:%S')} {f'{why}: ' if why else ''}{_told(plan, given)}")
        try:
            runs = await self._trials.run(plan.flow, plan.steps, plan.choice.event, given)
        except FlowdError as error:
            self._voice.say(error.message)
            return False
        for run in runs:
            if run.result is not None and run.status.is_final:
                self._planner.said(plan, run.step_name, run.result.text)
        self._voice.tell_end(plan, runs)
        if asking := [run.step_name for run in runs if run.needs_attention]:
            self._voice.say(f"{asking[0]} asks for a person, whom nobody can ask here: --approve {asking[0]} goes on.")
        return not any(map(is_bad, runs))

    def awaits(self, run: Run) -> None:
        """See `flowd.embedded.Audience`. What is to run was planned, and told to who prints it."""

    def begins(self, run: Run) -> None:
        """See `flowd.embedded.Audience`."""
        if not self._given.has(run):
            self._out.begins(run)

    def writes(self, run: Run, stream: Stream, data: bytes) -> None:
        """See `flowd.embedded.Audience`."""
        if not self._given.has(run):
            self._out.writes(run, stream, data)

    def goes_on(self, run: Run) -> None:
        """See `flowd.embedded.Audience`."""
        self._out.goes_on(run)

    def ends(self, run: Run) -> None:
        """See `flowd.embedded.Audience`."""
        if not self._given.has(run):
            self._out.ends(run)

    def sent(self, event: Sent) -> None:
        """See `flowd.embedded.Audience`."""
        if event.by is None or tuple(event.by.split("/", 1)) not in self._given.results:
            self._out.sent(event)


def _first(plan: Plan, given: Collection[str]) -> list[str]:
    """What runs before, because its results are needed and nobody knows them."""
    needed = saved.needed(plan.flow, plan.steps)
    return [step.name for step in plan.flow.steps if step.name in needed and step.name not in given]


def _told(plan: Plan, given: Collection[str]) -> str:
    """What is about to run, and where what it needs comes from."""
    needed = saved.needed(plan.flow, plan.steps)
    first = _first(plan, given)
    taken = [step.name for step in plan.flow.steps if step.name in needed and step.name in given]
    words = f"{plan.label} with event {plan.choice.label}"
    words += f", after {', '.join(first)}" if first else ""
    return words + (f", with the known results of {', '.join(taken)}" if taken else "")
