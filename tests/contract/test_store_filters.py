"""Lists by filters: every combination gives what a look at each run would, in order, once, whatever the pages are."""

import itertools
import random
import sqlite3
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from store_rig import DONE, FAILED, STEP, Stores, begin, forget_before, new_event

from flowd.domain.definition import Definition
from flowd.domain.exit import Exit
from flowd.domain.filters import EventFilter, RunFilter
from flowd.domain.outcome import Outcome
from flowd.domain.queueing import NewRun
from flowd.domain.result import FlowResult
from flowd.domain.run import ProcessStatus, Reason, Run
from flowd.domain.stored import Output, StoredEvent
from flowd.domain.waiting import TimeWait
from flowd.ports import OpenStore
from flowd.store.sql import event_lists, ways

OUTCOMES = (
    DONE,
    FAILED,
    Outcome(ProcessStatus.FAILED, Reason.TIMEOUT, "took 100 % of its time_out"),
    Outcome(ProcessStatus.COMPLETED, result=FlowResult("failed", '{"status":"failed","message":"No SPACE left"}')),
    Outcome(ProcessStatus.COMPLETED, result=FlowResult("blocked", '{"status":"blocked","message":"Publish?"}')),
    Outcome(ProcessStatus.CANCELED, Reason.CANCELED, "canceled"),
)


def definition(flow: str, step: str) -> Definition:
    return replace(STEP, flow_name=flow, step_name=step)


async def fill(store: OpenStore, count: int, seed: int = 1) -> None:
    """Events with one or two runs each, most of which have ended in some way; the clock steps back halfway."""
    dice = random.Random(seed)
    for number in range(count):
        at_ms = 1_000_000 + number * 60_000 - (number > count // 2) * 10 * 60_000
        flow = dice.choice(["alpha", "beta"])
        runs = [
            NewRun(f"run-{number}-{step}", definition(flow, step), labels=_labels(dice))
            for step in dice.sample(["build", "test", "ship"], dice.choice([1, 1, 2]))
        ]
        await store.accept(new_event(f"event-{number}", kind=dice.choice(["t.one", "t.two"])), runs, at_ms=at_ms)
        for _ in runs[: dice.choice([0, 1, 2, 2])]:
            started = await begin(store)
            ended = dice.choice(OUTCOMES)
            await store.finish(started.attempt, ended, Exit(code=0), Output(), at_ms=at_ms + 5)


def _labels(dice: random.Random) -> tuple[tuple[str, str], ...]:
    wanted = {"repo": dice.choice(["a", "b", None]), "env": dice.choice(["live", None])}
    return tuple((name, value) for name, value in wanted.items() if value is not None)


async def all_runs(store: OpenStore, where: RunFilter, limit: int) -> list[Run]:
    """Page by page."""
    found: list[Run] = []
    cursor = None
    while True:
        page = await store.runs(where, limit=limit, cursor=cursor)
        assert len(page.items) <= limit
        found += page.items
        if page.next_cursor is None:
            return found
        cursor = page.next_cursor


async def all_events(store: OpenStore, where: EventFilter, limit: int) -> list[StoredEvent]:
    """Page by page."""
    found: list[StoredEvent] = []
    cursor = None
    while True:
        page = await store.events(where, limit=limit, cursor=cursor)
        assert len(page.items) <= limit
        found += page.items
        if page.next_cursor is None:
            return found
        cursor = page.next_cursor


def fits(run: Run, event_type: str, where: RunFilter) -> bool:
    """What the filters mean, said of one run."""
    statuses = {str(run.status), *([run.result.status] if run.result else [])}
    message = "" if run.result is None else run.result.text
    searched = [run.id, run.event_id, event_type, run.flow_name, run.step_name, run.error or "", message]
    return (
        where.flow in (None, run.flow_name)
        and where.step in (None, run.step_name)
        and where.reason in (None, run.reason)
        and (where.status is None or where.status in statuses)
        and (where.since_ms is None or run.created_at_ms >= where.since_ms)
        and (where.until_ms is None or run.created_at_ms < where.until_ms)
        and set(where.labels) <= set(run.labels)
        and (where.text is None or any(where.text.lower() in text.lower() for text in searched))
    )


CHOICES: dict[str, list[Any]] = {
    "flow": [None, "alpha", "no such flow"],
    "step": [None, "ship"],
    "status": [None, "failed", "canceled", "completed", "queued", "blocked"],
    "reason": [None, "timeout"],
    "since_ms": [None, 1_000_000 + 20 * 60_000],
    "until_ms": [None, 1_000_000 + 35 * 60_000],
    "labels": [(), (("repo", "a"),), (("repo", "a"), ("env", "live"))],
    "text": [None, "no space", "T.ONE", "100 % of its time_out", "%", "-7"],
}


def combinations() -> Iterator[RunFilter]:
    """Each choice of each filter alone, and with every choice of every other one."""
    for one, other in itertools.combinations(CHOICES, 2):
        for first, second in itertools.product(CHOICES[one], CHOICES[other]):
            yield RunFilter(**{one: first, other: second})
    dice = random.Random(5)
    for _ in range(150):
        yield RunFilter(**{name: dice.choice(values) for name, values in CHOICES.items()})


def test_every_combination_of_filters_gives_the_runs_that_it_means(
    stores: Stores, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(ways, "MAX_LOOKED_AT", 7)  # so that most lists take several goes

    async def use(store: OpenStore) -> None:
        await fill(store, 60)
        every = await all_runs(store, RunFilter(), 500)
        types = {event.id: event.type for event in await all_events(store, EventFilter(), 500)}
        assert len({run.effective_status for run in every}) == 5
        for where in combinations():
            meant = [run.id for run in every if fits(run, types[run.event_id], where)]
            assert [run.id for run in await all_runs(store, where, 3)] == meant, where

    stores.use(use)


def test_every_combination_of_filters_gives_the_events_that_it_means(
    stores: Stores, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(ways, "MAX_LOOKED_AT", 20)
    monkeypatch.setattr(event_lists, "_AT_ONCE", 5)

    async def use(store: OpenStore) -> None:
        await fill(store, 60)
        every = await all_events(store, EventFilter(), 500)
        runs_of = {event.id: await all_runs(store, RunFilter(event_id=event.id), 9) for event in every}
        for where in combinations():
            of_run = replace(where, since_ms=None, until_ms=None, text=None)
            for kind in (None, "t.two"):
                text = None if where.text is None else where.text.lower()
                meant = [
                    event.id
                    for event in every
                    if kind in (None, event.type)
                    and (where.since_ms is None or event.created_at_ms >= where.since_ms)
                    and (where.until_ms is None or event.created_at_ms < where.until_ms)
                    and (text is None or text in event.id.lower() or text in event.type.lower())
                    and (of_run == RunFilter() or any(fits(run, "", of_run) for run in runs_of[event.id]))
                ]
                asked = EventFilter(kind, where.since_ms, where.until_ms, where.text, of_run)
                assert [event.id for event in await all_events(store, asked, 3)] == meant, asked

    stores.use(use)


def test_one_go_looks_at_so_many_runs_only_and_says_where_to_go_on(
    stores: Stores, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(ways, "MAX_LOOKED_AT", 10)
    monkeypatch.setattr(event_lists, "_AT_ONCE", 10)

    async def use(store: OpenStore) -> None:
        await fill(store, 60)
        for where in (EventFilter(text="nowhere"), EventFilter(type="t.one", text="nowhere")):
            events = await store.events(where, limit=5, cursor=None)
            assert (events.items, events.next_cursor is None) == ((), False)
        page = await store.runs(RunFilter(text="nowhere"), limit=5, cursor=None)
        assert page.items == ()
        assert page.next_cursor is not None
        rest = await store.runs(RunFilter(text="nowhere"), limit=5, cursor=page.next_cursor)
        assert rest.next_cursor != page.next_cursor

    stores.use(use)


def test_pages_by_one_filter_or_by_flow_and_a_bad_end_are_full(stores: Stores, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ways, "MAX_LOOKED_AT", 2)

    async def use(store: OpenStore) -> None:
        await fill(store, 60)
        for where in (
            RunFilter(flow="alpha"),
            RunFilter(status="failed"),
            RunFilter(flow="alpha", status="failed"),
            RunFilter(labels=(("repo", "a"),), until_ms=1_000_000 + 40 * 60_000),
        ):
            every = await all_runs(store, where, 500)
            assert len(every) > 3
            page = await store.runs(where, limit=len(every) - 1, cursor=None)
            assert [run.id for run in page.items] == [run.id for run in every[:-1]]

    stores.use(use)


def test_text_is_looked_for_in_what_is_shown(stores: Stores) -> None:
    async def use(store: OpenStore) -> None:
        await fill(store, 20)
        seen = RunFilter(text="time_out")
        assert await all_runs(store, seen, 50)
        assert await all_runs(store, replace(seen, shown=lambda text: text.replace("time_out", "***")), 50) == []

    stores.use(use)


def test_text_that_is_a_whole_id_finds_what_has_it_and_nothing_else(
    stores: Stores, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(ways, "MAX_LOOKED_AT", 2)

    async def use(store: OpenStore) -> None:
        await fill(store, 60)
        (of_event, *_) = [event for event in await all_events(store, EventFilter(), 500) if len(event.run_ids) == 2]
        longer = new_event(f"{of_event.id}-more")
        await store.accept(longer, [NewRun(f"{of_event.run_ids[0]}-more", STEP)], at_ms=9)
        for text, meant in ((of_event.id, of_event.run_ids), (of_event.run_ids[0], of_event.run_ids[:1])):
            page = await store.runs(RunFilter(text=text), limit=5, cursor=None)
            assert ({run.id for run in page.items}, page.next_cursor) == (set(meant), None)
        page = await store.events(EventFilter(text=of_event.id), limit=5, cursor=None)
        assert ([event.id for event in page.items], page.next_cursor) == ([of_event.id], None)

    stores.use(use)


@pytest.mark.parametrize(
    "where", [RunFilter(flow="beta"), RunFilter(step="test"), RunFilter(flow="beta", labels=(("repo", "a"),))]
)
def test_the_queue_and_the_questions_of_some_runs_are_those_of_all_less_the_others(
    stores: Stores, monkeypatch: pytest.MonkeyPatch, where: RunFilter
) -> None:
    monkeypatch.setattr(ways, "MAX_LOOKED_AT", 3)

    async def use(store: OpenStore) -> None:
        dice = random.Random(2)
        await fill(store, 60)
        for number in range(40):
            step = definition(dice.choice(["alpha", "beta"]), dice.choice(["build", "test"]))
            wait = TimeWait(until_ms=9_000_000, whole_ms=9_000_000, why="delay")
            run = NewRun(f"late-{number}", step, labels=_labels(dice), wait=wait)
            await store.accept(new_event(f"late-{number}"), [run], at_ms=9)
        for of in (_queued, _asking):
            every = await of(store, RunFilter(), 500)
            meant = [run.id for run in every if fits(run, "", where)]
            assert 2 < len(meant) < len(every)
            for limit in (2, 500):
                assert [run.id for run in await of(store, where, limit)] == meant

    stores.use(use)


async def _queued(store: OpenStore, where: RunFilter, limit: int) -> list[Run]:
    found: list[Run] = []
    cursor = None
    while True:
        page = (await store.queue(where, limit=limit, cursor=cursor)).page
        found += page.items
        if page.next_cursor is None:
            return found
        cursor = page.next_cursor


async def _asking(store: OpenStore, where: RunFilter, limit: int) -> list[Run]:
    found: list[Run] = []
    cursor = None
    while True:
        page = await store.questions(where, limit=limit, cursor=cursor)
        found += [question.run for question in page.items]
        if page.next_cursor is None:
            return found
        cursor = page.next_cursor


def test_runs_keep_their_labels(stores: Stores) -> None:
    async def use(store: OpenStore) -> None:
        labels = (("repo", "a"), ("env", "live"))
        accepted = await store.accept(new_event("e"), [NewRun("r", STEP, labels=labels)], at_ms=1)
        assert accepted.runs[0].labels == labels
        assert (await begin(store)).run.labels == labels

    stores.use(use)
    stores.use(_has_labels)


async def _has_labels(store: OpenStore) -> None:
    run = await store.run("r")
    assert run is not None
    assert run.labels == (("repo", "a"), ("env", "live"))


def test_forgotten_runs_are_found_by_no_label(stores: Stores, tmp_path: Path) -> None:
    async def use(store: OpenStore) -> None:
        for name in ("old", "new"):
            await store.accept(new_event(name), [NewRun(name, STEP, labels=(("repo", "a"),))], at_ms=1)
            started = await begin(store)
            await store.finish(started.attempt, DONE, Exit(code=0), Output(), at_ms=2)
        await forget_before(store, 10)
        assert [run.id for run in await all_runs(store, RunFilter(labels=(("repo", "a"),)), 9)] == ["new"]

    stores.use(use)
    for database in tmp_path.rglob("flowd.db"):
        with sqlite3.connect(database) as db:
            assert db.execute("SELECT count(*) FROM labels").fetchone() == (1,)
