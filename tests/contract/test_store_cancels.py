"""What every store promises of events and trees that are canceled."""

from dataclasses import replace

import pytest
from store_rig import DONE, FAILED, STEP, Stores, accept, begin, claim, ids, new_event, run_of

from flowd.domain.errors import AlreadyAnsweredError, CauseCanceledError, EventNotFoundError
from flowd.domain.exit import Exit
from flowd.domain.filters import RunFilter
from flowd.domain.needs import When
from flowd.domain.outcome import Outcome
from flowd.domain.people import Answer, Person, Resolution
from flowd.domain.queueing import NewRun, StartedRun
from flowd.domain.result import FlowResult
from flowd.domain.run import ProcessStatus, Reason, Run
from flowd.domain.stored import NewEventRuns, Output
from flowd.domain.trees import CalledOff
from flowd.domain.waiting import TimeWait
from flowd.ports import OpenStore

ADA, BOB = Person("socket", 1000, "ada"), Person("token", name="ci")
ASKED = FlowResult("blocked", '{"status":"blocked","message":"Publish?"}')
ASKS = Outcome(ProcessStatus.COMPLETED, result=ASKED, exit_code=0)


def follow(event_id: str, *, runs: int = 1) -> NewEventRuns:
    """An event to cause, with runs whose ids are made of its own."""
    return NewEventRuns(new_event(event_id), tuple(NewRun(f"run of {event_id} {n}", STEP) for n in range(runs)))


def chain(name: str, *whens: When, replays: str | None = None) -> list[NewRun]:
    """Runs ``<name>0``, ``<name>1`` …, each of which needs the one before it."""
    runs = [NewRun(f"{name}0", replace(STEP, step_name="s0"), replay_of=replays and f"{replays}0")]
    for n, when in enumerate(whens, 1):
        step, of = replace(STEP, step_name=f"s{n}"), replays and f"{replays}{n}"
        runs.append(NewRun(f"{name}{n}", step, replay_of=of, needs=(f"s{n - 1}",), when=when))
    return runs


async def end(
    store: OpenStore, begun: StartedRun, outcome: Outcome = DONE, *follows: NewEventRuns, at_ms: int = 3
) -> Run:
    return (await store.finish(begun.attempt, outcome, Exit(0), Output(), at_ms=at_ms, follows=follows)).run


async def statuses(store: OpenStore, *run_ids: str) -> list[str]:
    return [(await run_of(store, run_id)).effective_status for run_id in run_ids]


async def call_off(store: OpenStore, event_id: str, *, is_tree: bool = True) -> CalledOff:
    return await store.call_off(event_id, ADA, is_tree=is_tree, at_ms=9)


async def settle(store: OpenStore) -> list[list[str]]:
    """What was called off and is ended, in the order and the steps in which it is."""
    found = []
    while some := await store.end_called_off(at_ms=10):
        found.append([run.id for run in some])
    return found


async def asking(store: OpenStore) -> list[str]:
    return [question.run.id for question in (await store.questions(limit=50, cursor=None)).items]


def test_what_has_not_started_of_an_event_or_of_all_below_it_is_canceled_in_small_steps(stores: Stores) -> None:
    async def use(store: OpenStore) -> None:
        await end(store, await begin(store, await accept(store, "a")), DONE, follow("x", runs=700), follow("y"))
        await begin(store, "run of x 0")
        await end(store, await begin(store, "run of x 1"), DONE, follow("below"))
        await accept(store, "other")
        assert await call_off(store, "event-a", is_tree=False) == CalledOff((), ())
        assert await call_off(store, "y") == CalledOff(("run of y 0",), ())
        assert await settle(store) == [["run of y 0"]]
        waiting = [*(f"run of x {n}" for n in range(2, 700)), "run of below 0"]
        assert await call_off(store, "x") == CalledOff(("run of x 0", *waiting), ("run of x 0",))
        assert await settle(store) == [waiting[:500], waiting[500:]]
        assert set(await statuses(store, *waiting)) == {"canceled"}
        assert await statuses(store, "run of x 0", "run-other") == ["running", "queued"]
        with pytest.raises(EventNotFoundError):
            await call_off(store, "nothing")

    stores.use(use, max_queued=1000)


def test_what_is_called_off_never_starts_and_is_there_to_be_ended_after_a_crash(stores: Stores) -> None:
    async def use(store: OpenStore) -> None:
        await accept(store, "a")
        await accept(store, "b")
        await call_off(store, "event-a")
        assert ids(await store.claim(claim(9))) == ["run-b"]

    async def later(store: OpenStore) -> None:
        assert (await store.claim(claim(9))).started == ()
        assert await settle(store) == [["run-a"]]
        assert await statuses(store, "run-a") == ["canceled"]

    stores.use(use)
    stores.use(later)


def test_what_runs_is_to_be_ended_by_the_next_daemon_too_and_causes_nothing_more(stores: Stores) -> None:
    async def use(store: OpenStore) -> None:
        await begin(store, await accept(store, "a"))
        assert await call_off(store, "event-a") == CalledOff(("run-a",), ("run-a",))
        assert await store.running_of("event-a", is_tree=True) == ["run-a"]

    async def later(store: OpenStore) -> None:
        (left,) = await store.left_running()
        assert left.run.cancel_requested
        assert await settle(store) == []
        dispatched = follow("dispatched")
        with pytest.raises(CauseCanceledError):
            await store.accept(dispatched.event, dispatched.runs, at_ms=3, caused_by="run-a")
        ended = await store.finish(left.attempt, DONE, Exit(0), Output(), at_ms=11, follows=(follow("x"),))
        assert (ended.run.effective_status, await store.event("x")) == ("changed", None)

    stores.use(use)
    stores.use(later)


def test_a_canceled_event_starts_nothing_for_the_ends_of_what_runs_but_what_runs_finally(stores: Stores) -> None:
    async def use(store: OpenStore) -> None:
        runs = [*chain("r", "always", "finally"), NewRun("r3", replace(STEP, step_name="s3"), needs=("s1",))]
        await store.accept(new_event("e"), runs, at_ms=1)
        first = await begin(store, "r0")
        assert await call_off(store, "e") == CalledOff(("r0", "r1", "r3"), ("r0",))
        await end(store, first)
        assert await statuses(store, "r0", "r1") == ["changed", "canceled"]
        await settle(store)
        assert await statuses(store, "r3") == ["canceled"]
        await begin(store, "r2")
        assert await store.running_of("e", is_tree=True) == []
        assert await call_off(store, "e") == CalledOff(("r2",), ("r2",))
        assert await store.running_of("e", is_tree=True) == ["r2"]

    stores.use(use)


def test_a_cancel_means_what_there_is_when_it_is_asked(stores: Stores) -> None:
    async def use(store: OpenStore) -> None:
        await store.accept(new_event("e"), chain("r", "success", "success"), at_ms=1)
        first = await begin(store, "r0")
        await call_off(store, "e")
        await store.add_runs("e", chain("again", "success", "success", replays="r"), at_ms=9)
        await settle(store)
        assert await statuses(store, "r1", "r2", "again1", "again2") == ["canceled", "canceled", "queued", "queued"]
        await end(store, first, FAILED)
        await store.retry("r0", at_ms=12)
        assert await settle(store) == []
        assert ids(await store.claim(claim(9))) == ["again0", "r0"]
        assert await statuses(store, "r1", "r2", "again1", "again2") == ["queued"] * 4

    stores.use(use)


def test_what_a_person_retries_between_a_cancel_and_its_end_goes_on(stores: Stores) -> None:
    async def use(store: OpenStore) -> None:
        await store.accept(new_event("e"), chain("r", "success"), at_ms=1)
        await end(store, await begin(store, "r0"), FAILED)
        await store.retry("r0", at_ms=5)
        await call_off(store, "e")
        await store.cancel_queued("r0", at_ms=9)
        await store.retry("r0", at_ms=9)
        assert await settle(store) == []
        assert ids(await store.claim(claim(9))) == ["r0"]
        assert await statuses(store, "r1") == ["queued"]

    stores.use(use)


def test_the_questions_of_a_canceled_event_are_closed_and_nobody_answers_them_meanwhile(stores: Stores) -> None:
    async def use(store: OpenStore) -> None:
        await store.accept(new_event("e"), chain("r", "always"), at_ms=1)
        await end(store, await begin(store, "r0"), ASKS)
        await end(store, await begin(store, await accept(store, "other")), ASKS)
        assert await call_off(store, "e", is_tree=False) == CalledOff(("r0", "r1"), ())
        with pytest.raises(AlreadyAnsweredError, match="closed by ada"):
            await store.resolve("r0", None, Resolution("completed", BOB, 9), (follow("x"),))
        with pytest.raises(AlreadyAnsweredError, match="closed by ada"):
            await store.answer("r0", None, Answer(BOB, 9))

    async def later(store: OpenStore) -> None:
        await settle(store)
        run = await run_of(store, "r0")
        assert (run.effective_status, run.result, run.reported_result) == ("canceled", None, ASKED)
        assert run.resolution == Resolution("canceled", ADA, 10)
        assert await statuses(store, "r1") == ["canceled"]
        canceled = await store.runs(RunFilter(status="canceled"), limit=5, cursor=None)
        assert [one.id for one in canceled.items] == ["r1", "r0"]
        assert await asking(store) == ["run-other"]
        with pytest.raises(AlreadyAnsweredError, match="closed by ada"):
            await store.resolve("r0", None, Resolution("completed", BOB, 11))
        assert await store.retry("r0", at_ms=12) is not None
        assert ids(await store.claim(claim(9))) == ["r0"]

    stores.use(use)
    stores.use(later)


def test_what_asks_all_the_same_at_the_end_of_its_canceled_event_asks_nobody(stores: Stores) -> None:
    async def use(store: OpenStore) -> None:
        begun = await begin(store, await accept(store, "a"))
        await call_off(store, "event-a")
        ended = await end(store, begun, ASKS, at_ms=20)
        assert (ended.status, ended.effective_status, ended.reported_result) == ("completed", "canceled", ASKED)
        assert ended.resolution == Resolution("canceled", ADA, 20)
        assert await asking(store) == []
        await store.retry("run-a", at_ms=21)
        again = await end(store, await begin(store, "run-a"), ASKS, at_ms=22)
        assert (again.effective_status, again.resolution) == ("blocked", None)
        assert await asking(store) == ["run-a"]

    stores.use(use)


def test_what_runs_finally_asks_somebody_unless_it_is_canceled_too(stores: Stores) -> None:
    async def use(store: OpenStore) -> None:
        for name in ("a", "b"):
            await store.accept(new_event(name), chain(name, "finally"), at_ms=1)
            await end(store, await begin(store, f"{name}0"))
            begun = await begin(store, f"{name}1")
            await call_off(store, name)
            if name == "b":
                await store.request_cancel("b1", at_ms=10)
            await end(store, begun, ASKS, at_ms=20)
        assert await statuses(store, "a1", "b1") == ["blocked", "canceled"]
        assert await asking(store) == ["a1"]
        assert (await run_of(store, "b1")).resolution == Resolution("canceled", Person("flowd"), 20)

    stores.use(use)


def test_what_asks_at_the_end_of_its_own_cancel_asks_and_causes_nothing_when_it_is_approved(stores: Stores) -> None:
    async def use(store: OpenStore) -> None:
        begun = await begin(store, await accept(store, "a"))
        await store.request_cancel("run-a", at_ms=5)
        assert (await end(store, begun, ASKS)).effective_status == "blocked"
        approved = await store.resolve("run-a", None, Resolution("completed", BOB, 9), (follow("x"),))
        assert approved.effective_status == "completed"
        assert await store.event("x") is None

    stores.use(use)


def test_no_further_attempt_follows_of_a_run_that_somebody_has_canceled(stores: Stores) -> None:
    async def use(store: OpenStore) -> None:
        for name in ("alone", "event"):
            begun = await begin(store, await accept(store, name))
            if name == "alone":
                await store.request_cancel("run-alone", at_ms=5)
            else:
                await call_off(store, "event-event")
            wait = TimeWait(100, 90, "retry")
            ended = await store.finish(begun.attempt, FAILED, Exit(1), Output(), at_ms=6, wait=wait)
            assert (ended.run.status, ended.run.reason) == (ProcessStatus.FAILED, Reason.EXIT)

    stores.use(use)
