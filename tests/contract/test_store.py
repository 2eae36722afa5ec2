"""What every store promises, in sentences that name none. A second adapter is another entry of `store_rig.OPENERS`."""

import asyncio
from dataclasses import replace

import pytest
from store_rig import DONE, FAILED, STEP, Stores, accept, begin, claim, forget_before, new_event, run_of

from flowd.domain.errors import EventNotFoundError, InvalidParamsError, QueueFullError
from flowd.domain.exit import Exit
from flowd.domain.filters import EventFilter, RunFilter
from flowd.domain.journal import Interest
from flowd.domain.queueing import NewRun
from flowd.domain.run import ProcessStatus
from flowd.domain.stored import NewEvent, Output
from flowd.domain.waiting import TimeWait
from flowd.ports import OpenStore


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


def test_a_nonce_counts_once_until_it_expires(stores: Stores) -> None:
    async def use(store: OpenStore) -> None:
        assert await store.remember_nonce("n", 10, 20)
        assert not await store.remember_nonce("n", 19, 30)
        assert await store.remember_nonce("n", 21, 40)

    stores.use(use)
