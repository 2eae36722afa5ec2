"""What every store promises of keys that whole rounds hold."""

from dataclasses import replace

import pytest
from key_rig import BLOCKED, CANCELED, LINE, Runs, key, step
from store_rig import FAILED, Stores

from flowd.domain.concurrency import OnBusy
from flowd.domain.errors import AlreadyAnsweredError
from flowd.domain.people import Person, Resolution
from flowd.domain.run import Reason
from flowd.domain.waiting import KeyWait, PersonWait
from flowd.ports import OpenStore


def test_a_round_holds_its_key_until_all_of_it_has_ended(stores: Stores) -> None:
    async def use(store: OpenStore) -> None:
        runs = Runs(store)
        for name in ("e1", "e2"):
            await runs.accept_round(name, key(), *LINE)
        assert (await runs.run("e2-a")).waiting_for == KeyWait("g", '["x"]', "e1-a", 0)
        for name in ("e1-a", "e1-b", "e2-a", "e2-b"):
            assert await runs.start() == [name]
            await runs.end(name)

    stores.use(use)


def test_all_of_a_round_that_may_start_starts_with_its_key_and_groups_of_steps_are_others(stores: Stores) -> None:
    async def use(store: OpenStore) -> None:
        runs = Runs(store)
        await runs.accept("x1", key())
        for name in ("e1", "e2"):
            await runs.accept_round(name, key(), step("a"), step("b"), step("c", wanted=key("c")))
        assert await runs.start() == ["x1", "e1-a", "e1-b", "e1-c"]
        for name in ("e1-a", "e1-b", "e1-c"):
            assert await runs.start() == []
            await runs.end(name)
        assert await runs.start() == ["e2-a", "e2-b", "e2-c"]

    stores.use(use)


def test_a_round_that_fails_lets_go_and_takes_its_key_again_where_it_is_retried(stores: Stores) -> None:
    async def use(store: OpenStore) -> None:
        runs = Runs(store)
        for name in ("e1", "e2"):
            await runs.accept_round(name, key(), *LINE)
        await runs.start()
        await runs.end("e1-a", FAILED)
        assert await runs.ends("e1-b") == [("skipped", Reason.NEEDS_NOT_MET)]
        assert await runs.start() == ["e2-a"]
        retried = await store.retry("e1-a", at_ms=3)
        assert retried is not None
        assert retried.waiting_for == KeyWait("g", '["x"]', "e2-a", 0)
        await runs.end("e2-a")
        assert await runs.start() == ["e2-b"]
        await runs.end("e2-b")
        assert await runs.start() == ["e1-a"]

    stores.use(use)


def test_a_round_holds_its_key_while_others_in_it_wait_for_an_answer(stores: Stores) -> None:
    async def use(store: OpenStore) -> None:
        runs = Runs(store)
        await runs.accept_round("e1", key(), *LINE)
        await runs.start()
        await runs.end("e1-a", BLOCKED)
        assert (await runs.run("e1-b")).waiting_for == PersonWait("e1-a")
        for name in ("e2", "e3"):
            await runs.accept_round(name, key(), *LINE)
        assert await runs.start() == []
        assert (await runs.run("e2-a")).waiting_for == KeyWait("g", '["x"]', "e1-b", 0, asks="e1-a")
        (question,) = (await store.questions(limit=5, cursor=None)).items
        assert (question.run.id, question.waiting, question.rounds) == ("e1-a", 1, 2)
        assert question.behind == ("e2", "e3")
        assert (await store.queue(limit=9, cursor=None)).rounds_behind == {"e1-b": 2}

    stores.use(use)


@pytest.mark.parametrize("way", ["replace", "latest"])
@pytest.mark.parametrize("comes_first", [True, False])
def test_a_round_that_only_waits_for_a_person_gives_way(stores: Stores, way: OnBusy, *, comes_first: bool) -> None:
    async def use(store: OpenStore) -> None:
        runs = Runs(store)
        await runs.accept_round("e1", key(on_busy=way), *LINE, step("c", "b"))
        await runs.start()
        if comes_first:
            await runs.accept_round("e2", key(on_busy=way), *LINE)
            assert await runs.start() == []
        await runs.end("e1-a", BLOCKED)
        if not comes_first:
            await runs.accept_round("e2", key(on_busy=way), *LINE)
        superseded = ("skipped", Reason.SUPERSEDED)
        assert await runs.ends("e1-b", "e1-c") == [superseded, superseded]
        asked = await runs.run("e1-a")
        if way == "replace" and comes_first:  # it was to be ended already, and asks on its own
            assert (asked.cancel_requested, asked.needs_attention) == (True, True)
        else:
            assert (asked.effective_status, asked.resolution and asked.resolution.by.via) == ("canceled", "flowd")
            told = "superseded at .*, and its question closed: e2-a of the same key came after it"
            with pytest.raises(AlreadyAnsweredError, match=told):
                await store.resolve("e1-a", None, Resolution("completed", Person("socket"), 9))
        assert await runs.start() == ["e2-a"]

    stores.use(use)


def test_a_replaced_round_ends_what_runs_in_it_and_skips_the_rest(stores: Stores) -> None:
    async def use(store: OpenStore) -> None:
        runs = Runs(store)
        await runs.accept_round("e1", key(on_busy="replace"), *LINE)
        await runs.start()
        await runs.accept_round("e2", key(on_busy="replace"), *LINE)
        assert (runs.to_end, runs.ended) == (["e1-a"], ["e1-b"])
        assert await runs.start() == []
        await runs.end("e1-a", CANCELED)
        assert await runs.ends("e1-a", "e1-b") == [("canceled", Reason.SUPERSEDED), ("skipped", Reason.SUPERSEDED)]
        assert await runs.start() == ["e2-a"]

    stores.use(use)


def test_what_cleans_up_after_a_replaced_round_runs_before_the_next_one(stores: Stores) -> None:
    async def use(store: OpenStore) -> None:
        runs = Runs(store)
        cleanup = replace(step("z", "b"), when="finally")
        await runs.accept_round("e1", key(on_busy="replace"), *LINE, cleanup)
        await runs.start()
        await runs.accept_round("e2", key(on_busy="replace"), *LINE, cleanup)
        assert runs.ended == ["e1-b"]
        await runs.accept_round("e3", key(on_busy="replace"), *LINE, cleanup)
        assert runs.ended == ["e1-b", "e2-a", "e2-b", "e2-z"]  # nothing of e2 had begun
        await runs.end("e1-a", CANCELED)
        assert await runs.start() == ["e1-z"]
        await runs.end("e1-z")
        assert await runs.start() == ["e3-a"]

    stores.use(use)


def test_a_round_leaves_the_line_with_its_last_run_in_it(stores: Stores) -> None:
    async def use(store: OpenStore) -> None:
        runs = Runs(store)
        await runs.accept_round("e1", key(), step("a"))
        await runs.start()
        await runs.accept_round("e2", key(), step("a"), replace(step("b", "a"), when="always"))
        await runs.accept_round("e3", key(on_busy="latest"), step("a"), step("b"))
        assert await runs.ends("e2-a", "e2-b") == [("skipped", Reason.SUPERSEDED)] * 2
        await runs.accept_round("e4", key(), step("a"))
        await store.cancel_queued("e3-a", at_ms=3)
        assert (await runs.run("e4-a")).waiting_for == KeyWait("g", '["x"]', "e1-a", 1)
        await store.cancel_queued("e3-b", at_ms=3)
        assert (await runs.run("e4-a")).waiting_for == KeyWait("g", '["x"]', "e1-a", 0)

    stores.use(use)


def test_a_round_that_does_not_want_to_wait_is_skipped_whole(stores: Stores) -> None:
    async def use(store: OpenStore) -> None:
        runs = Runs(store)
        await runs.accept_round("e1", key(on_busy="skip"), *LINE)
        skipped = await runs.accept_round("e2", key(on_busy="skip"), *LINE)
        assert [(run.effective_status, run.reason) for run in skipped] == [("skipped", Reason.KEY_BUSY)] * 2
        assert await runs.start() == ["e1-a"]

    stores.use(use)


def test_whoever_comes_to_a_key_late_is_let_in_by_the_limit_that_is_declared_then(stores: Stores) -> None:
    async def use(store: OpenStore) -> None:
        runs = Runs(store)
        await runs.accept("raised", key("x", limit=1))
        await runs.accept("lowered", key("y", limit=2))
        await runs.start()
        await runs.end("raised", FAILED)
        await runs.end("lowered", FAILED)
        store.use_key_limits({("step", "g"): 2})
        await runs.accept("x", key("x", limit=2))
        assert await runs.start() == ["x"]
        await store.retry("raised", at_ms=6)
        assert await runs.start() == ["raised"]
        store.use_key_limits({("step", "g"): 1, ("flow", "g"): 2})
        await runs.accept("y", key("y", limit=1))
        assert await runs.start() == ["y"]
        await store.retry("lowered", at_ms=6)
        assert (await runs.run("lowered")).waiting_for == KeyWait("g", '["y"]', "y", 0)
        await runs.end("y")
        assert await runs.start() == ["lowered"]
        store.use_key_limits({})  # nobody declares it any more
        await runs.accept("z", key("y", limit=2))
        assert await runs.start() == ["z"]

    stores.use(use)


def test_a_key_that_is_given_back_goes_on_to_as_many_as_may_hold_it_now(stores: Stores) -> None:
    async def use(store: OpenStore) -> None:
        runs = Runs(store)
        for name in ("x1", "x2", "x3", "x4"):
            await runs.accept(name, key(limit=2))
        assert await runs.start() == ["x1", "x2"]
        store.use_key_limits({("step", "g"): 1})
        await runs.end("x1")
        assert await runs.start() == []
        store.use_key_limits({("step", "g"): 2})
        await runs.end("x2")
        assert await runs.start() == ["x3", "x4"]

    stores.use(use)
