"""Runs in a store that take keys, by themselves or with their round."""

import asyncio
from dataclasses import replace

from store_rig import DONE, claim, ids, new_event

from flowd.domain.concurrency import OnBusy, WantedKey
from flowd.domain.definition import Definition
from flowd.domain.exit import Exit
from flowd.domain.outcome import Outcome
from flowd.domain.queueing import NewRun, SideEffects, StartedRun
from flowd.domain.result import FlowResult
from flowd.domain.run import ProcessStatus, Reason, Run
from flowd.domain.stored import Output
from flowd.domain.waiting import TimeWait
from flowd.ports import OpenStore

BLOCKED = Outcome(ProcessStatus.COMPLETED, result=FlowResult("blocked", '{"status":"blocked"}'))
CANCELED = Outcome(ProcessStatus.CANCELED, Reason.CANCELED, "Step flow/a was canceled (ended by SIGTERM)")


def key(value: str = "x", *, on_busy: OnBusy = "queue", limit: int = 1) -> WantedKey:
    return WantedKey("g", f'["{value}"]', limit, on_busy)


def step(name: str, *needs: str, wanted: WantedKey | None = None, priority: int = 0) -> NewRun:
    definition = Definition("flow", 1, "/flow", "sha256:0", name, "exec", "run.sh", 1000, 100)
    return NewRun(name, definition, needs=needs, key=wanted, priority=priority)


LINE = step("a"), step("b", "a")


def of(flow: str, run: NewRun) -> NewRun:
    return replace(run, definition=replace(run.definition, flow_name=flow))


class Runs:
    """Runs in a store. Their ids are ``<event>-<step>``, or the event's where it has one run only."""

    def __init__(self, store: OpenStore) -> None:
        self.store = store
        self.attempts: dict[str, StartedRun] = {}
        self.to_end: list[str] = []
        self.ended: list[str] = []
        store.tell_side_effects(self._note)

    def _note(self, side_effects: SideEffects) -> None:
        self.to_end += side_effects.to_end
        self.ended += [run.id for run in side_effects.ended]

    async def accept(self, name: str, wanted: WantedKey | None = None, *, priority: int = 0) -> Run:
        """An event with one run that takes a key."""
        run = replace(step("a", wanted=wanted, priority=priority), id=name)
        return (await self._accept(name, [run]))[0]

    async def accept_round(self, name: str, wanted: WantedKey, *steps: NewRun) -> tuple[Run, ...]:
        """An event with a round that takes a key."""
        runs = [replace(run, id=f"{name}-{run.id}", round_key=wanted) for run in steps]
        return await self._accept(name, runs)

    async def _accept(self, name: str, runs: list[NewRun]) -> tuple[Run, ...]:
        accepted = await self.store.accept(new_event(name), runs, at_ms=1)
        await asyncio.sleep(0)  # so that what happened beside is told
        return accepted.runs

    async def start(self, limit: int = 50, *, at_ms: int = 2) -> list[str]:
        """Claim all that may start."""
        claimed = await self.store.claim(claim(limit, definition_of=definition, at_ms=at_ms))
        self.attempts |= {started.run.id: started for started in claimed.started}
        return ids(claimed)

    async def end(self, run_id: str, outcome: Outcome = DONE, wait: TimeWait | None = None) -> Run:
        attempt = self.attempts[run_id].attempt
        return (await self.store.finish(attempt, outcome, Exit(0), Output(), at_ms=5, wait=wait)).run

    async def run(self, run_id: str) -> Run:
        run = await self.store.run(run_id)
        assert run is not None
        return run

    async def ends(self, *run_ids: str) -> list[tuple[str, str | None]]:
        """Effective status and reason of each."""
        runs = [await self.run(run_id) for run_id in run_ids]
        return [(run.effective_status, run.reason) for run in runs]


def definition(flow: str, name: str) -> Definition:
    return Definition(flow, 1, "/flow", "sha256:0", name, "exec", "run.sh", 1000, 100)
