"""What every store promises of the keys of runs: who holds one, who waits, and in which order."""

import asyncio

from key_rig import Runs, definition, key, step
from store_rig import FAILED, Stores, claim, ids, new_event

from flowd.domain.definition import Definition
from flowd.domain.journal import Interest
from flowd.domain.people import Person
from flowd.domain.waiting import KeyWait, NeedsWait, PackageWait, TimeWait
from flowd.ports import OpenStore


def test_a_retry_puts_back_who_holds_a_key_and_who_waits_for_it_alike(stores: Stores) -> None:
    async def use(store: OpenStore) -> None:
        runs = Runs(store)
        await runs._accept("e", [step("top"), step("left", "top", wanted=key()), step("right", "top", wanted=key())])
        await runs.start()
        await runs.end("top")  # left is ready and has the key now, for which right waits
        await store.retry("top", at_ms=6)
        assert [(await runs.run(name)).waiting_for for name in ("left", "right")] == [NeedsWait(("top",))] * 2
        assert await runs.start() == ["top"]
        await runs.end("top")
        assert await runs.start() == ["left"]
        await runs.end("left")
        assert await runs.start() == ["right"]

    stores.use(use)


def test_the_fence_grows_from_each_who_has_a_key_to_the_next(stores: Stores) -> None:
    async def use(store: OpenStore) -> None:
        runs = Runs(store)
        await runs.accept("x1", key())
        await runs.accept("x2", key())
        await runs.accept("x3", key(), priority=5)
        order: list[str] = []
        while started := await runs.start():
            order += started
            await runs.end(started[0])
        assert sorted(order) == ["x1", "x2", "x3"]
        fences = [runs.attempts[name].fence for name in order]
        assert fences == sorted(set(fences))

    stores.use(use)


def test_runs_of_one_key_start_one_after_the_other_and_others_are_not_held_up(stores: Stores) -> None:
    async def use(store: OpenStore) -> None:
        runs = Runs(store)
        for name in ("x1", "x2", "x3"):
            await runs.accept(name, key())
        await runs.accept("y1", key("y"))
        await runs.accept("free")
        assert await runs.start() == ["x1", "y1", "free"]
        waiting = [(await runs.run(name)).waiting_for for name in ("x2", "x3")]
        assert waiting == [KeyWait("g", '["x"]', "x1", 0), KeyWait("g", '["x"]', "x1", 1)]
        await runs.end("x1")
        assert await runs.start() == ["x2"]
        assert (await runs.run("x3")).waiting_for == KeyWait("g", '["x"]', "x2", 0)
        await runs.end("x2", FAILED)
        assert await runs.start() == ["x3"]

    stores.use(use)


def test_who_waits_and_who_holds_outlives_the_daemon(stores: Stores) -> None:
    async def fill(store: OpenStore) -> None:
        runs = Runs(store)
        for name in ("x1", "x2", "x3"):
            await runs.accept(name, key())
        assert await runs.start(1) == ["x1"]
        await store.requeue("x1", at_ms=3)

    async def look(store: OpenStore) -> None:
        runs = Runs(store)
        assert (await runs.run("x2")).waiting_for == KeyWait("g", '["x"]', "x1", 0)
        for name in ("x1", "x2", "x3"):
            assert await runs.start() == [name]
            await runs.end(name)

    stores.use(fill)
    stores.use(look)


def test_as_many_hold_a_key_as_its_limit_says_and_the_newest_limit_counts(stores: Stores) -> None:
    async def use(store: OpenStore) -> None:
        runs = Runs(store)
        for name in ("x1", "x2", "x3", "x4"):
            await runs.accept(name, key(limit=2))
        assert await runs.start() == ["x1", "x2"]
        await runs.accept("x5", key(limit=3))
        assert await runs.start() == ["x3"]  # nobody passes by those that wait
        await runs.accept("x6", key(limit=1))
        for name in ("x1", "x2"):
            await runs.end(name)
            assert await runs.start() == []
        await runs.end("x3")
        assert await runs.start() == ["x4"]

    stores.use(use)


def test_those_that_wait_get_the_key_by_priority_and_then_by_acceptance(stores: Stores) -> None:
    async def use(store: OpenStore) -> None:
        runs = Runs(store)
        for name, priority in (("x1", 0), ("x2", -1), ("x3", 0), ("x4", 5), ("x5", 0)):
            await runs.accept(name, key(), priority=priority)
        assert [(await runs.run(name)).waiting_for for name in ("x2", "x5")] == [
            KeyWait("g", '["x"]', "x1", 3),
            KeyWait("g", '["x"]', "x1", 2),
        ]
        order = []
        while started := await runs.start():
            order += started
            await runs.end(started[0])
        assert order == ["x1", "x4", "x3", "x5", "x2"]

    stores.use(use)


def test_no_key_is_held_between_attempts_and_each_attempt_takes_it_anew(stores: Stores) -> None:
    async def use(store: OpenStore) -> None:
        runs = Runs(store)
        await runs.accept("x1", key())
        await runs.accept("x2", key())
        assert await runs.start() == ["x1"]
        await runs.end("x1", FAILED, wait=TimeWait(until_ms=100, whole_ms=95, why="retry"))
        assert await runs.start() == ["x2"]
        assert await runs.start(at_ms=100) == []
        assert (await runs.run("x1")).waiting_for == KeyWait("g", '["x"]', "x2", 0)
        await runs.end("x2")
        assert await runs.start() == ["x1"]

    stores.use(use)


def test_a_run_without_its_package_holds_no_key(stores: Stores) -> None:
    async def use(store: OpenStore) -> None:
        runs = Runs(store)
        await runs.accept("x1", key())
        await runs.accept("x2", key())
        claimed = await store.claim(claim(1, definition_of=lambda *_: None))
        assert (claimed.started, claimed.is_missing_package) == ((), True)
        assert (await runs.run("x1")).waiting_for == PackageWait("flow")
        assert (await runs.run("x2")).waiting_for == PackageWait("flow")  # it got the key, and was looked at, too
        while await store.end_package_wait("flow", "a", at_ms=3):
            pass
        assert await runs.start() == ["x1"]
        assert (await runs.run("x2")).waiting_for == KeyWait("g", '["x"]', "x1", 0)

    stores.use(use)


def test_who_gets_the_key_of_a_run_without_its_package_goes_by_its_own_priority(stores: Stores) -> None:
    def definition_of(flow: str, name: str) -> Definition | None:
        return None if name == "gone" else definition(flow, name)

    async def use(store: OpenStore) -> None:
        await store.accept(new_event("1"), [step("gone", wanted=key())], at_ms=1)
        await store.accept(new_event("2"), [step("urgent", wanted=key(), priority=5)], at_ms=2)
        await store.accept(new_event("3"), [step("plain")], at_ms=3)
        assert ids(await store.claim(claim(3, definition_of=definition_of))) == ["urgent", "plain"]

    stores.use(use)


def test_a_claim_that_has_met_very_many_without_their_package_says_that_there_may_be_more(
    stores: Stores,
) -> None:
    def definition_of(flow: str, name: str) -> Definition | None:
        return definition(flow, name) if name == "a" else None

    async def use(store: OpenStore) -> None:
        gone = [step(f"gone{n}") for n in range(499)]
        await store.accept(new_event("e"), [*gone, step("last", wanted=key())], at_ms=1)
        await Runs(store).accept("behind", key())
        claimed = await store.claim(claim(8, definition_of=definition_of))
        assert (claimed.started, claimed.has_more) == ((), True)
        assert ids(await store.claim(claim(8, definition_of=definition_of))) == ["behind"]

    stores.use(use)


def test_who_follows_the_journal_hears_when_a_run_waits_for_a_key_and_when_it_has_it(stores: Stores) -> None:
    async def use(store: OpenStore) -> None:
        runs = Runs(store)
        await runs.accept("x1", key())
        await runs.accept("x2", key())
        await runs.start()
        await runs.end("x1")
        await runs.start()
        page = await store.journal(Interest(run_id="x2"), after=0, limit=100)
        assert [entry.status for entry in page.entries] == ["queued", "queued", "running"]

    stores.use(use)


def test_who_is_called_off_and_gets_the_key_is_ended_and_never_ready(stores: Stores) -> None:
    async def use(store: OpenStore) -> None:
        runs = Runs(store)
        await runs._accept("e", [step("one", wanted=key()), step("two", wanted=key())])
        await store.call_off("e", Person("socket", 1000, "ada"), is_tree=False, at_ms=2)
        assert [run.id for run in await store.end_called_off(at_ms=3)] == ["one"]  # the other one's end follows from it
        await asyncio.sleep(0)
        assert runs.ended == ["two"]
        page = await store.journal(Interest(run_id="two"), after=0, limit=100)
        assert [entry.status for entry in page.entries] == ["queued", "canceled"]

    stores.use(use)


def test_a_canceled_or_retried_run_leaves_and_comes_back(stores: Stores) -> None:
    async def use(store: OpenStore) -> None:
        runs = Runs(store)
        for name in ("x1", "x2", "x3", "x4"):
            await runs.accept(name, key())
        await store.cancel_queued("x1", at_ms=2)  # it was ready, with the key
        await store.cancel_queued("x3", at_ms=2)  # it waited
        assert await runs.start() == ["x2"]
        retried = await store.retry("x1", at_ms=3)
        assert retried is not None
        assert retried.waiting_for == KeyWait("g", '["x"]', "x2", 0)  # before x4, which was accepted after it
        await runs.end("x2")
        assert await runs.start() == ["x1"]
        await runs.end("x1")
        assert await runs.start() == ["x4"]

    stores.use(use)


def test_ready_runs_start_by_priority_and_then_in_the_order_in_which_they_became_ready(stores: Stores) -> None:
    async def use(store: OpenStore) -> None:
        runs = Runs(store)
        for name, priority in (("a", 0), ("b", 10), ("c", -3), ("d", 10), ("e", 0)):
            await runs.accept(name, priority=priority)
        assert await runs.start(2) == ["b", "d"]
        assert await runs.start(2) == ["a", "e"]
        assert await runs.start(2) == ["c"]

    stores.use(use)
