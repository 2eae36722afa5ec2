"""What every store promises of what runs cause, in sentences that name none."""

import json
from dataclasses import replace
from unittest.mock import ANY

import pytest
from store_rig import DONE, FAILED, STEP, Stores, accept, begin, claim, forget_before, ids, new_event

from flowd.domain.concurrency import WantedKey
from flowd.domain.errors import CauseCanceledError, ChainLimitError, InvalidParamsError
from flowd.domain.exit import Exit
from flowd.domain.filters import EventFilter, RunFilter
from flowd.domain.outcome import Outcome
from flowd.domain.queueing import NewRun, StartedRun
from flowd.domain.result import FlowResult
from flowd.domain.run import ProcessStatus, Reason, Run
from flowd.domain.stored import Accepted, NewEventRuns, Output, StoredEvent
from flowd.domain.trees import MAX_DEPTH, CausedBy
from flowd.ports import OpenStore

ASKS = Outcome(ProcessStatus.COMPLETED, result=FlowResult("blocked", '{"status":"blocked"}'), exit_code=0)


def follow(event_id: str, *, runs: int = 1, fingerprint: bytes = b"0", body: bytes = b'{"payload":{}}') -> NewEventRuns:
    """An event to cause, with runs whose ids are made of its own."""
    event = replace(new_event(event_id, fingerprint=fingerprint), body=body)
    return NewEventRuns(event, tuple(NewRun(f"run of {event_id} {n}", STEP) for n in range(runs)))


async def end(store: OpenStore, begun: StartedRun, *follows: NewEventRuns) -> Run:
    return (await store.finish(begun.attempt, DONE, Exit(0), Output(), at_ms=3, follows=follows)).run


async def event_of(store: OpenStore, event_id: str) -> StoredEvent:
    event = await store.event(event_id)
    assert event is not None
    return event


async def replay(store: OpenStore, event_id: str, first: str, name: str) -> StartedRun:
    """A second run of an event's step, begun."""
    await store.add_runs(event_id, [NewRun(name, STEP, replay_of=first)], at_ms=4)
    return await begin(store, name)


async def runs_of(store: OpenStore, event_id: str) -> list[str]:
    page = await store.runs(RunFilter(event_id=event_id), limit=500, cursor=None)
    return [run.id for run in reversed(page.items)]


def test_what_a_run_causes_is_stored_with_its_end_and_knows_its_place(stores: Stores) -> None:
    async def use(store: OpenStore) -> None:
        begun = await begin(store, await accept(store, "a"))
        finished = await store.finish(
            begun.attempt, DONE, Exit(0), Output(), at_ms=3, follows=(follow("x"), follow("y", runs=0)), claim=claim(9)
        )
        assert finished.run.status is ProcessStatus.COMPLETED
        assert finished.claimed is not None
        assert ids(finished.claimed) == ["run of x 0"]
        x, y, a = [await event_of(store, name) for name in ("x", "y", "event-a")]
        assert (x.caused_by, x.root_event_id, x.depth) == (CausedBy("run-a", "event-a"), "event-a", 1)
        assert (y.caused_by, y.run_ids) == (x.caused_by, ())
        assert (a.caused_by, a.root_event_id, a.depth) == (None, None, 0)
        (below,) = finished.claimed.started
        await end(store, below, follow("z"))
        z = await event_of(store, "z")
        assert (z.caused_by, z.root_event_id, z.depth) == (CausedBy("run of x 0", "x"), "event-a", 2)

    stores.use(use)


def test_ending_twice_causes_once(stores: Stores) -> None:
    async def use(store: OpenStore) -> None:
        begun = await begin(store, await accept(store, "a"))
        await end(store, begun, follow("x"))
        await end(store, begun, follow("other"))
        assert await store.event("other") is None
        assert await runs_of(store, "x") == ["run of x 0"]

    stores.use(use)


def test_an_attempt_of_before_causes_nothing(stores: Stores) -> None:
    async def use(store: OpenStore) -> None:
        first = await begin(store, await accept(store, "a"))
        await store.finish(first.attempt, FAILED, Exit(1), Output(), at_ms=3)
        await store.retry("run-a", at_ms=4)
        await begin(store, "run-a")
        await end(store, first, follow("x"))
        assert await store.event("x") is None

    stores.use(use)


def test_a_known_event_keeps_its_first_cause_and_its_content(stores: Stores) -> None:
    async def use(store: OpenStore) -> None:
        first, second = await begin(store, await accept(store, "a")), await begin(store, await accept(store, "b"))
        await end(store, first, follow("x"), follow("event-b"), follow("event-a"))
        ended = await end(store, second, follow("x", fingerprint=b"other"), follow("z"), follow("z", fingerprint=b"2"))
        told = "Step flow/step caused no events x, z: others with these ids and other content are there already"
        assert (ended.effective_status, ended.error) == ("changed", told)
        assert (await store.run("run-b")) == replace(ended, attempts=ANY)
        x = await event_of(store, "x")
        assert x.caused_by == CausedBy("run-a", "event-a")
        assert await runs_of(store, "x") == ["run of x 0"]
        assert [await runs_of(store, f"event-{name}") for name in "ab"] == [["run-a"], ["run-b"]]

    stores.use(use)


def test_a_replay_repeats_what_the_first_round_caused_once_for_each_round_and_with_its_body(stores: Stores) -> None:
    async def use(store: OpenStore) -> None:
        await end(store, await begin(store, await accept(store, "a")), follow("x"))
        await end(store, await begin(store, "run of x 0"), follow("y"))
        await begin(store, "run of y 0")
        again = await replay(store, "event-a", "run-a", "a2")
        await end(store, again, follow("x", fingerprint=b"1", body=b'{"payload":2}'), follow("x"))
        (below,) = (await store.claim(claim(9))).started
        assert (below.run.replay_of, below.event_body) == ("run of x 0", b'{"payload":2}')
        assert (await event_of(store, "x")).body == b'{"payload":{}}'
        await end(store, below, follow("y"))
        (last,) = (await store.claim(claim(9))).started
        assert (last.run.replay_of, last.event_body) == ("run of y 0", b'{"payload":{}}')
        y = await event_of(store, "y")
        assert (y.caused_by, y.depth, len(y.run_ids)) == (CausedBy("run of x 0", "x"), 2, 2)

    stores.use(use)


def test_a_retry_in_the_same_round_causes_nothing_anew(stores: Stores) -> None:
    async def use(store: OpenStore) -> None:
        await end(store, await begin(store, await accept(store, "a")), follow("x"))
        await begin(store, "run of x 0")
        await store.retry("run-a", at_ms=5)
        await end(store, await begin(store, "run-a"), follow("x"), follow("new"))
        assert await runs_of(store, "x") == ["run of x 0"]
        assert (await event_of(store, "new")).caused_by == CausedBy("run-a", "event-a")

    stores.use(use)


def test_a_step_that_is_new_since_then_has_a_first_run_in_the_repeated_round(stores: Stores) -> None:
    async def use(store: OpenStore) -> None:
        await end(store, await begin(store, await accept(store, "a")), follow("x", runs=0))
        await end(store, await replay(store, "event-a", "run-a", "a2"), follow("x"))
        (started,) = (await store.claim(claim(9))).started
        assert (started.run.id, started.run.replay_of) == ("run of x 0", None)

    stores.use(use)


def test_a_run_whose_cancel_was_asked_stands_and_causes_nothing(stores: Stores) -> None:
    async def use(store: OpenStore) -> None:
        begun = await begin(store, await accept(store, "a"))
        await store.request_cancel("run-a", at_ms=3)
        assert (await end(store, begun, follow("x"))).status is ProcessStatus.COMPLETED
        assert await store.event("x") is None

    stores.use(use)


def test_a_chain_ends_where_it_is_too_deep_but_known_events_are_no_chain(stores: Stores) -> None:
    async def use(store: OpenStore) -> None:
        begun = await begin(store, await accept(store, "a"))
        for depth in range(1, MAX_DEPTH + 1):
            await end(store, begun, follow(f"e{depth}"))
            begun = await begin(store)
        await store.retry("run-a", at_ms=5)
        deepest = await event_of(store, f"e{MAX_DEPTH}")
        assert deepest.depth == MAX_DEPTH
        run = await end(store, begun, follow("event-a"), follow("deeper"))
        assert (run.status, run.reason, run.result) == (ProcessStatus.FAILED, Reason.CHAIN_LIMIT, None)
        assert run.reported_result == DONE.result
        assert "no chain goes deeper" in (run.error or "")
        assert await store.event("deeper") is None
        again = await begin(store, "run-a")
        assert (await end(store, again, follow("event-a"))).status is ProcessStatus.COMPLETED

    stores.use(use)


def test_a_tree_has_only_so_many_events_and_what_is_known_counts_once(stores: Stores) -> None:
    async def use(store: OpenStore) -> None:
        begun = await begin(store, await accept(store, "a"))
        many = [follow(f"e{n}", runs=0) for n in range(9_990)]
        await end(store, begun, *many)
        again = await replay(store, "event-a", "run-a", "a2")
        run = await end(store, again, *many, *(follow(f"f{n}", runs=0) for n in range(10)))
        assert (run.reason, await store.event("f0")) == (Reason.CHAIN_LIMIT, None)
        assert "max_tree_events, which is 10000" in (run.error or "")
        third = await replay(store, "event-a", "run-a", "a3")
        assert (await end(store, third, *many, *(follow(f"f{n}", runs=0) for n in range(9)))).reason is None
        assert (await store.counts()).events == 10_000

    stores.use(use)


def test_what_runs_cause_may_fill_the_queue_twice_over_and_no_more(stores: Stores) -> None:
    async def use(store: OpenStore) -> None:
        first, second = await begin(store, await accept(store, "a")), await begin(store, await accept(store, "b"))
        assert (await end(store, first, *(follow(f"x{n}") for n in range(4)))).reason is None
        run = await end(store, second, follow("y"))
        assert (run.reason, await store.event("y")) == (Reason.CHAIN_LIMIT, None)
        assert "twice max_queued" in (run.error or "")

    stores.use(use, max_queued=2)


async def dispatch(store: OpenStore, caller: str, new: NewEventRuns) -> Accepted:
    return await store.accept(new.event, new.runs, at_ms=4, claim=claim(9), caused_by=caller)


def test_what_a_running_step_dispatches_is_caused_by_its_run(stores: Stores) -> None:
    async def use(store: OpenStore) -> None:
        await begin(store, await accept(store, "a"))
        accepted = await dispatch(store, "run-a", follow("x"))
        assert accepted.claimed is not None
        assert ids(accepted.claimed) == ["run of x 0"]
        x = await event_of(store, "x")
        assert accepted.event == x
        assert (x.caused_by, x.root_event_id, x.depth) == (CausedBy("run-a", "event-a"), "event-a", 1)
        assert (await dispatch(store, "run-a", follow("x"))).is_duplicate

    stores.use(use)


def test_a_step_of_a_later_round_repeats_what_it_dispatches(stores: Stores) -> None:
    async def use(store: OpenStore) -> None:
        begun = await begin(store, await accept(store, "a"))
        await dispatch(store, "run-a", follow("x"))
        await end(store, begun)
        await replay(store, "event-a", "run-a", "a2")
        again = await dispatch(store, "a2", follow("x", fingerprint=b"1", body=b'{"payload":2}'))
        assert (again.is_duplicate, again.is_conflict) == (False, False)
        assert again.claimed is not None
        assert [one.event_body for one in again.claimed.started] == [b'{"payload":2}']

    stores.use(use)


def test_a_run_that_does_not_run_causes_nothing_but_the_event_is_taken(stores: Stores) -> None:
    async def use(store: OpenStore) -> None:
        begun = await begin(store, await accept(store, "a"))
        await end(store, begun)
        for number, caller in enumerate(("run-a", "nobody")):
            accepted = await dispatch(store, caller, follow(f"x{number}"))
            assert (accepted.is_cause_idle, accepted.event.caused_by) == (True, None)
            assert len(accepted.runs) == 1

    stores.use(use)


def test_a_step_whose_cancel_was_asked_and_one_too_deep_are_refused(stores: Stores) -> None:
    async def use(store: OpenStore) -> None:
        begun = await begin(store, await accept(store, "a"))
        for depth in range(1, MAX_DEPTH + 1):
            await end(store, begun, follow(f"e{depth}"))
            begun = await begin(store)
        with pytest.raises(ChainLimitError, match="no chain goes deeper"):
            await dispatch(store, begun.run.id, follow("x"))
        await store.request_cancel(begun.run.id, at_ms=5)
        with pytest.raises(CauseCanceledError, match="is being canceled"):
            await dispatch(store, begun.run.id, follow("x"))
        assert await store.event("x") is None

    stores.use(use)


def test_a_tree_is_forgotten_as_a_whole_once_nothing_of_it_is_unfinished_asked_or_young(stores: Stores) -> None:
    async def use(store: OpenStore) -> None:
        await end(store, await begin(store, await accept(store, "a")), follow("x"), follow("y", runs=0))
        below = await begin(store, "run of x 0")
        await end(store, await begin(store, await accept(store, "alone")))
        await end(store, await begin(store, await accept(store, "newest")))

        async def prune(before_ms: int) -> list[str]:
            await forget_before(store, before_ms)
            return [event.id for event in (await store.events(EventFilter(), limit=9, cursor=None)).items]

        assert await prune(100) == ["event-newest", "y", "x", "event-a"]
        await store.finish(below.attempt, ASKS, Exit(0), Output(), at_ms=50)
        assert await prune(100) == ["event-newest", "y", "x", "event-a"]
        await store.retry("run of x 0", at_ms=60)
        last = await begin(store, "run of x 0")
        await store.finish(last.attempt, DONE, Exit(0), Output(), at_ms=70)
        assert await prune(70) == ["event-newest", "y", "x", "event-a"]
        assert await prune(100) == ["event-newest"]
        again = await store.accept(new_event("x"), [], at_ms=200)
        assert (again.is_duplicate, again.event.caused_by) == (False, None)

    stores.use(use)


def test_an_event_that_asks_is_not_forgotten(stores: Stores) -> None:
    async def use(store: OpenStore) -> None:
        begun = await begin(store, await accept(store, "asks"))
        await store.finish(begun.attempt, ASKS, Exit(0), Output(), at_ms=3)
        await end(store, await begin(store, await accept(store, "newest")))
        await forget_before(store, 100)
        assert await store.event("event-asks") is not None

    stores.use(use)


def test_whether_anything_goes_on_without_a_person_is_told_of_an_event_and_of_its_tree(stores: Stores) -> None:
    async def use(store: OpenStore) -> None:
        await end(store, await begin(store, await accept(store, "a")), follow("x"))
        assert [await store.is_going_on("event-a", is_tree=deep) for deep in (False, True)] == [False, True]
        below = await begin(store, "run of x 0")
        await store.finish(below.attempt, ASKS, Exit(0), Output(), at_ms=5)
        assert not await store.is_going_on("event-a", is_tree=True)
        state = await store.event_state("event-a", is_tree=True, limit=9)
        assert state.statuses == {"changed": 1, "blocked": 1}
        assert [run.id for run in state.open] == ["run of x 0"]

    stores.use(use)


def test_a_round_goes_on_while_something_in_it_runs_but_not_while_it_waits_for_an_answer(stores: Stores) -> None:
    async def use(store: OpenStore) -> None:
        checks = replace(STEP, step_name="checks")
        runs = [NewRun("checks", checks), NewRun("needs it", STEP, needs=("checks",))]
        await store.accept(new_event("e"), runs, at_ms=1)
        begun = await begin(store, "checks")
        assert await store.is_round_going_on("needs it")
        await store.finish(begun.attempt, ASKS, Exit(0), Output(), at_ms=3)
        assert not await store.is_round_going_on("needs it")
        assert not await store.is_going_on("e", is_tree=False)

    stores.use(use)


def test_a_page_of_a_tree_has_at_most_as_many_runs_as_were_asked_for(stores: Stores) -> None:
    async def use(store: OpenStore) -> None:
        made = [NewRun(f"run-{number}", replace(STEP, step_name=f"step {number}")) for number in range(5)]
        await store.accept(new_event("wide"), made, at_ms=1)
        await end(store, await begin(store, "run-0"), follow("x"))
        (alone,) = (await store.tree("wide", limit=9, cursor=None, max_runs=2)).items
        assert ([run.id for run in alone.runs], alone.run_count) == (["run-3", "run-4"], 5)
        page = await store.tree("wide", limit=9, cursor=None, max_runs=5)
        assert [(event.id, len(event.runs), event.run_count) for event in page.items] == [("wide", 5, 5)]
        rest = await store.tree("wide", limit=9, cursor=page.next_cursor, max_runs=5)
        assert [(event.id, len(event.runs)) for event in rest.items] == [("x", 1)]
        both = await store.tree("wide", limit=9, cursor=None, max_runs=6)
        assert [event.id for event in both.items] == ["wide", "x"]

    stores.use(use)


def test_a_tree_is_told_in_pages_every_event_after_its_cause(stores: Stores) -> None:
    async def use(store: OpenStore) -> None:
        await end(store, await begin(store, await accept(store, "a")), follow("x"), follow("y"))
        await end(store, await begin(store, "run of x 0"), follow("z"))
        first = await store.tree("event-a", limit=3, cursor=None)
        rest = await store.tree("event-a", limit=3, cursor=first.next_cursor)
        found = [*first.items, *rest.items]
        assert (len(first.items), rest.next_cursor) == (3, None)
        assert [(event.id, event.depth, [run.id for run in event.runs]) for event in found] == [
            ("event-a", 0, ["run-a"]),
            ("x", 1, ["run of x 0"]),
            ("y", 1, ["run of y 0"]),
            ("z", 2, ["run of z 0"]),
        ]
        assert found[3].caused_by == CausedBy("run of x 0", "x")
        assert [event.id for event in (await store.tree("x", limit=9, cursor=None)).items] == ["x", "z"]
        with pytest.raises(InvalidParamsError):
            await store.tree("x", limit=9, cursor="r1")

    stores.use(use)


def test_what_waits_for_a_rounds_key_goes_on_as_long_as_something_of_that_round_does(stores: Stores) -> None:
    async def use(store: OpenStore) -> None:
        key = WantedKey("flow", "[1]")
        await store.accept(new_event("first"), [NewRun("holds", STEP, round_key=key)], at_ms=1)
        holder = await begin(store, "holds")
        await store.accept(new_event("second"), [NewRun("waits", STEP, round_key=key)], at_ms=2)
        assert await store.is_going_on("second", is_tree=False)
        assert await store.is_round_going_on("waits")
        after = replace(STEP, step_name="after")
        await store.finish(holder.attempt, DONE, Exit(0), Output(), at_ms=3)
        runs = [NewRun("asks", STEP, round_key=key), NewRun("after", after, needs=("step",), round_key=key)]
        await store.finish((await begin(store, "waits")).attempt, DONE, Exit(0), Output(), at_ms=4)
        await store.accept(new_event("asking"), runs, at_ms=5)
        await store.accept(new_event("behind"), [NewRun("behind", STEP, round_key=key)], at_ms=5)
        started = {one.run.id: one for one in (await store.claim(claim(9))).started}
        assert await store.is_going_on("behind", is_tree=False)
        await store.finish(started["asks"].attempt, ASKS, Exit(0), Output(), at_ms=6)
        assert not await store.is_going_on("behind", is_tree=False)
        assert not await store.is_round_going_on("behind")

    stores.use(use)


def test_a_page_of_a_tree_ends_where_its_results_grow_large(stores: Stores) -> None:
    async def use(store: OpenStore) -> None:
        large = replace(DONE, result=FlowResult("changed", json.dumps({"status": "changed", "much": "x" * 1_500_000})))
        await end(store, await begin(store, await accept(store, "a")), *(follow(f"x{n}") for n in range(6)))
        for begun in (await store.claim(claim(9))).started:
            await store.finish(begun.attempt, large, Exit(0), Output(), at_ms=3)
        found, cursor = [], None
        while True:
            page = await store.tree("event-a", limit=500, cursor=cursor)
            found.append([event.id for event in page.items])
            cursor = page.next_cursor
            if cursor is None:
                break
        assert found == [["event-a", "x0", "x1"], ["x2", "x3"], ["x4", "x5"]]

    stores.use(use)
