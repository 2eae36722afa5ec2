"""What every store promises of a result that causes many events, and of an event with many runs: as of few."""

from collections import Counter
from dataclasses import replace

import pytest
from store_rig import DONE, STEP, Stores, accept, begin, claim, ids, new_event, run_of

from flowd.domain.concurrency import WantedKey
from flowd.domain.definition import Definition
from flowd.domain.errors import TooManyRunsError
from flowd.domain.exit import Exit
from flowd.domain.filters import EventFilter, RunFilter
from flowd.domain.ids import longer_run_id
from flowd.domain.journal import Interest
from flowd.domain.pauses import Paused
from flowd.domain.people import Person
from flowd.domain.queueing import MAX_AT_ONCE, Caused, NewRun
from flowd.domain.run import Reason, Run
from flowd.domain.stored import NewEventRuns, Output, StoredEvent
from flowd.domain.trees import CausedBy
from flowd.domain.waiting import PauseWait
from flowd.ports import OpenStore

MANY = 600
"""More than any store writes with one statement."""

ADA = Person("socket", 1000, "ada")


def follow(event_id: str, *runs: NewRun, fingerprint: bytes = b"0", trace: str | None = None) -> NewEventRuns:
    event = replace(new_event(event_id, fingerprint=fingerprint), traceparent=trace)
    return NewEventRuns(event, runs or (NewRun(f"run of {event_id}", STEP),))


async def finish(store: OpenStore, run_id: str, *follows: NewEventRuns) -> Run:
    begun = await begin(store, run_id)
    return (await store.finish(begun.attempt, DONE, Exit(0), Output(), at_ms=3, follows=follows)).run


async def events(store: OpenStore) -> list[StoredEvent]:
    """All, oldest first."""
    found: list[StoredEvent] = []
    cursor: str | None = None
    while True:
        page = await store.events(EventFilter(), limit=500, cursor=cursor)
        found += page.items
        cursor = page.next_cursor
        if cursor is None:
            return found[::-1]


async def journal(store: OpenStore, after: int) -> list[tuple[str, str]]:
    """The journal after a cursor: of each entry what it is about."""
    found: list[tuple[str, str]] = []
    while True:
        page = await store.journal(Interest(), after=after, limit=500)
        for entry in page.entries:
            if entry.event is not None:
                found.append(("event", entry.event.id))
            if entry.run is not None:
                found.append((str(entry.status), entry.run.id))
        if page.reached == page.newest:
            return found
        after = page.reached


async def newest(store: OpenStore) -> int:
    """Cursor of the newest entry of the journal."""
    return (await store.journal(Interest(), after=None, limit=1)).newest


def test_many_events_are_caused_in_their_order_whatever_is_between_them(stores: Stores) -> None:
    async def use(store: OpenStore) -> None:
        await accept(store, "a")
        second = Definition("flow", 1, "/flow", "sha256:0", "second", "exec", "run.sh", 1000, 100)
        between = {
            10: follow("linked", NewRun("first", STEP), NewRun("needs first", second, needs=("step",))),
            20: follow("keyed", NewRun("of keyed", STEP, key=WantedKey("g", "[]", 1, "queue"))),
            30: follow("e3"),  # of this very result
            40: follow("e4", fingerprint=b"other"),
            50: follow("traced", trace="00-1-2-01"),
            60: follow("event-a", fingerprint=b"other"),
        }
        told: list[Caused] = []
        store.tell_side_effects(lambda also: told.extend(also.caused))
        follows = [between.get(n) or follow(f"e{n}") for n in range(MANY)]
        run = await finish(store, "run-a", *follows)
        new = [one for n, one in enumerate(follows) if n not in (30, 40, 60)]
        assert (run.error or "").startswith("Step flow/step caused no events e4, event-a: ")
        stored = await events(store)
        assert [event.id for event in stored] == ["event-a", *(one.event.id for one in new)]
        assert {(event.caused_by, event.root_event_id, event.depth) for event in stored[1:]} == {
            (CausedBy("run-a", "event-a"), "event-a", 1)
        }
        assert [event.run_ids for event in stored[1:]] == [tuple(run.id for run in one.runs) for one in new]
        assert [event.id for event in stored if event.traceparent] == ["traced"]
        # Also those that came to a gate of their own are ready in the order of their events.
        assert ids(await store.claim(claim(MANY))) == [one.runs[0].id for one in new]
        assert Counter(one.how for one in told) == {"accepted": len(new), "duplicate": 1, "conflict": 2}
        counts = await store.counts()
        assert (counts.events, sum(counts.runs.values())) == (1 + len(new), 2 + len(new))

    stores.use(use)


def test_many_events_are_told_of_in_their_order_each_before_its_runs(stores: Stores) -> None:
    async def use(store: OpenStore) -> None:
        await accept(store, "a")
        await begin(store, "run-a")
        before = await newest(store)
        run = await run_of(store, "run-a")
        follows = [follow(f"e{n}", *(NewRun(f"{n} {i}", STEP) for i in range(n % 3))) for n in range(MANY)]
        await store.finish(run.attempts[0], DONE, Exit(0), Output(), at_ms=3, follows=follows)
        of_events = [
            entry for new in follows for entry in [("event", new.event.id), *(("queued", run.id) for run in new.runs)]
        ]
        assert await journal(store, before) == [("completed", "run-a"), *of_events]

    stores.use(use)


def test_a_replay_repeats_each_of_many_events_with_a_new_round(stores: Stores) -> None:
    async def use(store: OpenStore) -> None:
        await accept(store, "a")
        follows = [follow(f"e{n}") for n in range(MANY)]
        await finish(store, "run-a", *follows)
        while started := (await store.claim(claim(MANY))).started:
            for one in started:
                await store.finish(one.attempt, DONE, Exit(0), Output(), at_ms=4)
        await store.add_runs("event-a", [NewRun("again", STEP, replay_of="run-a")], at_ms=5)
        await finish(store, "again", *follows)
        runs = [await store.runs(RunFilter(event_id=f"e{n}"), limit=9, cursor=None) for n in (0, 300, MANY - 1)]
        assert [len(page.items) for page in runs] == [2, 2, 2]
        assert [page.items[1].id for page in runs] == [f"run of e{n}" for n in (0, 300, MANY - 1)]
        assert all(page.items[0].replay_of == page.items[1].id for page in runs)
        assert (await store.counts()).events == MANY + 1

    stores.use(use)


def test_a_run_of_many_whose_id_is_taken_gets_a_longer_one(stores: Stores) -> None:
    async def use(store: OpenStore) -> None:
        await accept(store, "a")
        follows = [follow(f"e{n}") for n in range(MANY)]
        follows[7] = follow("e7", NewRun("run-a", STEP))  # stored before
        follows[400] = follow("e400", NewRun("run of e399", STEP))  # of the same statement, maybe
        await finish(store, "run-a", *follows)
        wanted = {
            7: longer_run_id("run-a", "e7", "flow", "step"),
            400: longer_run_id("run of e399", "e400", "flow", "step"),
        }
        assert [event.run_ids for event in (await events(store))[1:]] == [
            (wanted.get(n, f"run of e{n}"),) for n in range(MANY)
        ]

    stores.use(use)


@pytest.mark.parametrize(
    ("what", "kept"), [(Paused(), "*"), (Paused("flow"), "flow"), (Paused("flow", "step"), "flow/step")]
)
def test_what_is_accepted_while_it_is_paused_waits_and_is_told_of_once(stores: Stores, what: Paused, kept: str) -> None:
    async def use(store: OpenStore) -> None:
        await accept(store, "a")
        await begin(store, "run-a")
        await store.begin_pause(what, ADA, at_ms=2)
        before = await newest(store)
        run = await run_of(store, "run-a")
        other = replace(STEP, flow_name="other")
        follows = [follow(f"e{n}", NewRun(f"run {n}", STEP), NewRun(f"other {n}", other)) for n in range(MANY)]
        await store.finish(run.attempts[0], DONE, Exit(0), Output(), at_ms=3, follows=follows)
        accepted = await store.accept(new_event("wide"), [NewRun("one", STEP), NewRun("two", other)], at_ms=4)
        assert accepted.runs[0].waiting_for == PauseWait(kept)
        stored = await run_of(store, "one")
        assert (stored.waiting_for, stored.updated_at_ms) == (PauseWait(kept), 4)
        others = [] if kept == "*" else ["two", *(f"other {n}" for n in range(MANY))]
        assert sorted(ids(await store.claim(claim(2 * MANY + 2, definition_of=lambda *_: STEP)))) == sorted(others)
        told = Counter(entry for entry in await journal(store, before) if entry[0] == "queued")
        assert set(told.values()) == {1}
        assert len(told) == 2 * MANY + 2
        assert (await store.counts()).waiting == 2 * (MANY + 1) - len(others)

    stores.use(use, max_queued=10_000)


def test_an_event_with_many_runs_has_them_in_their_order_and_each_is_found_by_its_labels(stores: Stores) -> None:
    async def use(store: OpenStore) -> None:
        steps = [replace(STEP, step_name=f"s{n}") for n in range(MANY)]
        runs = [NewRun(f"r{n}", step, labels=(("n", str(n)), ("all", "yes"))) for n, step in enumerate(steps)]
        before = await newest(store)
        accepted = await store.accept(new_event("wide"), runs, at_ms=1)
        names = [run.id for run in runs]
        assert [run.id for run in accepted.runs] == names
        assert await journal(store, before) == [("event", "wide"), *(("queued", name) for name in names)]
        found = await store.runs(RunFilter(labels=(("n", "599"),)), limit=9, cursor=None)
        assert [run.id for run in found.items] == ["r599"]
        assert ids(await store.claim(claim(MANY))) == names

    stores.use(use)


@pytest.mark.parametrize("is_one_event", [True, False])
def test_very_many_runs_come_to_their_keys_in_turn_and_start_in_their_order(stores: Stores, is_one_event: bool) -> None:
    steps = [replace(STEP, step_name=f"s{n}") for n in range(MANY)]
    runs = [NewRun(f"r{n}", step, key=WantedKey("g", f"[{n % 3}]", 1, "queue")) for n, step in enumerate(steps)]

    async def use(store: OpenStore) -> None:
        if is_one_event:
            await store.accept(new_event("wide"), runs, at_ms=1, claim=claim(0))
        else:
            await accept(store, "a")
            await finish(store, "run-a", *(follow(f"e{n}", run) for n, run in enumerate(runs)))
        order: list[str] = []
        now_ms = 10
        while len(order) < MANY:
            claimed = await store.claim(claim(9, at_ms=now_ms))
            assert len(claimed.started) <= 3  # of each key one
            assert claimed.started or claimed.next_due_ms is not None
            for one in claimed.started:
                order.append(one.run.id)
                await store.finish(one.attempt, DONE, Exit(0), Output(), at_ms=now_ms)
            now_ms += 1
        for key in range(3):
            assert [name for name in order if int(name[1:]) % 3 == key] == [f"r{n}" for n in range(key, MANY, 3)]
        assert (await store.counts()).waiting == 0

    stores.use(use)


def test_a_replay_of_very_many_runs_with_keys_waits_for_its_turn_too(stores: Stores) -> None:
    async def use(store: OpenStore) -> None:
        keyed = [
            NewRun(f"r{n}", replace(STEP, step_name=f"s{n}"), key=WantedKey("g", f"[{n}]", 1, "queue"))
            for n in range(MANY)
        ]
        await store.accept(new_event("wide"), [], at_ms=1)
        made = await store.add_runs("wide", keyed, at_ms=1)
        assert [run.id for run in made] == [run.id for run in keyed]
        started: list[str] = []
        for now_ms in range(10, 20):
            started += ids(await store.claim(claim(MANY, at_ms=now_ms)))
        assert started == [run.id for run in keyed]

    stores.use(use)


def test_many_events_with_rounds_have_each_their_own(stores: Stores) -> None:
    async def use(store: OpenStore) -> None:
        await accept(store, "a")
        second = replace(STEP, step_name="second")
        follows = [
            follow(f"e{n}", NewRun(f"first {n}", STEP), NewRun(f"second {n}", second, needs=("step",)))
            for n in range(MANY)
        ]
        await finish(store, "run-a", *follows)
        assert (await store.counts()).waiting == MANY
        claimed = await store.claim(claim(2 * MANY))
        assert ids(claimed) == [f"first {n}" for n in range(MANY)]
        for one in (claimed.started[7], claimed.started[MANY - 1]):
            await store.finish(one.attempt, DONE, Exit(0), Output(), at_ms=4)
        assert ids(await store.claim(claim(9))) == ["second 7", f"second {MANY - 1}"]

    stores.use(use)


def test_more_runs_than_may_be_made_at_once_are_refused_whoever_makes_them(stores: Stores) -> None:
    steps = [replace(STEP, step_name=f"s{n}") for n in range(MAX_AT_ONCE + 1)]
    runs = [NewRun(f"r{n}", step) for n, step in enumerate(steps)]

    async def use(store: OpenStore) -> None:
        await accept(store, "a")
        started = await begin(store, "run-a")
        with pytest.raises(TooManyRunsError, match="5001 steps would have a run of the event at once, and 5000 may"):
            await store.accept(new_event("wide"), runs, at_ms=1)
        assert await store.event("wide") is None
        with pytest.raises(TooManyRunsError, match="of a replay name some"):
            await store.add_runs("event-a", runs, at_ms=1)
        with pytest.raises(TooManyRunsError):
            await store.accept(new_event("wide"), runs, at_ms=1, caused_by="run-a")
        again = await store.accept(new_event("event-a"), runs, at_ms=1)
        assert (again.is_duplicate, [run.id for run in again.runs]) == (True, ["run-a"])
        follows = [follow("one", *runs[:2500]), follow("two", *runs[2500:])]
        ended = await store.finish(started.attempt, DONE, Exit(0), Output(), at_ms=3, follows=follows)
        assert (ended.run.reason, await store.event("one")) == (Reason.CHAIN_LIMIT, None)
        assert "its next makes more than 5000 runs at once" in (ended.run.error or "")
        await store.accept(new_event("wide"), runs[:-1], at_ms=1)
        assert (await store.counts()).runs["queued"] == MAX_AT_ONCE

    stores.use(use, max_queued=10_000)
