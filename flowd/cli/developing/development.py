"""The loop of ``flowd dev``: waits for saves and keys, and tries steps anew."""

import asyncio
import contextlib
import os
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from pathlib import Path

from flowd.catalog.scan import ROOTS
from flowd.cli.developing import keys
from flowd.cli.developing.checks import Checks
from flowd.cli.developing.events import Choice, example
from flowd.cli.developing.plans import Planner
from flowd.cli.developing.scope import Scope, Target
from flowd.cli.developing.tries import Tries
from flowd.cli.developing.voice import Voice
from flowd.cli.exits import CommandError, Exit
from flowd.cli.session import Session
from flowd.domain import saved
from flowd.domain.flow import Flow
from flowd.embedded.approving import require_steps
from flowd.embedded.given import GivenResults
from flowd.embedded.rehearsal import rehearsing
from flowd.embedded.trials import Trials
from flowd.settings.values import Settings
from flowd.watching.saves import Saves

KEYS = "r run again · a with all that need it · e choose the event · q quit"

_CHOICES = 9
"""Events to choose from: a key for each."""

_AGAIN_S = 0.1
"""A file that is gone may be about to come back: some editors remove it before they write it."""


@dataclass(frozen=True, slots=True)
class _Saved:
    paths: frozenset[str]


@dataclass(frozen=True, slots=True)
class _Key:
    name: str


_Wish = _Saved | _Key | asyncio.Task[bool]
"""What the loop is told: of saves, of a key, of the end of what was under way."""


class Development:
    """One call of ``flowd dev``."""

    def __init__(self, session: Session, settings: Settings, target: Target, voice: Voice) -> None:
        self._session = session
        self._settings = settings
        self._scope = Scope(target)
        self._given = GivenResults()
        self._voice = voice
        self._tries = Tries(self._given, voice)
        self._checks = Checks(voice)
        self._wishes: asyncio.Queue[_Wish] = asyncio.Queue()
        self._offered: list[Choice] = []
        self._told_of: set[str] = set()  # what was said of once

    async def work(self, *, is_once: bool) -> Exit:
        """Go on until somebody ends it, or the first trial has ended. All that was started ends with it.

        Raises:
            CommandError: There is nothing to work on.
            StepNotFoundError: One that is approved is no step.
        """
        try:
            opening = rehearsing(self._settings, self._tries, causes=False, around_runners=self._given.around)
            async with opening as rehearsal:
                self._engine = rehearsal.engine
                self._planner = Planner(self._session, rehearsal.engine)
                self._tries.open(Trials(rehearsal, self._given, self._scope.target.approved), self._planner)
                self._scope.snapshot = await self._engine.reload()
                self._scope.require()
                if not self._scope.broken:  # else nobody knows its steps yet
                    require_steps(self._scope.target.approved, self._scope.flows)
                for flow in self._scope.flows:
                    if self._scope.target.event is not None:
                        self._planner.choose(flow.name, self._scope.target.event)
                return await (self._work_once() if is_once else self._work_on())
        except ExceptionGroup as group:
            raise group.exceptions[0] from None

    async def _work_once(self) -> Exit:
        flow = self._scope.only_flow()
        self._check([flow.root])
        plan = await self._planner.plan(flow, self._scope.steps_of(flow))
        return Exit.GOOD if await self._tries.run(plan, "") else Exit.RUN_FAILED

    async def _work_on(self) -> Exit:
        loop = asyncio.get_running_loop()
        saves = Saves(
            [self._settings.workspace / root for root, _ in ROOTS],
            lambda paths: loop.call_soon_threadsafe(self._wishes.put_nowait, _Saved(paths)),
            also=lambda: saved.outside(self._scope.snapshot.flows),
        )
        with contextlib.ExitStack() as stack:
            if keys.has_keys():
                stack.enter_context(keys.pressed(lambda key: self._wishes.put_nowait(_Key(key))))
            saves.start()
            try:
                self._greet()
                while await self._take(await self._wishes.get()):
                    pass
                await self._tries.end()
            finally:
                await asyncio.to_thread(saves.stop)
        return Exit.GOOD

    def _greet(self) -> None:
        count = len(self._scope.roots)
        what = self._scope.target.flow or f"{count} {'flow' if count == 1 else 'flows'}"
        self._voice.say(f"Watching {what} in {self._settings.workspace}. Save a file, and its step runs here.")
        self._check(self._scope.roots)
        self._prompt()

    def _prompt(self) -> None:
        if keys.has_keys():
            self._voice.say(KEYS)

    def _check(self, roots: Collection[str]) -> None:
        for root in roots:
            self._checks.tell(root)

    async def _take(self, wish: _Wish) -> bool:
        """Do what a wish asks for. False ends the loop."""
        if isinstance(wish, _Key):
            return await self._take_key(wish.name)
        try:
            if isinstance(wish, _Saved):
                await self._take_saved(wish.paths)
            elif self._tries.is_current(wish):
                wish.result()  # a fault of ours is not to be lost
                self._prompt()
        except CommandError as error:
            self._voice.say(error.message)
        return True

    async def _take_saved(self, paths: frozenset[str]) -> None:
        scope = self._scope
        if self._tries.may_write():
            paths = self._by_people(paths)
        if any(scope.names(path) and not Path(path).exists() for path in paths):  # noqa: ASYNC240 - a few status calls
            await asyncio.sleep(_AGAIN_S)
        flows, before, scope.snapshot = scope.flows, scope.snapshot, await self._engine.reload()
        if gone := scope.gone(flows):
            await self._tell_gone(gone)
        found = {
            flow.name: saved.concern(flow, before.by_name.get(flow.name), paths)
            for flow in scope.flows
            if not flow.stale
        }
        broken = [one for one in scope.broken if any(_is_below(path, one.root) and scope.names(path) for path in paths)]
        seen = [flow for flow in scope.flows if flow.name in found and found[flow.name].is_seen]
        self._check([*(flow.root for flow in seen), *(one.root for one in broken)])
        if seen:
            # Of several flows that change at once, the one that was worked on before.
            last = None if self._tries.last is None else self._tries.last.flow.name
            flow = next((flow for flow in seen if flow.name == last), seen[0])
            old = before.by_name.get(flow.name)
            is_mended = old is None or old.stale
            await self._start_saved(flow, found[flow.name], paths, is_mended=is_mended)
        elif broken:
            await self._tries.end()
            self._voice.say("Nothing runs until that is mended.")

    async def _tell_gone(self, names: Sequence[str]) -> None:
        """Packages were removed, or moved away."""
        last = self._tries.last
        if last is not None and last.flow.name in names:
            await self._tries.end()
        left = "" if self._scope.roots else " Nothing is left to run, until it or another one comes."
        self._voice.say(f"{', '.join(names)} {'is' if len(names) == 1 else 'are'} not there any more.{left}")

    def _by_people(self, paths: frozenset[str]) -> frozenset[str]:
        """Of files that were saved while steps run, those that no step writes: it would be run without end."""
        own = {path for flow in self._scope.flows for path in saved.written_by_people(flow, paths)}
        own |= {path for path in paths if self._scope.names(path)}
        for flow in self._scope.flows:
            left = {path for path in saved.sources(flow, paths) if path not in own} - self._told_of
            if left:
                self._told_of |= left
                self._voice.say(
                    f"{saved.shown(flow, left)} saved while steps run, which may write it: r runs them again."
                )
        return frozenset(own)

    async def _start_saved(self, flow: Flow, found: saved.Concern, paths: Collection[str], *, is_mended: bool) -> None:
        why = f"{saved.shown(flow, paths)} saved"
        if found.steps:
            self._planner.changed(flow, found.steps)
        if found.examples:
            path = Path(found.examples[0])
            self._planner.choose(flow.name, example(path, str(path.relative_to(flow.root))))
        elif not found.steps and not is_mended:
            self._voice.say(f"{why}: that changes no step.")
            return
        last = self._tries.last
        is_same = last is not None and last.flow.name == flow.name
        wanted = found.steps or (last.steps if last is not None and is_same else ())
        await self._start(flow, self._scope.steps_of(flow, wanted), why)

    async def _start(self, flow: Flow, steps: Collection[str], why: str) -> None:
        await self._tries.end()
        plan = await self._planner.plan(flow, steps)
        await self._tries.start(plan, why, self._wishes.put_nowait)

    async def _take_key(self, key: str) -> bool:
        offered, self._offered = self._offered, []
        try:
            match key.lower():
                case "q" | keys.END:
                    return False
                case "r" | "\n" | "\r":
                    await self._again()
                case "a":
                    await self._again(is_all=True)
                case "e":
                    await self._offer()
                case digit if digit.isdecimal() and 1 <= int(digit) <= len(offered):
                    self._planner.choose(self._current().name, offered[int(digit) - 1])
                    await self._again()
                case _:
                    self._prompt()
        except CommandError as error:
            self._voice.say(error.message)
        return True

    async def _again(self, *, is_all: bool = False) -> None:
        flow, last = self._current(), self._tries.last
        steps = self._scope.steps_of(flow) if last is None else tuple(s for s in last.steps if flow.step(s))
        if is_all:
            more = saved.below(flow, steps)
            steps = tuple(step.name for step in flow.steps if step.name in more or more == set(steps))
        await self._start(flow, steps, "")

    async def _offer(self) -> None:
        flow = self._current()
        self._offered = await self._planner.choices(flow, limit=_CHOICES)
        for number, choice in enumerate(self._offered, 1):
            self._voice.say(f"  {number}  {choice.event.get('type')}  {choice.label}")
        self._voice.say("Which one?" if self._offered else f"There is none: write {flow.root}/event.json.")

    def _current(self) -> Flow:
        """The flow that is worked on, as it is now.

        Raises:
            CommandError: None is, and there are several.
        """
        last = self._tries.last
        flow = None if last is None else self._scope.snapshot.by_name.get(last.flow.name)
        return flow or self._scope.only_flow()


def _is_below(path: str, folder: str) -> bool:
    return path.startswith(f"{folder}{os.sep}")
