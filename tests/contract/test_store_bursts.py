"""What every store promises of events that come at once: as of those that come one after the other."""

import asyncio
from dataclasses import replace

from store_rig import STEP, Stores, new_event

from flowd.domain.errors import QueueFullError
from flowd.domain.journal import Interest
from flowd.domain.pauses import Paused
from flowd.domain.people import Person
from flowd.domain.queueing import NewRun
from flowd.domain.stored import Accepted, NewEvent
from flowd.domain.waiting import PauseWait
from flowd.ports import OpenStore

MANY = 250
"""More than what any store accepts in one go."""

AHEAD = 60

BODY = b'{"payload":"' + b"x" * 100_000 + b'"}'


async def burst(store: OpenStore, *news: tuple[NewEvent, list[NewRun]]) -> list[Accepted | BaseException]:
    """Hand all of it in before any of it is answered; the answers in order. Others come ahead: it waits together."""
    ahead = [new(f"ahead-{n}", runs=0) for n in range(AHEAD)]
    answers = await asyncio.gather(
        *(store.accept(event, runs, at_ms=1) for event, runs in (*ahead, *news)), return_exceptions=True
    )
    return answers[AHEAD:]


def new(name: str, *, runs: int = 1, fingerprint: bytes = b"0") -> tuple[NewEvent, list[NewRun]]:
    made = [NewRun(f"run-{name}-{n}", replace(STEP, step_name=f"step{n}")) for n in range(runs)]
    return new_event(f"event-{name}", fingerprint=fingerprint), made


def accepted(answer: Accepted | BaseException) -> Accepted:
    assert isinstance(answer, Accepted), answer
    return answer


def test_each_caller_is_answered_with_its_own_event_and_runs(stores: Stores) -> None:
    async def use(store: OpenStore) -> None:
        answers = await burst(store, *(new(str(n), runs=n % 3) for n in range(MANY)))
        for n, answer in enumerate(map(accepted, answers)):
            assert answer.event.id == f"event-{n}"
            assert [run.id for run in answer.runs] == [f"run-{n}-{k}" for k in range(n % 3)]
            assert not answer.is_duplicate
            assert answer.event == await store.event(f"event-{n}")
            stored = [await store.run(run.id) for run in answer.runs]
            assert [run and replace(run, waiting_for=None) for run in stored] == list(answer.runs)

    stores.use(use)


def test_the_journal_tells_of_them_in_the_order_in_which_they_came(stores: Stores) -> None:
    async def use(store: OpenStore) -> None:
        await burst(store)
        before = (await store.journal(Interest(), after=None, limit=1)).newest
        await burst(store, *(new(str(n), runs=2) for n in range(MANY)))
        page = await store.journal(Interest(), after=before, limit=10 * MANY)
        assert [entry.cursor for entry in page.entries] == list(range(before + 1, before + 3 * MANY + 1))
        told = [entry.event.id if entry.event else entry.run.id if entry.run else "" for entry in page.entries]
        assert told == [name for n in range(MANY) for name in (f"event-{n}", f"run-{n}-0", f"run-{n}-1")]

    stores.use(use)


def test_an_id_that_comes_twice_at_once_is_stored_once(stores: Stores) -> None:
    async def use(store: OpenStore) -> None:
        await burst(store, new("known"))
        answers = await burst(
            store, new("new"), new("known"), new("new"), new("new", fingerprint=b"1"), new("other"), new("known")
        )
        found = [(answer.event.id, answer.is_duplicate, answer.is_conflict) for answer in map(accepted, answers)]
        assert found == [
            ("event-new", False, False),
            ("event-known", True, False),
            ("event-new", True, False),
            ("event-new", True, True),
            ("event-other", False, False),
            ("event-known", True, False),
        ]
        assert all(
            [run.id for run in answer.runs] == [f"run-{answer.event.id[6:]}-0"] for answer in map(accepted, answers)
        )
        assert (await store.counts()).events == AHEAD + 3

    stores.use(use)


def test_no_more_are_accepted_than_may_be_queued(stores: Stores) -> None:
    async def use(store: OpenStore) -> None:
        answers = await burst(store, *(new(str(n)) for n in range(8)), new("without", runs=0), new("0"))
        assert [isinstance(answer, QueueFullError) for answer in answers] == [False] * 5 + [True] * 3 + [False] * 2
        assert accepted(answers[-1]).is_duplicate
        assert [await store.event(f"event-{n}") is None for n in range(8)] == [False] * 5 + [True] * 3
        assert store.queued == 5

    stores.use(use, max_queued=5)


def test_a_refused_event_is_no_duplicate_of_itself(stores: Stores) -> None:
    async def use(store: OpenStore) -> None:
        answers = await burst(store, new("large", runs=4), new("large", runs=4), new("small"))
        assert [type(answer) for answer in answers] == [QueueFullError, QueueFullError, Accepted]

    stores.use(use, max_queued=3)


def test_runs_of_one_id_get_two(stores: Stores) -> None:
    async def use(store: OpenStore) -> None:
        news = [(new_event(f"event-{n}"), [NewRun("run", STEP)]) for n in range(3)]
        ids = [accepted(answer).runs[0].id for answer in await burst(store, *news)]
        assert ids[0] == "run"
        assert len(set(ids)) == 3

    stores.use(use)


def test_what_is_paused_waits(stores: Stores) -> None:
    async def use(store: OpenStore) -> None:
        await store.begin_pause(Paused(), Person("socket", 1000, "ada"), at_ms=1)
        answers = await burst(store, *(new(str(n)) for n in range(3)))
        assert {accepted(answer).runs[0].waiting_for for answer in answers} == {PauseWait("*")}

    stores.use(use)


def test_one_that_cannot_be_stored_harms_itself_alone(stores: Stores) -> None:
    async def use(store: OpenStore) -> None:
        event, runs = new("bad")
        answers = await burst(store, new("0"), (replace(event, type="\ud800"), runs), new("1"))
        assert [type(answer) for answer in answers] == [Accepted, UnicodeEncodeError, Accepted]
        assert await store.event("event-bad") is None
        assert (await store.counts()).events == AHEAD + 2

    stores.use(use)


def test_large_and_small_events_come_at_once(stores: Stores) -> None:
    async def use(store: OpenStore) -> None:
        news = [new(str(n)) for n in range(6)]
        news[1::2] = [(replace(event, body=BODY), runs) for event, runs in news[1::2]]
        answers = await burst(store, *news)
        assert [accepted(answer).event.body for answer in answers] == [event.body for event, _ in news]
        assert [(await store.event(event.id)).body for event, _ in news] == [event.body for event, _ in news]  # type: ignore[union-attr]

    stores.use(use)
