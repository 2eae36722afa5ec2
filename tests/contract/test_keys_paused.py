"""What every store promises of keys where a pause begins and ends."""

from dataclasses import replace

from key_rig import LINE, Runs, key, of, step
from store_rig import Stores, new_event

from flowd.domain.pauses import Paused
from flowd.domain.people import Person
from flowd.domain.waiting import KeyWait, PauseWait
from flowd.ports import OpenStore

FLOW_PAUSED = Paused("flow")
ADA = Person("socket", 1000, "ada")


async def pause(store: OpenStore) -> None:
    await store.begin_pause(FLOW_PAUSED, ADA, at_ms=3)
    await store.take_back(FLOW_PAUSED, 0, at_ms=3)


async def resume(store: OpenStore) -> None:
    await store.end_pause(FLOW_PAUSED)
    while (await store.let_go(FLOW_PAUSED, 0, at_ms=4))[0]:
        pass


def test_what_is_paused_gives_its_key_back_and_comes_to_it_again(stores: Stores) -> None:
    async def use(store: OpenStore) -> None:
        runs = Runs(store)
        for name in ("x1", "x2"):
            await runs.accept(name, key())
        other = of("other", replace(step("a", wanted=key()), id="y1"))
        await store.accept(new_event("y1"), [other], at_ms=1)
        await pause(store)
        assert [(await runs.run(name)).waiting_for for name in ("x1", "x2")] == [PauseWait("flow")] * 2
        assert await runs.start() == ["y1"]
        await resume(store)
        assert [(await runs.run(name)).waiting_for for name in ("x1", "x2")] == [
            KeyWait("g", '["x"]', "y1", 0),
            KeyWait("g", '["x"]', "y1", 1),
        ]
        await runs.end("y1")
        assert await runs.start() == ["x1"]

    stores.use(use)


def test_a_paused_round_keeps_the_key_that_it_holds_and_leaves_the_line_for_one(stores: Stores) -> None:
    async def use(store: OpenStore) -> None:
        runs = Runs(store)
        await runs.accept_round("e1", key(), *LINE)
        await runs.accept_round("e2", key(), *LINE)
        assert await runs.start() == ["e1-a"]
        await pause(store)
        other = of("other", replace(step("a"), id="e3-a", round_key=key()))
        await store.accept(new_event("e3"), [other], at_ms=1)
        await runs.end("e1-a")
        assert [(await runs.run(name)).waiting_for for name in ("e1-b", "e2-a")] == [PauseWait("flow")] * 2
        assert (await runs.run("e3-a")).waiting_for == KeyWait("g", '["x"]', "e1-b", 0)
        await resume(store)
        assert (await runs.run("e3-a")).waiting_for == KeyWait("g", '["x"]', "e1-b", 1)
        for name in ("e1-b", "e2-a", "e2-b", "e3-a"):
            assert await runs.start() == [name]
            await runs.end(name)

    stores.use(use)
