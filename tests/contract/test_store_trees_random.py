"""Random sequences of what causes events, on every store and on a plain model of what it has to come to."""

import random
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field

import pytest
from store_rig import DONE, FAILED, STEP, Stores, claim, new_event

from flowd.domain.errors import CauseCanceledError, ChainLimitError
from flowd.domain.exit import Exit
from flowd.domain.filters import EventFilter, RunFilter
from flowd.domain.queueing import NewRun, StartedRun
from flowd.domain.stored import NewEventRuns, Output
from flowd.domain.trees import MAX_DEPTH
from flowd.ports import OpenStore

IDS = [f"e{n}" for n in range(12)]


@dataclass
class Event:
    cause: tuple[str, str] | None
    root: str
    depth: int
    rounds: int = 1
    causes: set[tuple[str, int]] = field(default_factory=set)
    """The event and the number of each round that has caused it."""


@dataclass
class Model:
    events: dict[str, Event] = field(default_factory=dict)

    def accept(self, event_id: str) -> None:
        self.events.setdefault(event_id, Event(None, event_id, 0))

    def cause(self, run_id: str, event_id: str, number: int, caused: str) -> None:
        of = self.events[event_id]
        known = self.events.get(caused)
        if known is None:
            known = self.events[caused] = Event((run_id, event_id), of.root, of.depth + 1)
            known.causes.add((event_id, number))
        elif (event_id, number) not in known.causes and any(cause == event_id for cause, _ in known.causes):
            known.causes.add((event_id, number))
            known.rounds += 1

    def is_too_deep(self, event_id: str, caused: list[str]) -> bool:
        return self.events[event_id].depth >= MAX_DEPTH and any(name not in self.events for name in caused)


class Player:
    """Does the same to a store and to the model."""

    def __init__(self, store: OpenStore, seed: int) -> None:
        self.store = store
        self.chance = random.Random(seed)
        self.model = Model()
        self.running: list[StartedRun] = []
        self.ended: list[str] = []
        self.canceled: set[str] = set()
        self.replays = 0

    def new(self, event_id: str) -> NewEventRuns:
        return NewEventRuns(new_event(event_id), (NewRun(f"run of {event_id}", STEP),))

    async def accept(self) -> None:
        new = self.new(self.chance.choice(IDS))
        await self.store.accept(new.event, new.runs, at_ms=1)
        self.model.accept(new.event.id)

    async def start(self) -> None:
        self.running += (await self.store.claim(claim(2))).started

    async def end(self, begun: StartedRun) -> None:
        caused = self.chance.choices(IDS, k=self.chance.randrange(4))
        follows = [self.new(name) for name in caused]
        await self.store.finish(begun.attempt, DONE, Exit(0), Output(), at_ms=3, follows=follows)
        if self.chance.random() < 0.3:  # as after a crash
            await self.store.finish(begun.attempt, DONE, Exit(0), Output(), at_ms=3, follows=follows)
        self._over(begun)
        run = begun.run
        if run.id not in self.canceled and not self.model.is_too_deep(run.event_id, caused):
            for name in caused:
                self.model.cause(run.id, run.event_id, run.round, name)
        self.canceled.discard(run.id)

    async def fail(self, begun: StartedRun) -> None:
        await self.store.finish(begun.attempt, FAILED, Exit(1), Output(), at_ms=3)
        self._over(begun)
        self.canceled.discard(begun.run.id)

    async def dispatch(self, begun: StartedRun) -> None:
        run, name = begun.run, self.chance.choice(IDS)
        new = self.new(name)
        try:
            await self.store.accept(new.event, new.runs, at_ms=4, caused_by=run.id)
        except CauseCanceledError:
            assert run.id in self.canceled
        except ChainLimitError:
            assert self.model.is_too_deep(run.event_id, [name])
        else:
            assert run.id not in self.canceled
            self.model.cause(run.id, run.event_id, run.round, name)

    async def cancel(self, begun: StartedRun) -> None:
        assert await self.store.request_cancel(begun.run.id, at_ms=4)
        self.canceled.add(begun.run.id)

    async def replay(self) -> None:
        if self.model.events:
            event_id = self.chance.choice(sorted(self.model.events))
            self.replays += 1
            again = NewRun(f"replay {self.replays}", STEP, replay_of=f"run of {event_id}")
            await self.store.add_runs(event_id, [again], at_ms=5)
            self.model.events[event_id].rounds += 1

    async def retry(self) -> None:
        if self.ended:
            run_id = self.chance.choice(self.ended)
            if await self.store.retry(run_id, at_ms=6) is not None:
                self.ended.remove(run_id)

    def _over(self, begun: StartedRun) -> None:
        self.running.remove(begun)
        self.ended.append(begun.run.id)

    async def step(self) -> None:
        of_a_run: tuple[Callable[[StartedRun], Awaitable[None]], ...] = (
            *(self.end, self.end, self.end, self.fail, self.dispatch, self.dispatch, self.cancel),
        )
        if self.running and self.chance.random() < 0.6:
            await self.chance.choice(of_a_run)(self.chance.choice(self.running))
        else:
            await self.chance.choice((self.accept, self.start, self.start, self.start, self.replay, self.retry))()

    async def check(self) -> None:
        found = {}
        for event in (await self.store.events(EventFilter(), limit=100, cursor=None)).items:
            cause = None if event.caused_by is None else (event.caused_by.run_id, event.caused_by.event_id)
            found[event.id] = (cause, event.root_event_id or event.id, event.depth, await self._rounds(event.id))
        assert found == {
            name: (known.cause, known.root, known.depth, list(range(1, known.rounds + 1)))
            for name, known in self.model.events.items()
        }
        for name, known in self.model.events.items():
            below = {one.id for one in (await self.store.tree(name, limit=100, cursor=None)).items}
            assert below == {name} | {other for other in self.model.events if self._is_below(other, name)}
            assert known.depth == len(self._above(name))

    async def _rounds(self, event_id: str) -> list[int]:
        page = await self.store.runs(RunFilter(event_id=event_id), limit=500, cursor=None)
        return sorted(run.round for run in page.items)

    def _above(self, name: str) -> list[str]:
        above = []
        while (cause := self.model.events[name].cause) is not None:
            name = cause[1]
            above.append(name)
        return above

    def _is_below(self, name: str, root: str) -> bool:
        return root in self._above(name)


@pytest.mark.parametrize("seed", range(8))
def test_every_cause_counts_once_for_each_round_and_trees_stay_trees(stores: Stores, seed: int) -> None:
    async def use(store: OpenStore) -> None:
        player = Player(store, seed)
        for count in range(150):
            await player.step()
            if count % 10 == 0:
                await player.check()
        await player.check()

    stores.use(use)
