"""What every store promises of the queue: which runs start, when, and in which order."""

from store_rig import DONE, FAILED, STEP, Stores, accept, begin, claim, committed, ids, new_event, run_of

from flowd.domain.exit import Exit
from flowd.domain.journal import Interest
from flowd.domain.queueing import NewRun
from flowd.domain.run import ProcessStatus
from flowd.domain.stored import Output
from flowd.domain.waiting import TimeWait
from flowd.ports import OpenStore

RETRY_AT_100 = TimeWait(until_ms=100, whole_ms=90, why="retry")


def test_runs_start_in_the_order_in_which_they_became_ready_and_no_more_than_asked(stores: Stores) -> None:
    async def use(store: OpenStore) -> None:
        for name in "abcd":
            await accept(store, name)
        first = await store.claim(claim(1))
        assert (ids(first), first.has_more) == (["run-a"], True)
        await store.finish(first.started[0].attempt, FAILED, Exit(1), Output(), at_ms=3)
        await store.retry("run-a", at_ms=4)
        rest = await store.claim(claim(10))
        assert (ids(rest), rest.has_more) == (["run-b", "run-c", "run-d", "run-a"], False)
        assert [started.attempt.id for started in rest.started] == ["run-b", "run-c", "run-d", "run-a:2"]
        await accept(store, "last")
        last = await store.claim(claim(1))
        assert (ids(last), last.has_more) == (["run-last"], False)

    stores.use(use)


def test_an_accept_may_start_its_runs_in_the_same_commit_but_never_before_others(stores: Stores) -> None:
    async def use(store: OpenStore) -> None:
        commits = committed(store)
        both = [NewRun("r1", STEP), NewRun("r2", STEP)]
        first = await store.accept(new_event("one"), both, at_ms=1, claim=claim(1))
        assert first.claimed is not None
        assert ids(first.claimed) == ["r1"]
        assert (await run_of(store, "r1")).status is ProcessStatus.RUNNING
        assert committed(store) == commits + 1
        second = await store.accept(new_event("two"), [NewRun("r3", STEP)], at_ms=1, claim=claim(1))
        assert second.claimed is not None
        assert ids(second.claimed) == ["r2"]
        again = await store.accept(new_event("two"), [NewRun("r3", STEP)], at_ms=1, claim=claim(1))
        assert (again.is_duplicate, again.claimed) == (True, None)
        assert (await run_of(store, "r3")).status is ProcessStatus.QUEUED
        page = await store.journal(Interest(run_id="r1"), after=0, limit=10)
        assert [entry.status for entry in page.entries] == ["queued", "running"]

    stores.use(use)


def test_an_end_may_be_recorded_and_the_next_run_claimed_in_one_commit(stores: Stores) -> None:
    async def use(store: OpenStore) -> None:
        begun = await begin(store, await accept(store, "a"))
        await accept(store, "b")
        commits = committed(store)
        ended = await store.finish(begun.attempt, DONE, Exit(0), Output(), at_ms=3, claim=claim(2))
        assert committed(store) == commits + 1
        assert ended.run.status is ProcessStatus.COMPLETED
        assert ended.claimed is not None
        assert ids(ended.claimed) == ["run-b"]
        assert (await run_of(store, "run-b")).status is ProcessStatus.RUNNING
        await accept(store, "c")
        again = await store.finish(begun.attempt, FAILED, Exit(1), Output(), at_ms=4, claim=claim(1))
        assert again.claimed is not None
        assert (again.run, ids(again.claimed)) == (ended.run, ["run-c"])

    stores.use(use)


def test_a_run_that_waits_for_its_time_is_passed_by_until_then_also_over_a_restart(stores: Stores) -> None:
    wait = TimeWait(until_ms=50, whole_ms=49, why="delay")

    async def fill(store: OpenStore) -> None:
        await store.accept(new_event("late"), [NewRun("late", STEP, wait=wait)], at_ms=1)
        await accept(store, "b")
        early = await store.claim(claim(5, at_ms=49))
        assert (ids(early), early.next_due_ms) == (["run-b"], 50)

    async def look(store: OpenStore) -> None:
        await store.shorten_waits(40)
        assert (await run_of(store, "late")).waiting_for == wait
        assert ids(await store.claim(claim(5, at_ms=49))) == []
        due = await store.claim(claim(5, at_ms=1, steady_ms=50))  # the wall clock has no say
        assert (ids(due), due.next_due_ms) == (["late"], None)
        assert due.started[0].run.waiting_for is None

    stores.use(fill)
    stores.use(look)


def test_a_run_keeps_the_place_that_it_got_when_its_time_came(stores: Stores) -> None:
    async def use(store: OpenStore) -> None:
        for name, at_ms in (("second", 30), ("first", 20)):
            wait = TimeWait(at_ms, at_ms, "delay")
            await store.accept(new_event(name), [NewRun(name, STEP, wait=wait)], at_ms=1)
        assert ids(await store.claim(claim(0, at_ms=35))) == []
        await accept(store, "later")
        assert ids(await store.claim(claim(5, at_ms=36))) == ["first", "second", "run-later"]

    stores.use(use)


def test_an_outcome_and_the_wait_for_the_next_attempt_are_one_commit(stores: Stores) -> None:
    async def use(store: OpenStore) -> None:
        run_id = await accept(store, "a")
        begun = await begin(store)
        commits = committed(store)
        run = (await store.finish(begun.attempt, FAILED, Exit(1), Output(), at_ms=10, wait=RETRY_AT_100)).run
        assert committed(store) == commits + 1
        assert (run.status, run.waiting_for, run.completed_at_ms) == (ProcessStatus.QUEUED, RETRY_AT_100, None)
        again = (await store.finish(begun.attempt, DONE, Exit(0), Output(), at_ms=11)).run
        assert (again.status, again.waiting_for) == (ProcessStatus.QUEUED, RETRY_AT_100)
        due = await store.claim(claim(5, at_ms=100))
        assert [started.attempt.id for started in due.started] == [f"{run_id}:2"]

    stores.use(use)


def test_a_clock_that_was_set_back_makes_no_wait_longer_than_it_was(stores: Stores) -> None:
    async def use(store: OpenStore) -> None:
        await accept(store, "a")
        begun = await begin(store)
        wait = TimeWait(until_ms=5_000_090, whole_ms=90, why="retry")
        await store.finish(begun.attempt, FAILED, Exit(1), Output(), at_ms=5_000_000, wait=wait)
        await store.shorten_waits(1_000)
        assert (await run_of(store, "run-a")).waiting_for == TimeWait(1_090, 90, "retry")
        await store.shorten_waits(1_080)  # a second restart
        assert (await run_of(store, "run-a")).waiting_for == TimeWait(1_090, 90, "retry")

    stores.use(use)


def test_a_run_that_never_started_keeps_its_place(stores: Stores) -> None:
    async def use(store: OpenStore) -> None:
        for name in "abc":
            await accept(store, name)
        assert ids(await store.claim(claim(2))) == ["run-a", "run-b"]
        for run_id in ("run-b", "run-a"):
            assert await store.requeue(run_id, at_ms=3)
        assert not await store.requeue("run-a", at_ms=3)  # it is not running
        assert ids(await store.claim(claim(3))) == ["run-a", "run-b", "run-c"]

    stores.use(use)


def test_the_fence_grows_with_each_attempt_and_one_that_never_started_gives_it_back(stores: Stores) -> None:
    async def use(store: OpenStore) -> None:
        await accept(store, "a")
        begun = await begin(store)
        fences = [begun.fence]
        await store.requeue("run-a", at_ms=3)
        begun = await begin(store)
        assert begun.fence == fences[0] > 0
        await store.finish(begun.attempt, FAILED, Exit(1), Output(), at_ms=10, wait=RETRY_AT_100)
        await accept(store, "b")
        fences.append((await begin(store, "run-b")).fence)
        (begun,) = (await store.claim(claim(at_ms=200))).started
        fences.append(begun.fence)
        await store.finish(begun.attempt, FAILED, Exit(1), Output(), at_ms=210)
        await store.retry("run-a", at_ms=220)
        fences.append((await begin(store, "run-a")).fence)
        assert fences == sorted(set(fences))

    stores.use(use)


def test_a_canceled_run_waits_for_nothing_and_a_retry_of_it_starts_at_once(stores: Stores) -> None:
    async def use(store: OpenStore) -> None:
        await accept(store, "a")
        begun = await begin(store)
        await store.finish(begun.attempt, FAILED, Exit(1), Output(), at_ms=10, wait=RETRY_AT_100)
        canceled = await store.cancel_queued("run-a", at_ms=11)
        assert canceled is not None
        assert (canceled.status, canceled.waiting_for) == (ProcessStatus.CANCELED, None)
        assert ids(await store.claim(claim(5, at_ms=200))) == []
        assert await store.retry("run-a", at_ms=12) is not None
        assert await store.retry("run-a", at_ms=12) is None  # it is queued
        assert [s.attempt.number for s in (await store.claim(claim(5, at_ms=13))).started] == [2]

    stores.use(use)
