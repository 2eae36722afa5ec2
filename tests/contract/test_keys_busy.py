"""What every store promises of those that come to a busy key: who waits, who is skipped, and who ends for whom."""

import pytest
from key_rig import CANCELED, Runs, key
from store_rig import FAILED, Stores

from flowd.domain.concurrency import OnBusy
from flowd.domain.run import ProcessStatus, Reason
from flowd.domain.waiting import TimeWait
from flowd.ports import OpenStore


def test_skip_ends_whoever_comes_to_a_busy_key(stores: Stores) -> None:
    async def use(store: OpenStore) -> None:
        runs = Runs(store)
        await runs.accept("x1", key(on_busy="skip"))
        skipped = await runs.accept("x2", key(on_busy="skip"))
        assert (skipped.status, skipped.effective_status, skipped.reason) == ("completed", "skipped", Reason.KEY_BUSY)
        assert skipped.attempt_count == 0
        assert await runs.start() == ["x1"]
        await runs.end("x1")
        await runs.accept("x3", key(on_busy="skip"))
        assert await runs.start() == ["x3"]

    stores.use(use)


def test_of_those_that_wait_only_the_latest_stays(stores: Stores) -> None:
    async def use(store: OpenStore) -> None:
        runs = Runs(store)
        for name in ("x1", "x2", "x3", "x4"):
            await runs.accept(name, key(on_busy="latest"))
        superseded = ("skipped", Reason.SUPERSEDED)
        assert await runs.ends("x2", "x3") == [superseded, superseded]
        result = (await runs.run("x2")).result
        assert result is not None
        assert "x3" in str(result.value["message"])
        assert runs.ended == ["x2", "x3"]
        assert await runs.start() == ["x1"]
        assert runs.to_end == []
        await runs.end("x1")
        assert await runs.start() == ["x4"]

    stores.use(use)


def test_replace_ends_the_older_run_before_its_successor_starts(stores: Stores) -> None:
    async def use(store: OpenStore) -> None:
        runs = Runs(store)
        await runs.accept("x1", key(on_busy="replace"))
        assert await runs.start() == ["x1"]
        await runs.accept("x2", key(on_busy="replace"))
        await runs.accept("x3", key(on_busy="replace"))
        assert runs.to_end == ["x1"]
        assert (await runs.run("x1")).cancel_requested
        assert await runs.ends("x2") == [("skipped", Reason.SUPERSEDED)]
        assert await runs.start() == []
        ended = await runs.end("x1", CANCELED)
        assert (ended.status, ended.reason, ended.attempts[0].reason) == ("canceled", "superseded", "superseded")
        assert ended.error is not None
        assert "because x2 of the same key came after it" in ended.error
        assert await runs.start() == ["x3"]

    stores.use(use)


def test_what_is_replaced_before_it_started_is_skipped_and_its_successor_starts_at_once(stores: Stores) -> None:
    async def use(store: OpenStore) -> None:
        runs = Runs(store)
        await runs.accept("x1", key(on_busy="replace"))
        second = await runs.accept("x2", key(on_busy="replace"))
        assert (second.status, second.waiting_for) == (ProcessStatus.QUEUED, None)
        assert await runs.ends("x1") == [("skipped", Reason.SUPERSEDED)]
        assert await runs.start() == ["x2"]
        assert runs.to_end == []

    stores.use(use)


def test_a_replaced_run_that_ends_by_itself_stands_and_is_not_retried(stores: Stores) -> None:
    async def use(store: OpenStore) -> None:
        runs = Runs(store)
        for first, second in (("x1", "x2"), ("y1", "y2")):
            await runs.accept(first, key(first[0], on_busy="replace"))
            await runs.start()
            await runs.accept(second, key(first[0], on_busy="replace"))
        done = await runs.end("x1")
        assert (done.status, done.reason, done.effective_status) == ("completed", None, "changed")
        failed = await runs.end("y1", FAILED, wait=TimeWait(100, 95, "retry"))
        assert (failed.status, failed.reason) == (ProcessStatus.FAILED, Reason.EXIT)
        assert await runs.start() == ["x2", "y2"]

    stores.use(use)


@pytest.mark.parametrize("way", ["replace", "latest"])
def test_an_older_run_ends_itself_and_never_a_newer_one(stores: Stores, way: OnBusy) -> None:
    async def use(store: OpenStore) -> None:
        runs = Runs(store)
        await runs.accept("x1", key(on_busy=way))
        await runs.start()
        await runs.end("x1", FAILED)
        await runs.accept("x2", key(on_busy=way))
        if way == "latest":
            await runs.start()
            await runs.accept("x3", key(on_busy=way))  # it waits: x1 comes after it, and is the older one
        retried = await store.retry("x1", at_ms=3)
        assert retried is not None
        assert (retried.effective_status, retried.reason) == ("skipped", Reason.SUPERSEDED)
        assert await runs.ends("x2") == [("running" if way == "latest" else "queued", None)]
        assert runs.to_end == []

    stores.use(use)


def test_whoever_comes_decides_what_becomes_of_those_that_wait(stores: Stores) -> None:
    async def use(store: OpenStore) -> None:
        runs = Runs(store)
        await runs.accept("x1", key())
        await runs.start()
        await runs.accept("x2", key())
        await runs.accept("x3", key())
        assert await runs.ends("x2", "x3") == [("queued", None)] * 2
        await runs.accept("x4", key(on_busy="latest"))
        await runs.accept("x5", key())
        assert await runs.ends("x2", "x3") == [("skipped", Reason.SUPERSEDED)] * 2
        assert await runs.ends("x4", "x5") == [("queued", None)] * 2

    stores.use(use)
