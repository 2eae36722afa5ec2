"""Which steps to try, with which event."""

import asyncio
from collections.abc import AsyncIterator, Collection
from dataclasses import dataclass
from pathlib import Path

from flowd.cli.developing import events
from flowd.cli.developing.events import Choice
from flowd.cli.exits import CommandError
from flowd.cli.session import Session
from flowd.domain import saved
from flowd.domain.errors import FlowdError
from flowd.domain.flow import Flow
from flowd.domain.joining import why_left_out
from flowd.engine.engine import Engine


@dataclass(frozen=True, slots=True)
class Plan:
    """Steps of a flow, and the event to try them with."""

    flow: Flow
    steps: tuple[str, ...]
    choice: Choice

    @property
    def label(self) -> str:
        """Flow and steps."""
        return f"{self.flow.name}/{', '.join(self.steps)}"


class Planner:
    """Chooses events, and stays with what was chosen for as long as it fits."""

    def __init__(self, session: Session, engine: Engine) -> None:
        self._session = session
        self._engine = engine
        self._chosen: dict[str, Choice] = {}
        self._said: dict[tuple[str, str], dict[str, str]] = {}
        self._changed: dict[str, set[str]] = {}

    def choose(self, flow: str, choice: Choice) -> None:
        """Try steps of this flow with this event from now on."""
        self._chosen[flow] = choice

    def changed(self, flow: Flow, steps: Collection[str]) -> None:
        """These steps are others now: what they said counts no more, nor what those said that need them."""
        gone = saved.below(flow, steps)
        self._changed.setdefault(flow.name, set()).update(gone)
        for (name, _), said in self._said.items():
            if name == flow.name:
                for step in gone:
                    said.pop(step, None)

    def said(self, plan: Plan, step: str, result: str) -> None:
        """What a step said that was run here."""
        self._said.setdefault((plan.flow.name, plan.choice.content), {})[step] = result

    def given(self, plan: Plan) -> dict[str, str]:
        """What other steps are taken to have said: here, or else in the daemon's newest round of the event.

        Nothing where the flow's rounds have a folder: each trial is a round of its own, and what those steps had left
        in theirs is gone.
        """
        if plan.flow.has_round_dir:
            return {}
        changed = self._changed.get(plan.flow.name, set())
        theirs = {step: result for step, result in plan.choice.results.items() if step not in changed}
        return theirs | self._said.get((plan.flow.name, plan.choice.content), {})

    async def plan(self, flow: Flow, steps: Collection[str]) -> Plan:
        """These steps, as far as one event starts them: the one that was chosen, else the newest of the daemon that
        does, else the first example that does.

        Raises:
            CommandError: None does. The message says why.
        """
        first: Choice | None = None
        async for choice in self._candidates(flow, steps):
            first = first or choice
            if started := await self._started(flow, steps, choice):
                self._chosen[flow.name] = choice
                return Plan(flow, started, choice)
        if first is None:
            raise CommandError(
                f"There is no event to try {flow.name} with: no daemon here has had one that matched. Write one into "
                f"{Path(flow.root) / 'event.json'}, or name one with --event."
            )
        raise CommandError(await self._why(flow, steps, first))

    async def choices(self, flow: Flow, *, limit: int) -> list[Choice]:
        """The events to choose from."""
        names = [step.name for step in flow.steps]
        found = await asyncio.to_thread(events.of_daemon, self._session, flow.name, names, limit=limit)
        return [*found, *events.examples(flow.root)][:limit]

    async def _candidates(self, flow: Flow, steps: Collection[str]) -> AsyncIterator[Choice]:
        if (chosen := self._chosen.get(flow.name)) is not None:
            yield chosen
        for choice in await asyncio.to_thread(events.of_daemon, self._session, flow.name, steps, limit=1):
            yield choice
        for choice in events.examples(flow.root):
            yield choice

    async def _started(self, flow: Flow, steps: Collection[str], choice: Choice) -> tuple[str, ...]:
        """Those of the steps that the event starts. A single one that no event can start, is."""
        if len(steps) == 1 and (step := flow.step(next(iter(steps)))) and step.trigger is None and not step.needs:
            return (step.name,)
        try:
            _, verdicts = await self._engine.explain(dict(choice.event))
        except FlowdError as error:
            raise CommandError(f"{choice.label}: {error.message}") from error
        matched = {one.step.name for one in verdicts if one.flow.name == flow.name and one.why == "matched"}
        return tuple(step.name for step in flow.steps if step.name in matched and step.name in steps)

    async def _why(self, flow: Flow, steps: Collection[str], choice: Choice) -> str:
        _, verdicts = await self._engine.explain(dict(choice.event))
        theirs = [one for one in verdicts if one.flow.name == flow.name and one.step.name in steps]
        why = "; ".join(f"{one.step.name}: {why_left_out(one)}" for one in theirs)
        return f"Event {choice.label} starts none of these: {why}."
