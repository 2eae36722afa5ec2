"""What every store promises of times: delays, instants, quiet, and how long runs stand in the queue."""

from dataclasses import replace

import pytest
from store_rig import DONE, FAILED, STEP, Stores, claim, forget_before, ids, new_event, run_of

from flowd.domain.concurrency import WantedKey
from flowd.domain.exit import Exit
from flowd.domain.pauses import Paused
from flowd.domain.people import Person
from flowd.domain.queueing import NewRun, QueueBounds, SideEffects
from flowd.domain.run import ProcessStatus, Reason, Run
from flowd.domain.stored import NewEventRuns, Output
from flowd.domain.timing import Burst, Timing, WantedQuiet
from flowd.domain.waiting import KeyWait, NeedsWait, PauseWait, TimeWait
from flowd.ports import OpenStore

ME = Person("socket", 0, "me")


def timed(name: str, timing: Timing | None, **more: object) -> NewRun:
    return NewRun(name, replace(STEP, step_name=name), timing=timing, **more)  # type: ignore[arg-type]


async def accept(store: OpenStore, *runs: NewRun, at_ms: int = 1, event: str = "e") -> tuple[Run, ...]:
    return (await store.accept(new_event(event), list(runs), at_ms=at_ms)).runs


async def end(store: OpenStore, run_id: str, at_ms: int, *, is_well: bool = True) -> None:
    """Start the run, which must be the next one, and let it end."""
    (started,) = (await store.claim(claim(1, at_ms=at_ms))).started
    assert started.run.id == run_id
    outcome, code = (DONE, 0) if is_well else (FAILED, 1)
    await store.finish(started.attempt, outcome, Exit(code), Output(), at_ms=at_ms)


async def claimed(store: OpenStore, at_ms: int, limit: int = 9) -> list[str]:
    return ids(await store.claim(claim(limit, at_ms=at_ms)))


# --- delays and instants ---------------------------------------------------------------------------------------------


def test_a_delay_begins_when_the_run_is_made_and_when_its_last_need_has_ended(stores: Stores) -> None:
    async def use(store: OpenStore) -> None:
        first, _ = await accept(
            store, timed("first", Timing(delay_ms=50)), timed("then", Timing(delay_ms=30), needs=("first",)), at_ms=10
        )
        assert first.waiting_for == TimeWait(60, 50, "delay")
        early = await store.claim(claim(9, at_ms=59))
        assert (ids(early), early.next_due_ms) == ([], 60)
        assert (await run_of(store, "then")).waiting_for == NeedsWait(("first",))
        await end(store, "first", 70)
        assert (await run_of(store, "then")).waiting_for == TimeWait(100, 30, "delay")
        assert await claimed(store, 99) == []
        assert await claimed(store, 100) == ["then"]

    stores.use(use)


def test_an_instant_goes_by_the_wall_clock_and_a_delay_by_the_steady_one(stores: Stores) -> None:
    async def use(store: OpenStore) -> None:
        await accept(store, timed("late", Timing(not_before_ms=5_000)))
        assert (await run_of(store, "late")).waiting_for == TimeWait(5_000, 0, "notBefore")
        early = await store.claim(claim(9, at_ms=4_000, steady_ms=90_000))
        assert (ids(early), early.next_due_ms) == ([], 91_000)
        assert ids(await store.claim(claim(9, at_ms=5_000, steady_ms=2))) == ["late"]

    stores.use(use)


def test_whoever_waits_for_an_instant_looks_at_the_clock_now_and_then(stores: Stores) -> None:
    async def use(store: OpenStore) -> None:
        year_ms = 365 * 86_400_000
        await accept(store, timed("late", Timing(not_before_ms=year_ms)))
        assert (await store.claim(claim(9, at_ms=7))).next_due_ms == 10_007
        assert await claimed(store, year_ms) == ["late"], "somebody has set the clock a year ahead"
        assert (await store.claim(claim(9, at_ms=8))).next_due_ms is None

    stores.use(use)


def test_a_run_waits_for_its_delay_and_for_the_instant_whichever_comes_last(stores: Stores) -> None:
    async def use(store: OpenStore) -> None:
        await accept(store, timed("a", Timing(delay_ms=50, not_before_ms=100)), at_ms=10)
        assert await claimed(store, 60) == []
        assert (await run_of(store, "a")).waiting_for == TimeWait(100, 0, "notBefore")
        assert await claimed(store, 100) == ["a"]
        await accept(store, timed("b", Timing(delay_ms=500, not_before_ms=120)), at_ms=110, event="e2")
        assert await claimed(store, 609) == []
        assert await claimed(store, 610) == ["b"]

    stores.use(use)


def test_times_outlive_a_restart_and_a_clock_that_was_set_back_makes_no_delay_longer(stores: Stores) -> None:
    async def fill(store: OpenStore) -> None:
        await accept(
            store,
            timed("delayed", Timing(delay_ms=50)),
            timed("late", Timing(not_before_ms=9_000_000)),
            timed("first", Timing(queue_timeout_ms=300)),
            at_ms=5_000_000,
        )

    async def look(store: OpenStore) -> None:
        await store.shorten_waits(1_000)
        assert (await run_of(store, "delayed")).waiting_for == TimeWait(1_050, 50, "delay")
        assert (await run_of(store, "late")).waiting_for == TimeWait(9_000_000, 0, "notBefore")
        assert (await store.claim(claim(0, at_ms=1_060))).next_due_ms == 1_300
        assert await claimed(store, 1_070) == ["first", "delayed"]
        assert await claimed(store, 9_000_000) == ["late"]

    stores.use(fill)
    stores.use(look)


def test_a_run_that_waits_for_its_time_counts_as_waiting_and_a_caller_is_told_when_to_come(stores: Stores) -> None:
    told: list[SideEffects] = []

    async def use(store: OpenStore) -> None:
        store.tell_side_effects(told.append)
        await accept(store, timed("a", Timing(delay_ms=50)), timed("b", Timing(delay_ms=20)), at_ms=10)
        view = await store.queue(limit=10, cursor=None)
        assert (view.ready, view.waiting) == (0, 2)
        await accept(store, timed("c", Timing(not_before_ms=90)), at_ms=10, event="e2")
        assert [(depth.waits_for, depth.runs) for depth in await store.depths()] == [("time", 3)]

    stores.use(use)
    assert [effects.next_due_ms for effects in told] == [30, 90]


def test_a_persons_retry_starts_at_once_and_what_is_below_waits_anew(stores: Stores) -> None:
    async def use(store: OpenStore) -> None:
        await accept(
            store, timed("first", Timing(delay_ms=50)), timed("then", Timing(delay_ms=30), needs=("first",)), at_ms=10
        )
        await store.claim(claim(0, at_ms=60))
        await end(store, "first", 60, is_well=False)
        await store.retry("first", at_ms=70)
        await end(store, "first", 71)
        assert (await run_of(store, "then")).waiting_for == TimeWait(101, 30, "delay")

    stores.use(use)


def test_what_waits_for_its_time_comes_to_pauses_and_keys_behind_it(stores: Stores) -> None:
    async def use(store: OpenStore) -> None:
        key = WantedKey("g", "[]")
        await accept(store, timed("a", None, key=key), timed("b", Timing(delay_ms=50), key=key), at_ms=10)
        await store.begin_pause(Paused("flow", "b"), ME, at_ms=20)
        assert await claimed(store, 60) == ["a"]
        assert (await run_of(store, "b")).waiting_for == PauseWait("flow/b")
        await store.end_pause(Paused("flow", "b"))
        await store.let_go(Paused("flow", "b"), 0, at_ms=70)
        assert isinstance((await run_of(store, "b")).waiting_for, KeyWait)

    stores.use(use)


def test_events_that_are_caused_wait_for_their_time_too(stores: Stores) -> None:
    async def use(store: OpenStore) -> None:
        await accept(store, timed("cause", None))
        (started,) = (await store.claim(claim(1, at_ms=2))).started
        quiet = WantedQuiet("[]", 40)
        news = [
            NewEventRuns(new_event(name), (timed(f"{name}-late", Timing(delay_ms=50)), debounced(f"{name}-q", quiet)))
            for name in ("x", "y")
        ]
        await store.finish(started.attempt, DONE, Exit(0), Output(), at_ms=10, follows=news)
        assert (await run_of(store, "x-q")).reason is Reason.SUPERSEDED
        assert await claimed(store, 50) == ["y-q"]
        assert await claimed(store, 60) == ["x-late", "y-late"]

    stores.use(use)


# --- how long in the queue -------------------------------------------------------------------------------------------


def test_a_run_that_has_waited_too_long_for_a_place_fails_unstarted(stores: Stores) -> None:
    told: list[SideEffects] = []

    async def use(store: OpenStore) -> None:
        store.tell_side_effects(told.append)
        timing = Timing(queue_timeout_ms=100)
        await accept(
            store,
            timed("a", timing),
            timed("after", None, needs=("a",), when="failure"),
            timed("never", None, needs=("a",)),
            at_ms=10,
        )
        assert (await store.claim(claim(0, at_ms=109))).next_due_ms == 110
        assert await claimed(store, 110) == ["after"]
        failed = await run_of(store, "a")
        assert (failed.status, failed.reason, failed.attempt_count) == (ProcessStatus.FAILED, Reason.QUEUE_TIMEOUT, 0)
        assert failed.error == "Step flow/a was not started: it had waited 100 ms for its turn (queue_timeout_ms)"
        assert (await run_of(store, "never")).reason is Reason.NEEDS_NOT_MET
        assert (await store.claim(claim(0, at_ms=900))).next_due_ms is None

    stores.use(use)
    assert told[0].next_due_ms == 110
    assert [run.id for effects in told for run in effects.ended] == ["a", "never"]


def test_waiting_for_a_key_counts_and_needs_times_pauses_and_packages_do_not(stores: Stores) -> None:
    async def use(store: OpenStore) -> None:
        key = WantedKey("g", "[]")
        await accept(
            store,
            timed("holder", None, key=key),
            timed("b", Timing(delay_ms=500, queue_timeout_ms=100), key=key, needs=("first",)),
            timed("first", None),
            at_ms=10,
        )
        started = (await store.claim(claim(2, at_ms=11))).started
        (first,) = (one for one in started if one.run.id == "first")
        await store.finish(first.attempt, DONE, Exit(0), Output(), at_ms=1_000)
        assert (await store.claim(claim(0, at_ms=1_499))).next_due_ms == 1_500
        assert (await store.claim(claim(0, at_ms=1_500))).next_due_ms == 1_600  # at the key
        await store.begin_pause(Paused("flow", "b"), ME, at_ms=1_560)
        await store.take_back(Paused("flow", "b"), 0, at_ms=1_560)
        assert (await store.claim(claim(0, at_ms=9_000))).next_due_ms is None
        await store.end_pause(Paused("flow", "b"))
        await store.let_go(Paused("flow", "b"), 0, at_ms=10_000)
        assert (await store.claim(claim(0, at_ms=10_039))).next_due_ms == 10_040  # what was left of it
        await store.claim(claim(0, at_ms=10_040))
        assert (await run_of(store, "b")).reason is Reason.QUEUE_TIMEOUT

    stores.use(use)


def test_the_time_in_the_queue_is_whole_again_for_each_attempt_and_stops_with_the_start(stores: Stores) -> None:
    async def use(store: OpenStore) -> None:
        await accept(store, timed("a", Timing(queue_timeout_ms=100)), at_ms=10)
        (started,) = (await store.claim(claim(1, at_ms=100))).started
        assert (await store.claim(claim(0, at_ms=900))).next_due_ms is None
        wait = TimeWait(2_000, 1_000, "retry", 3)
        await store.finish(started.attempt, FAILED, Exit(1), Output(), at_ms=1_000, wait=wait)
        assert (await store.claim(claim(0, at_ms=2_000))).next_due_ms == 2_100
        await store.claim(claim(0, at_ms=2_100))
        failed = await run_of(store, "a")
        assert (failed.reason, failed.attempt_count, failed.exit_code) == (Reason.QUEUE_TIMEOUT, 1, None)
        await store.retry("a", at_ms=3_000)
        assert (await store.claim(claim(0, at_ms=3_001))).next_due_ms == 3_100

    stores.use(use)


def test_what_never_started_waits_anew(stores: Stores) -> None:
    async def use(store: OpenStore) -> None:
        await accept(store, timed("a", Timing(queue_timeout_ms=100)), at_ms=10)
        assert await claimed(store, 20) == ["a"]
        await store.requeue("a", at_ms=500)
        assert (await store.claim(claim(0, at_ms=501))).next_due_ms == 600

    stores.use(use)


def test_a_run_whose_time_nobody_holds_while_it_waits_for_something_else_keeps_nobody_busy(stores: Stores) -> None:
    async def use(store: OpenStore) -> None:
        await accept(store, timed("a", Timing(queue_timeout_ms=100)), at_ms=10)
        # As a host does that is not up to date yet.
        await store._writer.do(lambda db: db.execute("UPDATE runs SET waits_for = 'package'"))  # type: ignore[attr-defined]
        assert (await store.claim(claim(0, at_ms=500))).next_due_ms is None
        assert (await run_of(store, "a")).status is ProcessStatus.QUEUED

    stores.use(use)


# --- quiet -----------------------------------------------------------------------------------------------------------


def debounced(name: str, quiet: WantedQuiet) -> NewRun:
    return NewRun(name, replace(STEP, waits_for_quiet=True), timing=Timing(quiet=quiet))


async def burst_of(store: OpenStore, run_id: str, at_ms: int) -> Burst:
    """Of the run, which must be the only one that starts at this instant."""
    definition = replace(STEP, waits_for_quiet=True)
    (started,) = (await store.claim(claim(9, at_ms=at_ms, definition_of=lambda *_: definition))).started
    assert started.run.id == run_id
    assert started.burst is not None
    return started.burst


def test_the_last_of_several_events_stands_for_all_once_it_is_quiet(stores: Stores) -> None:
    async def use(store: OpenStore) -> None:
        quiet = WantedQuiet('["x"]', 50)
        for name, at_ms in (("a", 10), ("b", 40), ("c", 80)):
            (run,) = await accept(store, debounced(name, quiet), at_ms=at_ms, event=f"event-{name}")
            assert run.waiting_for == TimeWait(at_ms + 50, 50, "debounce")
        first = await run_of(store, "a")
        assert (first.status, first.reason, first.effective_status) == (
            ProcessStatus.COMPLETED,
            Reason.SUPERSEDED,
            "skipped",
        )
        assert await claimed(store, 129) == []
        assert await burst_of(store, "c", 130) == Burst(("event-a", "event-b"), 2)
        await accept(store, debounced("d", quiet), at_ms=131, event="event-d")
        assert await burst_of(store, "d", 181) == Burst((), 0)

    stores.use(use)


def test_events_of_another_key_and_of_another_step_are_another_burst(stores: Stores) -> None:
    async def use(store: OpenStore) -> None:
        for index, key in enumerate(('["x"]', '["y"]')):
            await accept(store, debounced(key, WantedQuiet(key, 50)), at_ms=10 + index, event=key)
        other = NewRun("other", replace(STEP, step_name="other"), timing=Timing(quiet=WantedQuiet('["x"]', 50)))
        await accept(store, other, at_ms=13, event="other")
        assert await claimed(store, 100) == ['["x"]', '["y"]', "other"]

    stores.use(use)


def test_a_stream_without_quiet_starts_a_run_after_max_ms(stores: Stores) -> None:
    async def use(store: OpenStore) -> None:
        quiet = WantedQuiet("[]", 50, 120)
        for index in range(4):
            await accept(store, debounced(f"r{index}", quiet), at_ms=10 + 40 * index, event=f"e{index}")
        assert (await run_of(store, "r3")).waiting_for == TimeWait(130, 0, "debounce")
        assert await burst_of(store, "r3", 130) == Burst(("e0", "e1", "e2"), 3)

    stores.use(use)


def test_a_burst_goes_on_after_a_restart_and_a_hundred_of_its_events_are_named(stores: Stores) -> None:
    quiet = WantedQuiet("[]", 50)

    async def fill(store: OpenStore) -> None:
        for index in range(60):
            await accept(store, debounced(f"r{index}", quiet), at_ms=10, event=f"e{index}")

    async def go_on(store: OpenStore) -> None:
        for index in range(60, 105):
            await accept(store, debounced(f"r{index}", quiet), at_ms=20, event=f"e{index}")
        burst = await burst_of(store, "r104", 70)
        assert (burst.event_ids, burst.count) == (tuple(f"e{index}" for index in range(100)), 104)
        assert burst.is_truncated

    stores.use(fill)
    stores.use(go_on)


def test_a_canceled_run_takes_its_burst_along(stores: Stores) -> None:
    async def use(store: OpenStore) -> None:
        quiet = WantedQuiet("[]", 50)
        await accept(store, debounced("a", quiet), at_ms=10, event="a")
        await store.cancel_queued("a", at_ms=11)
        await accept(store, debounced("b", quiet), at_ms=12, event="b")
        assert (await run_of(store, "a")).status is ProcessStatus.CANCELED
        assert await burst_of(store, "b", 62) == Burst((), 0)

    stores.use(use)


def test_what_needs_a_superseded_run_goes_by_its_when(stores: Stores) -> None:
    async def use(store: OpenStore) -> None:
        quiet = WantedQuiet("[]", 50)
        for name in "ab":
            runs = [
                NewRun(f"{name}1", replace(STEP, step_name="head"), timing=Timing(quiet=quiet)),
                NewRun(f"{name}2", replace(STEP, step_name="tail"), needs=("head",)),
            ]
            await accept(store, *runs, at_ms=10, event=name)
        assert (await run_of(store, "a2")).reason is Reason.NEEDS_NOT_MET
        assert (await run_of(store, "b2")).waiting_for == NeedsWait(("head",))

    stores.use(use)


def test_a_burst_is_forgotten_with_its_event(stores: Stores) -> None:
    async def use(store: OpenStore) -> None:
        quiet = WantedQuiet("[]", 5)
        for name in "abc":
            await accept(store, debounced(name, quiet), at_ms=10, event=name)
        await end(store, "c", 20)
        await accept(store, timed("newest", None), at_ms=21, event="newest")
        assert (await forget_before(store, 1_000_000)).events == 3

    stores.use(use)


def test_more_than_may_wait_are_refused_and_those_whose_time_is_over_do_not_count_as_waiting(stores: Stores) -> None:
    assert QueueBounds(1).max_waiting > 1

    async def use(store: OpenStore) -> None:
        await accept(store, timed("a", Timing(delay_ms=5)), at_ms=1)
        with pytest.raises(Exception, match="max_waiting is 1"):
            await accept(store, timed("b", Timing(delay_ms=5)), at_ms=2, event="e2")
        await store.claim(claim(0, at_ms=6))
        await accept(store, timed("b", Timing(delay_ms=5)), at_ms=7, event="e2")

    stores.use(use, max_waiting=1)
