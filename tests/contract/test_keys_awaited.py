"""What every store promises of waiting for a run that waits for a key: who could never have it is told so."""

import asyncio
from dataclasses import replace

import pytest
from key_rig import LINE, Runs, key, step
from store_rig import FAILED, Stores

from flowd.domain.awaited import Awaited, HeldUp, Waiting
from flowd.domain.concurrency import WantedKey
from flowd.domain.errors import WouldDeadlockError
from flowd.ports import OpenStore


def test_what_needs_a_key_that_a_run_or_its_round_holds_is_told(stores: Stores) -> None:
    async def use(store: OpenStore) -> None:
        runs = Runs(store)
        await runs.accept("x1", key())
        await runs.accept_round("e1", key(), step("a"))
        assert await runs.start() == ["x1", "e1-a"]
        await runs.accept("x2", key())
        await runs.accept("y1", key("y"))
        await runs.accept_round("e2", key(), *LINE)
        await runs.accept_round("e3", key("y"), *LINE)

        async def keeps(run_id: str, event_id: str) -> bool:
            return await store.held_up([run_id], Awaited(event_id=event_id, is_tree=True)) == HeldUp()

        kept = {(one, event) for one in ("x1", "e1-a") for event in ("x2", "y1", "e2", "e3") if await keeps(one, event)}
        assert kept == {("x1", "x2"), ("e1-a", "e2")}
        await runs.end("x1")
        assert not await keeps("x1", "x2")
        assert not await keeps("x1", "nothing")

    stores.use(use)


def test_a_key_with_room_for_others_keeps_nobody_until_all_its_holders_wait(stores: Stores) -> None:
    async def use(store: OpenStore) -> None:
        runs = Runs(store)
        for name in ("x1", "x2", "x3"):
            await runs.accept(name, key(limit=2))
        assert await runs.start() == ["x1", "x2"]
        for awaited in (Awaited(event_id="x3"), Awaited(run_id="x3")):
            assert await store.held_up(["x1"], awaited) is None
            assert await store.held_up(["x1", "x2"], awaited) == HeldUp()

    stores.use(use)


def test_what_a_run_is_part_of_and_what_needs_it_cannot_end_before_it(stores: Stores) -> None:
    async def use(store: OpenStore) -> None:
        runs = Runs(store)
        await runs._accept("e", [step("top"), step("mid", "top"), step("end", "mid"), step("other")])
        await runs.accept("apart")
        assert await runs.start() == ["top", "other", "apart"]
        part, needs_it = HeldUp("top", is_part=True), HeldUp("top")
        assert await store.held_up(["top"], Awaited(event_id="e")) == part
        assert await store.held_up(["top"], Awaited(event_id="e", is_tree=True)) == part
        found = {name: await store.held_up(["top"], Awaited(run_id=name)) for name in ("top", "mid", "end", "other")}
        assert found == {"top": part, "mid": needs_it, "end": needs_it, "other": None}
        assert await store.held_up(["top"], Awaited(event_id="apart")) is None
        await runs.end("top")
        assert await store.held_up(["top"], Awaited(run_id="end")) is None
        assert await store.held_up(["top"], Awaited(run_id="nothing")) is None

    stores.use(use)


def test_a_run_behind_the_round_that_holds_its_rounds_only_key_cannot_end_before_what_that_needs(
    stores: Stores,
) -> None:
    async def use(store: OpenStore) -> None:
        runs = Runs(store)
        await runs.accept("own", key("own"))
        await runs.accept_round("e1", key("line"), step("a"), step("b", wanted=key("own")))
        await runs.accept_round("e2", key("line"), step("a"))
        assert await runs.start() == ["own", "e1-a"]
        assert await store.held_up(["own"], Awaited(run_id="e1-a")) is None
        assert await store.held_up(["own"], Awaited(run_id="e2-a")) == HeldUp()
        assert await store.held_up(["e1-a"], Awaited(run_id="e2-a")) == HeldUp()

    stores.use(use)


def test_who_does_not_want_to_wait_for_a_key_is_held_up_by_nobody(stores: Stores) -> None:
    async def use(store: OpenStore) -> None:
        runs = Runs(store)
        await runs.accept("x1", key())
        await runs._accept("e", [step("top"), step("skips", "top", wanted=key(on_busy="skip"))])
        await runs._accept("f", [step("first"), step("waits", "first", wanted=key())])
        await runs.start()
        assert await store.held_up(["x1"], Awaited(event_id="e")) is None
        assert await store.held_up(["x1"], Awaited(event_id="f")) == HeldUp()

    stores.use(use)


def test_what_a_step_could_not_wait_for_is_not_begun_and_others_of_the_batch_are(stores: Stores) -> None:
    async def use(store: OpenStore) -> None:
        runs = Runs(store)
        for name in ("x0", "x1", "free"):
            await runs.accept(name, None if name == "free" else key())
            await runs.start()
            if name != "x1":
                await runs.end(name, FAILED)
        before = [await store.event("x0"), await runs.run("x0")]
        waiting = Waiting("x1", {})

        async def replay(name: str, waiting: Waiting | None, wanted: WantedKey | None) -> object:
            new = replace(step("a", wanted=wanted), id=f"{name} again", replay_of=name)
            try:
                return [run.id for run in await store.add_runs(name, [new], at_ms=6, waiting=waiting)]
            except WouldDeadlockError as error:
                return error.message

        async def retry(waiting: Waiting) -> str:
            with pytest.raises(WouldDeadlockError) as caught:
                await store.retry("x0", at_ms=6, waiting=waiting)
            return caught.value.message

        holds = "it needs a key (`concurrency`) that x1 or its round holds until it ends. Nothing was done: do it "
        tree = replace(waiting, awaited=Awaited(event_id="x1", is_tree=True))
        # All in one turn of the loop, so in one commit.
        told = await asyncio.gather(
            replay("x0", waiting, key()), retry(waiting), replay("free", waiting, None), replay("free", tree, None)
        )
        assert [str(one).partition(": ")[2].startswith(holds) for one in told] == [True, True, False, False]
        assert told[2] == ["free again"]
        assert "for it is one of its runs itself" in str(told[3])
        assert [await store.event("x0"), await runs.run("x0")] == before
        assert await runs.start() == ["free again"]
        # Who only looks, or waits for nothing, does as ever.
        assert await replay("x0", None, key()) == ["x0 again"]
        await runs.end("x1")
        assert await store.retry("x0", at_ms=7, waiting=Waiting("free again", {})) is not None

    stores.use(use)
