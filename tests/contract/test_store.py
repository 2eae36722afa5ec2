"""What every store promises, in sentences that name none. A second adapter is another entry of `store_rig.OPENERS`."""

import asyncio
from dataclasses import replace

import pytest
from store_rig import DONE, FAILED, STEP, Stores, accept, begin, claim, committed, forget_before, ids, new_event, run_of

from flowd.domain.definition import Definition
from flowd.domain.errors import EventNotFoundError, InvalidParamsError, QueueFullError
from flowd.domain.exit import Exit
from flowd.domain.filters import EventFilter, RunFilter
from flowd.domain.journal import Interest
from flowd.domain.queueing import NewRun
from flowd.domain.run import ProcessStatus, Reason
from flowd.domain.stored import NewEvent, Output
from flowd.domain.waiting import MissedStep, PackageWait, TimeWait
from flowd.ports import OpenStore

RETRY_AT_100 = TimeWait(until_ms=100, whole_ms=90, why="retry")


# --- accepting and starting ------------------------------------------------------------------------------------------


def test_accepting_twice_creates_once_and_tells_a_conflict(stores: Stores) -> None:
    async def use(store: OpenStore) -> None:
        first = await store.accept(new_event("e"), [NewRun("r", STEP)], at_ms=1)
        again = await store.accept(new_event("e"), [NewRun("other", STEP)], at_ms=2)
        other = await store.accept(new_event("e", fingerprint=b"1"), [], at_ms=2)
        assert (first.is_duplicate, again.is_duplicate, again.is_conflict, other.is_conflict) == (
            False,
            True,
            False,
            True,
        )
        assert again.event.run_ids == ("r",)
        counts = await store.counts()
        assert (counts.events, counts.runs["queued"]) == (1, 1)

    stores.use(use)


def test_what_was_acknowledged_is_there_after_a_reopening(stores: Stores) -> None:
    async def fill(store: OpenStore) -> None:
        await asyncio.gather(*(accept(store, str(n)) for n in range(300)))

    async def look(store: OpenStore) -> None:
        assert (await store.counts()).runs["queued"] == 300
        assert len((await store.claim(claim(400))).started) == 300

    stores.use(fill)
    stores.use(look)


def test_a_run_begins_once_and_finishes_once(stores: Stores) -> None:
    async def use(store: OpenStore) -> None:
        run_id = await accept(store, "a")
        begun = await begin(store, run_id)
        assert (await store.claim(claim())).started == ()
        first = (await store.finish(begun.attempt, DONE, Exit(0), Output(b"out", b"", 3, 0), at_ms=3)).run
        again = (await store.finish(begun.attempt, FAILED, Exit(1), Output(), at_ms=4)).run
        assert first.status is again.status is ProcessStatus.COMPLETED
        assert await store.output(run_id, 1) == Output(b"out", b"", 3, 0)
        assert (await store.counts()).runs == {"queued": 0, "running": 0, "completed": 1, "failed": 0, "canceled": 0}

    stores.use(use)


def test_a_late_outcome_of_an_earlier_attempt_does_not_touch_the_run(stores: Stores) -> None:
    async def use(store: OpenStore) -> None:
        run_id = await accept(store, "a")
        first = await begin(store, run_id)
        await store.finish(first.attempt, FAILED, Exit(1), Output(), at_ms=3)
        await store.retry(run_id, at_ms=4)
        second = await begin(store, run_id)
        late = (await store.finish(first.attempt, DONE, Exit(0), Output(), at_ms=5)).run
        assert (late.status, late.attempt_count) == (ProcessStatus.RUNNING, 2)
        assert second.attempt.id == "run-a:2"

    stores.use(use)


def test_requeueing_forgets_the_attempt_that_never_was(stores: Stores) -> None:
    async def use(store: OpenStore) -> None:
        run_id = await accept(store, "a")
        await begin(store, run_id)
        assert await store.requeue(run_id, at_ms=3)
        run = await store.run(run_id)
        assert run is not None
        assert (run.status, run.attempt_count, run.attempts, run.started_at_ms) == (ProcessStatus.QUEUED, 0, (), None)
        assert (await begin(store, run_id)).attempt.number == 1

    stores.use(use)


def test_a_run_shows_what_its_last_attempt_was_made_with_also_where_another_was_forgotten(stores: Stores) -> None:
    async def use(store: OpenStore) -> None:
        run_id = await accept(store, "a")
        first = await begin(store, run_id)
        await store.finish(first.attempt, FAILED, Exit(1), Output(), at_ms=3)
        await store.retry(run_id, at_ms=4)
        edited = replace(STEP, flow_version=2, package_hash="sha256:2")
        await store.claim(claim(definition_of=lambda *_: edited))
        assert await store.requeue(run_id, at_ms=5)
        run = await run_of(store, run_id)
        assert (run.attempt_count, run.flow_version, run.package_hash) == (1, 1, STEP.package_hash)

    stores.use(use)


def test_cancel_reaches_queued_runs_only(stores: Stores) -> None:
    async def use(store: OpenStore) -> None:
        running, queued = await accept(store, "a"), await accept(store, "b")
        await begin(store, running)
        canceled = await store.cancel_queued(queued, at_ms=3)
        assert canceled is not None
        assert canceled.status is ProcessStatus.CANCELED
        assert await store.cancel_queued(running, at_ms=3) is None
        assert await store.request_cancel(running, at_ms=3)
        assert not await store.request_cancel(queued, at_ms=3)
        (left,) = await store.left_running()
        assert left.run.cancel_requested
        assert (left.attempt.id, left.definition) == (running, STEP)
        assert not await store.requeue(running, at_ms=4)  # nobody would start it to end it
        assert (await store.claim(claim())).started == ()

    stores.use(use)


def test_a_full_queue_refuses_and_stores_nothing_but_still_knows_duplicates(stores: Stores) -> None:
    async def use(store: OpenStore) -> None:
        await accept(store, "a")
        with pytest.raises(QueueFullError, match="max_queued is 1"):
            await accept(store, "b")
        assert await store.event("event-b") is None
        assert (await store.accept(new_event("event-a"), [NewRun("x", STEP)], at_ms=1)).is_duplicate
        with pytest.raises(EventNotFoundError):
            await store.add_runs("event-b", [NewRun("r", STEP)], at_ms=1)

    stores.use(use, max_queued=1)


def test_pages_stay_right_while_rows_are_added(stores: Stores) -> None:
    async def use(store: OpenStore) -> None:
        for n in range(6):
            await accept(store, str(n))
        first = await store.runs(RunFilter(), limit=4, cursor=None)
        await accept(store, "new")
        second = await store.runs(RunFilter(), limit=4, cursor=first.next_cursor)
        assert [run.id for run in (*first.items, *second.items)] == [f"run-{n}" for n in range(5, -1, -1)]
        assert second.next_cursor is None
        with pytest.raises(InvalidParamsError):
            await store.runs(RunFilter(), limit=4, cursor="e3")

    stores.use(use)


def test_a_page_of_large_events_ends_early_and_goes_on(stores: Stores) -> None:
    async def use(store: OpenStore) -> None:
        for n in range(5):
            large = NewEvent(f"e{n}", "t", None, None, "now", b'{"payload":"%b"}' % (b"x" * 1_500_000), b"")
            await store.accept(large, [], at_ms=1)
        page = await store.events(EventFilter(), limit=50, cursor=None)
        assert [event.id for event in page.items] == ["e4", "e3"]
        rest = await store.events(EventFilter(), limit=50, cursor=page.next_cursor)
        assert [event.id for event in rest.items] == ["e2", "e1"]

    stores.use(use)


def test_what_is_old_and_has_ended_is_forgotten_and_nothing_else(stores: Stores) -> None:
    removed: list[str] = []

    async def prune(store: OpenStore, *, dry_run: bool = False) -> tuple[int, int, int]:
        done = await forget_before(store, 100, dry_run=dry_run, remove_output=removed.append)
        return done.events, done.runs, done.output_bytes

    async def end(store: OpenStore, run_id: str, *, at_ms: int, output: Output) -> None:
        begun = await begin(store, run_id)
        await store.finish(begun.attempt, FAILED, Exit(1), output, at_ms=at_ms)

    async def use(store: OpenStore) -> None:
        later = TimeWait(10_000, 10_000, "delay")
        await store.accept(new_event("event-queued"), [NewRun("run-queued", STEP, wait=later)], at_ms=1)
        for name in ("inline", "files", "late", "retried", "newest"):
            await accept(store, name)
        await end(store, "run-inline", at_ms=3, output=Output(b"out", b"", 3, 0))
        for name, at_ms in (("files", 3), ("late", 500), ("retried", 3), ("newest", 3)):
            await end(store, f"run-{name}", at_ms=at_ms, output=Output(None, b"", 70_000, 0))
        await store.accept(new_event("unmatched"), [], at_ms=1)
        await store.accept(new_event("young"), [], at_ms=500)
        await store.retry("run-retried", at_ms=4)
        before = await store.journal(Interest(), after=0, limit=100)

        assert await prune(store, dry_run=True) == (3, 2, 70_003)
        assert (await store.counts()).events == 8
        assert removed == []
        assert await prune(store) == (3, 2, 70_003)
        assert await prune(store) == (0, 0, 0)

        assert removed == ["run-files"]
        page = await store.events(EventFilter(), limit=50, cursor=None)
        kept = ["young", "event-newest", "event-retried", "event-late", "event-queued"]
        assert [event.id for event in page.items] == kept
        counts = await store.counts()
        assert (counts.events, counts.runs["failed"], counts.runs["queued"]) == (5, 2, 2)
        assert await store.run("run-inline") is None
        after = await store.journal(Interest(), after=0, limit=100)
        assert [entry.cursor for entry in after.entries] == [
            entry.cursor
            for entry in before.entries
            if (entry.event.id if entry.event else entry.run.event_id if entry.run else "") in kept
        ]
        again = await store.accept(new_event("event-files"), [NewRun("run-files", STEP)], at_ms=600)
        assert not again.is_duplicate

    stores.use(use)


# --- the queue -------------------------------------------------------------------------------------------------------


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


# --- definitions -----------------------------------------------------------------------------------------------------

EDITED = Definition("flow", 2, "/flow", "sha256:1", "step", "python", "run.py", 2000, 100)


def test_each_attempt_has_the_definition_in_force_at_its_start_and_the_run_shows_the_last(stores: Stores) -> None:
    async def use(store: OpenStore) -> None:
        await accept(store, "a")
        assert (await run_of(store, "run-a")).package_hash == "sha256:0"
        assert await store.definition("run-a") is None
        begun = await begin(store)
        assert begun.definition == await store.definition("run-a") == STEP
        await store.finish(begun.attempt, FAILED, Exit(1), Output(), at_ms=3)
        await store.retry("run-a", at_ms=4)
        (second,) = (await store.claim(claim(1, definition_of=lambda *_: EDITED))).started
        assert second.definition == await store.definition("run-a") == EDITED
        run = await run_of(store, "run-a")
        assert [attempt.package_hash for attempt in run.attempts] == ["sha256:0", "sha256:1"]
        assert (run.package_hash, run.flow_version, run.runner) == ("sha256:1", 2, "python")
        assert {definition.id for definition in await store.definitions()} == {STEP.id, EDITED.id}
        (left,) = await store.left_running()
        assert left.definition == EDITED
        assert await store.definition("no such run") is None

    stores.use(use)


def test_since_when_a_step_is_gone_is_remembered_as_long_as_runs_wait_for_it(stores: Stores) -> None:
    async def use(store: OpenStore) -> None:
        for name in ("a", "b"):
            await accept(store, name)
        await store.claim(claim(2, definition_of=lambda *_: None))
        before = [await run_of(store, f"run-{name}") for name in ("a", "b")]
        await store.note_removed("other", "step", 6)
        assert await store.steps_missed() == [MissedStep("flow", "step")]
        await store.note_removed("flow", "step", 7)
        assert await store.steps_missed() == [MissedStep("flow", "step", 7)]
        assert [await run_of(store, f"run-{name}") for name in ("a", "b")] == before
        await store.note_removed("flow", "step", None)
        assert await store.steps_missed() == [MissedStep("flow", "step")]
        await store.note_removed("flow", "step", 8)
        await store.end_package_wait("flow", "step", at_ms=9)
        await store.claim(claim(2, definition_of=lambda *_: None))
        assert await store.steps_missed() == [MissedStep("flow", "step")]

    stores.use(use)


def test_a_run_without_its_step_waits_for_its_package_and_holds_up_nobody(stores: Stores) -> None:
    other = Definition("other", 1, "/other", "sha256:0", "step", "exec", "run.sh", 1000, 100)

    async def use(store: OpenStore) -> None:
        await accept(store, "a")
        await store.accept(new_event("e"), [NewRun("b", other)], at_ms=1)
        found = await store.claim(claim(1, definition_of=lambda flow, _: other if flow == "other" else None))
        assert (ids(found), found.is_missing_package) == (["b"], True)
        assert (await run_of(store, "run-a")).waiting_for == PackageWait("flow")
        assert await store.steps_missed() == [MissedStep("flow", "step")]
        assert (await store.claim(claim(1))).started == ()
        await accept(store, "c")
        assert await store.end_package_wait("flow", "step", at_ms=5) == 1
        assert await store.end_package_wait("flow", "step", at_ms=5) == 0
        assert await store.steps_missed() == []
        assert ids(await store.claim(claim(5))) == ["run-c", "run-a"]

    stores.use(use)


def test_a_run_whose_step_was_removed_fails_unstarted_and_can_be_retried(stores: Stores) -> None:
    async def use(store: OpenStore) -> None:
        await accept(store, "a")
        await store.claim(claim(1, definition_of=lambda *_: None))
        (ended,) = await store.fail_removed("flow", "step", at_ms=7)
        assert (ended.status, ended.reason, ended.attempt_count, ended.completed_at_ms) == (
            ProcessStatus.FAILED,
            Reason.STEP_REMOVED,
            0,
            7,
        )
        assert "flow/step" in str(ended.error)
        assert await store.fail_removed("flow", "step", at_ms=7) == []
        assert await store.retry("run-a", at_ms=8) is not None
        assert ids(await store.claim(claim())) == ["run-a"]

    stores.use(use)


def test_a_definition_is_forgotten_with_its_last_attempt(stores: Stores) -> None:
    async def use(store: OpenStore) -> None:
        for name, definition in (("a", STEP), ("b", EDITED), ("c", EDITED)):
            await accept(store, name)
            (begun,) = (await store.claim(claim(1, definition_of=lambda *_, it=definition: it))).started  # type: ignore[misc]
            await store.finish(begun.attempt, DONE, Exit(0), Output(), at_ms=3)
        await forget_before(store, 100)
        assert await store.run("run-b") is None
        assert [definition.id for definition in await store.definitions()] == [EDITED.id]  # the newest run is kept

    stores.use(use)


# --- nonces ----------------------------------------------------------------------------------------------------------


def test_a_nonce_counts_once_until_it_expires(stores: Stores) -> None:
    async def use(store: OpenStore) -> None:
        assert await store.remember_nonce("n", 10, 20)
        assert not await store.remember_nonce("n", 19, 30)
        assert await store.remember_nonce("n", 21, 40)

    stores.use(use)
