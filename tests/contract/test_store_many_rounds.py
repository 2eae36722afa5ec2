"""What every store promises of a replay that repeats very many events, or very many steps of one: as of few."""

from dataclasses import replace

from store_rig import DONE, STEP, Stores, accept, begin, claim, ids, new_event

from flowd.domain.concurrency import WantedKey
from flowd.domain.definition import Definition
from flowd.domain.exit import Exit
from flowd.domain.filters import RunFilter
from flowd.domain.journal import Interest
from flowd.domain.queueing import NewRun, StartedRun
from flowd.domain.run import Run
from flowd.domain.stored import NewEventRuns, Output
from flowd.ports import OpenStore

MANY = 600
"""More than any store asks for with one statement."""


def follow(event_id: str, *runs: NewRun, body: bytes = b'{"payload":{}}') -> NewEventRuns:
    event = replace(new_event(event_id, fingerprint=body), body=body)
    return NewEventRuns(event, runs or (NewRun(f"run of {event_id}", STEP),))


async def end(store: OpenStore, begun: StartedRun, *follows: NewEventRuns) -> Run:
    return (await store.finish(begun.attempt, DONE, Exit(0), Output(), at_ms=3, follows=follows)).run


async def end_all(store: OpenStore) -> list[StartedRun]:
    """Let all that may start start and end; what started, in its order."""
    found: list[StartedRun] = []
    while started := (await store.claim(claim(MANY, definition_of=lambda *_: STEP))).started:
        for one in started:
            await end(store, one)
        found += started
    return found


async def replay(store: OpenStore, name: str, *follows: NewEventRuns) -> Run:
    """Run ``run-a`` again, under this name, to that result."""
    await store.add_runs("event-a", [NewRun(name, STEP, replay_of="run-a")], at_ms=5)
    return await end(store, await begin(store, name), *follows)


async def runs_of(store: OpenStore, event_id: str) -> list[Run]:
    """Oldest first."""
    return list((await store.runs(RunFilter(event_id=event_id), limit=500, cursor=None)).items)[::-1]


async def told(store: OpenStore, after: int) -> list[str]:
    """The journal after a cursor: the events, and the events of the runs that were queued."""
    found: list[str] = []
    while True:
        page = await store.journal(Interest(), after=after, limit=500)
        for entry in page.entries:
            if entry.event is not None:
                found.append(f"event {entry.event.id}")
            elif entry.run is not None and entry.status == "queued":
                found.append(f"run of {entry.run.event_id}")
        if page.reached == page.newest:
            return found
        after = page.reached


def test_known_and_new_events_that_alternate_are_told_of_and_start_in_their_order(stores: Stores) -> None:
    first = [follow(f"e{n}") for n in range(MANY)]
    mixed = [follow(f"new{n}") if n % 2 else one for n, one in enumerate(first)]
    mixed[100] = follow("e100", NewRun("run of e100", STEP, key=WantedKey("g", "[]", 1, "queue")))
    mixed[200] = follow("e200", body=b'{"payload":2}')
    mixed[301] = follow("e300")  # known, and of this very result
    mixed[401] = follow("e400", body=b'{"payload":2}')

    async def use(store: OpenStore) -> None:
        await accept(store, "a")
        await end(store, await begin(store), *first)
        await end_all(store)
        before = (await store.journal(Interest(), after=None, limit=1)).newest
        run = await replay(store, "again", *mixed)
        assert run.error == "Step flow/step caused no event e400: one with this id and other content is there already"
        made = [one.event.id for n, one in enumerate(mixed) if n not in (301, 401)]
        entries = [(name.startswith("new"), name) for name in made]
        assert await told(store, before) == [
            "run of event-a",
            *(line for is_new, name in entries for line in [f"event {name}"] * is_new + [f"run of {name}"]),
        ]
        started = await end_all(store)
        assert [one.run.event_id for one in started] == made
        assert [one.run.event_id for one in started if one.event_body != b'{"payload":{}}'] == ["e200"]
        for name in ("e0", f"e{MANY - 2}"):
            runs = await runs_of(store, name)
            assert [(one.round, one.replay_of) for one in runs] == [(1, None), (2, f"run of {name}")]
        assert [one.round for one in await runs_of(store, "new1")] == [1]

    stores.use(use)


def test_the_same_round_repeats_nothing_of_many_twice(stores: Stores) -> None:
    async def use(store: OpenStore) -> None:
        await accept(store, "a")
        follows = [follow(f"e{n}") for n in range(MANY)]
        await end(store, await begin(store), *follows)
        await end_all(store)
        await store.add_runs("event-a", [NewRun("again", STEP, replay_of="run-a")], at_ms=5)
        begun = await begin(store, "again")
        await store.accept(follows[7].event, follows[7].runs, at_ms=6, caused_by="again")
        await end(store, begun, *follows)
        counts = [len(await runs_of(store, f"e{n}")) for n in (6, 7, MANY - 1)]
        assert counts == [2, 2, 2]
        assert len(await end_all(store)) == MANY

    stores.use(use)


def crowd(*names: str) -> list[NewRun]:
    """Two runs of each of twelve flows, of these steps."""
    flows = [replace(STEP, flow_name=f"f{n}") for n in range(12)]
    steps: list[Definition] = [replace(flow, step_name=name) for flow in flows for name in names]
    return [NewRun(f"{step.flow_name} {step.step_name}", step) for step in steps]


def test_a_further_round_of_an_event_with_many_steps_replays_each_of_them(stores: Stores) -> None:
    async def use(store: OpenStore) -> None:
        await accept(store, "a")
        await end(store, await begin(store), follow("x", *crowd("s", "t")))
        await end_all(store)
        await replay(store, "second", follow("x", *crowd("s", "new")))
        await end_all(store)
        await replay(store, "third", follow("x", *crowd("s", "new")))
        runs = await runs_of(store, "x")
        assert [run.round for run in runs] == [1] * 24 + [2] * 24 + [3] * 24
        firsts = {(run.flow_name, run.step_name): run.id for run in runs[:48] if run.replay_of is None}
        assert len(firsts) == 36
        replays = [run for run in runs if run.replay_of is not None]
        assert [run.replay_of for run in replays] == [firsts[run.flow_name, run.step_name] for run in replays]
        assert len(replays) == 12 + 24

    stores.use(use)


def test_of_many_steps_those_alone_are_added_that_have_no_run_yet(stores: Stores) -> None:
    async def use(store: OpenStore) -> None:
        await store.accept(new_event("x"), crowd("s"), at_ms=1)
        made = await store.add_runs("x", crowd("s", "late"), at_ms=2)
        assert [(run.step_name, run.round) for run in made] == [("late", 2)] * 12
        assert await store.add_runs("x", crowd("s", "late"), at_ms=3) == ()

    stores.use(use)


def test_what_a_step_dispatches_comes_to_very_many_keys_in_turn(stores: Stores) -> None:
    keyed = [
        NewRun(f"r{n}", replace(STEP, step_name=f"s{n}"), key=WantedKey("g", f"[{n}]", 1, "queue")) for n in range(MANY)
    ]

    async def use(store: OpenStore) -> None:
        await accept(store, "a")
        await begin(store)
        accepted = await store.accept(new_event("wide"), keyed, at_ms=1, claim=claim(0), caused_by="run-a")
        assert [run.id for run in accepted.runs] == [run.id for run in keyed]
        assert (await store.counts()).waiting == MANY
        started: list[str] = []
        for now_ms in range(10, 20):
            started += ids(await store.claim(claim(MANY, at_ms=now_ms)))
        assert started == [run.id for run in keyed]

    stores.use(use)
