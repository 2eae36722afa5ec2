"""What every store promises of runs that ask for a person, and of what people say to them."""

import asyncio
import json

import pytest
from store_rig import DONE, FAILED, STEP, Stores, accept, begin, claim, committed, ids, new_event, run_of

from flowd.domain.definition import Definition
from flowd.domain.errors import (
    AlreadyAnsweredError,
    FlowdError,
    InvalidParamsError,
    NotAskingError,
    RunActiveError,
    RunNotFoundError,
)
from flowd.domain.exit import Exit
from flowd.domain.filters import RunFilter
from flowd.domain.journal import Interest
from flowd.domain.needs import When
from flowd.domain.outcome import Outcome
from flowd.domain.people import Answer, Person, Resolution
from flowd.domain.queueing import NewRun
from flowd.domain.result import FlowResult
from flowd.domain.run import ProcessStatus, Reason, Run
from flowd.domain.stored import NewEventRuns, Output
from flowd.domain.trees import CausedBy
from flowd.domain.waiting import NeedsWait, PersonWait, TimeWait
from flowd.ports import OpenStore

ADA, BOB = Person("socket", 1000, "ada"), Person("token", name="ci")
ASKED = FlowResult("needs_intervention", '{"status":"needs_intervention","message":"Publish?","n":1}')
ASKS = Outcome(ProcessStatus.COMPLETED, result=ASKED, exit_code=0)
APPROVED, REJECTED = Resolution("completed", ADA, 20, "go"), Resolution("failed", BOB, 21)


async def ask(store: OpenStore, name: str, outcome: Outcome = ASKS) -> str:
    """Let the run ``run-<name>`` end so; its id."""
    begun = await begin(store, await accept(store, name))
    await store.finish(begun.attempt, outcome, Exit(0), Output(), at_ms=10)
    return begun.run.id


async def asking(store: OpenStore) -> list[str]:
    return [question.run.id for question in (await store.questions(limit=50, cursor=None)).items]


def test_a_resolution_stands_in_the_place_of_what_the_step_said_also_after_a_reopening(stores: Stores) -> None:
    async def use(store: OpenStore) -> None:
        run_id = await ask(store, "a")
        assert await asking(store) == [run_id]
        commits = committed(store)
        answered = await store.resolve(run_id, None, APPROVED)
        assert committed(store) == commits + 1
        assert (answered.status, answered.effective_status) == (ProcessStatus.COMPLETED, "completed")
        entries = (await store.journal(Interest(run_id=run_id), after=0, limit=10)).entries
        assert [entry.status for entry in entries] == ["queued", "running", "completed", "completed"]
        assert entries[-1].attempt is None

    async def look(store: OpenStore) -> None:
        run = await run_of(store, "run-a")
        assert (run.resolution, run.needs_attention, run.is_retryable) == (APPROVED, False, False)
        assert run.result is not None
        assert json.loads(run.result.text) == {"status": "completed", "message": "go", "n": 1}
        assert run.reported_result == ASKED
        assert await asking(store) == []
        asked = await store.runs(RunFilter(status="needs_intervention"), limit=5, cursor=None)
        assert asked.items == ()

    stores.use(use)
    stores.use(look)


def test_of_two_people_the_second_is_told_who_was_first(stores: Stores) -> None:
    async def use(store: OpenStore) -> None:
        run_id = await ask(store, "a")
        both = await asyncio.gather(
            store.resolve(run_id, 1, APPROVED), store.resolve(run_id, 1, REJECTED), return_exceptions=True
        )
        assert isinstance(both[0], Run)
        assert isinstance(both[1], AlreadyAnsweredError)
        assert both[1].message.startswith("Run run-a was approved by ada at 1970-01-01T00:00:00.020Z already (go)")
        assert both[1].details["resolution"] == {
            "status": "completed",
            "note": "go",
            "by": {"via": "socket", "uid": 1000, "name": "ada"},
            "at": "1970-01-01T00:00:00.020Z",
        }
        with pytest.raises(AlreadyAnsweredError):
            await store.answer(run_id, None, Answer(BOB, 22))
        assert (await run_of(store, run_id)).resolution == APPROVED

    stores.use(use)


@pytest.mark.parametrize(
    ("prepare", "error"),
    [("none", RunNotFoundError), ("queued", RunActiveError), ("done", NotAskingError), ("failed", NotAskingError)],
)
def test_only_a_run_that_asks_is_answered(stores: Stores, prepare: str, error: type[FlowdError]) -> None:
    async def use(store: OpenStore) -> None:
        if prepare == "queued":
            await accept(store, "a")
        elif prepare != "none":
            await ask(store, "a", DONE if prepare == "done" else FAILED)
        before = await store.run("run-a")
        with pytest.raises(error):
            await store.resolve("run-a", None, APPROVED)
        with pytest.raises(error):
            await store.answer("run-a", None, Answer(ADA, 20))
        assert await store.run("run-a") == before

    stores.use(use)


def test_an_answer_makes_another_attempt_that_is_told_it_and_the_question_stays_with_the_first(stores: Stores) -> None:
    async def use(store: OpenStore) -> None:
        run_id = await ask(store, "a")
        answer = Answer(ADA, 20, '{"version":2}')
        queued = await store.answer(run_id, 1, answer)
        assert (queued.status, queued.result, queued.answer, queued.needs_attention) == (
            ProcessStatus.QUEUED,
            None,
            answer,
            False,
        )
        assert await asking(store) == []
        (second,) = (await store.claim(claim())).started
        assert (second.attempt.number, second.attempt.answer) == (2, answer)
        assert (second.run.answer, second.run.attempts_before) == (answer, 1)
        with pytest.raises(AlreadyAnsweredError, match="answered by ada"):
            await store.resolve(run_id, 1, REJECTED)
        await store.finish(second.attempt, ASKS, Exit(0), Output(), at_ms=30)
        with pytest.raises(AlreadyAnsweredError, match="answered by ada"):
            await store.resolve(run_id, 1, REJECTED)  # who saw the first question means that one
        await store.resolve(run_id, 2, REJECTED)
        first, last = (await run_of(store, run_id)).attempts
        assert (first.result, first.answer, last.result, last.answer) == (ASKED, None, None, answer)

    stores.use(use)


def test_a_rejection_can_be_retried_and_stays_with_its_attempt_and_the_answer_ends_with_a_retry(stores: Stores) -> None:
    async def use(store: OpenStore) -> None:
        run_id = await ask(store, "a")
        await store.answer(run_id, None, Answer(ADA, 19, "1"))
        (second,) = (await store.claim(claim())).started
        await store.finish(second.attempt, ASKS, Exit(0), Output(), at_ms=20)
        assert (await store.resolve(run_id, None, REJECTED)).is_retryable
        retried = await store.retry(run_id, at_ms=30)
        assert retried is not None
        assert (retried.resolution, retried.answer, retried.attempts_before, retried.result) == (None, None, 0, None)
        (third,) = (await store.claim(claim())).started
        assert (third.attempt.number, third.attempt.answer) == (3, None)
        attempts = (await run_of(store, run_id)).attempts
        assert [(one.result, one.resolution) for one in attempts] == [(ASKED, None), (ASKED, REJECTED), (None, None)]

    stores.use(use)


def test_a_run_that_has_not_ended_has_no_result_and_asks_nothing_also_when_it_is_canceled_then(stores: Stores) -> None:
    failed = Outcome(ProcessStatus.FAILED, Reason.EXIT, "exited with 1", result=ASKED, exit_code=1)

    async def use(store: OpenStore) -> None:
        begun = await begin(store, await accept(store, "a"))
        waiting = await store.finish(
            begun.attempt, failed, Exit(1), Output(), at_ms=10, wait=TimeWait(100, 90, "retry")
        )
        assert (waiting.run.result, waiting.run.effective_status) == (None, "queued")
        assert waiting.run.attempts[0].result == ASKED
        assert await asking(store) == []
        canceled = await store.cancel_queued("run-a", at_ms=11)
        assert canceled is not None
        assert (canceled.effective_status, canceled.needs_attention) == ("canceled", False)
        assert canceled.attempts[0].result == ASKED
        assert await asking(store) == []

    stores.use(use)


def test_questions_come_in_the_order_of_acceptance_page_by_page(stores: Stores) -> None:
    async def use(store: OpenStore) -> None:
        for name in "abc":
            await ask(store, name)
        await ask(store, "done", DONE)
        first = await store.questions(limit=2, cursor=None)
        second = await store.questions(limit=2, cursor=first.next_cursor)
        assert [question.run.id for question in (*first.items, *second.items)] == ["run-a", "run-b", "run-c"]
        assert (second.next_cursor, first.items[0].since_ms, first.items[0].waiting) == (None, 10, 0)
        with pytest.raises(InvalidParamsError):
            await store.questions(limit=2, cursor="r3")

    stores.use(use)


# --- what waits for a word, and what it causes -----------------------------------------------------------------------


def step(name: str, *needs: str, when: When = "success") -> NewRun:
    definition = Definition("flow", 1, "/flow", "sha256:0", name, "exec", "run.sh", 1000, 100)
    return NewRun(f"run-{name}", definition, needs=needs, when=when)


async def ask_in_a_round(store: OpenStore) -> None:
    """A step ``a`` that asks, with others behind it that want it good, bad, or either."""
    steps = [step("a"), step("good", "a"), step("bad", "a", when="failure"), step("any", "a", when="always")]
    await store.accept(new_event("e"), [*steps, step("last", "good")], at_ms=1)
    begun = await begin(store, "run-a")
    await store.finish(begun.attempt, ASKS, Exit(0), Output(), at_ms=10)
    assert (await store.claim(claim(9))).started == ()
    for name in ("good", "bad", "any"):
        assert (await run_of(store, f"run-{name}")).waiting_for == PersonWait("run-a")


@pytest.mark.parametrize(("word", "starts"), [(APPROVED, ["run-good", "run-any"]), (REJECTED, ["run-bad", "run-any"])])
def test_what_waits_for_a_word_goes_on_or_ends_in_its_transaction(
    stores: Stores, word: Resolution, starts: list[str]
) -> None:
    async def use(store: OpenStore) -> None:
        await ask_in_a_round(store)
        (question,) = (await store.questions(limit=5, cursor=None)).items
        assert (question.waiting, question.steps) == (4, ("good", "bad", "any", "last"))
        commits = committed(store)
        await store.resolve("run-a", 1, word)
        assert committed(store) == commits + 1
        assert ids(await store.claim(claim(9))) == starts
        ended = {"run-good", "run-bad"} - set(starts)
        assert (await run_of(store, ended.pop())).effective_status == "skipped"
        last = await run_of(store, "run-last")
        assert last.effective_status == ("queued" if word is APPROVED else "skipped")

    stores.use(use)


def test_what_waits_for_a_word_waits_for_the_next_attempt_once_it_is_answered(stores: Stores) -> None:
    async def use(store: OpenStore) -> None:
        await ask_in_a_round(store)
        await store.answer("run-a", 1, Answer(ADA, 20))
        assert (await run_of(store, "run-good")).waiting_for == NeedsWait(("a",))
        second = await begin(store, "run-a")
        await store.finish(second.attempt, DONE, Exit(0), Output(), at_ms=30)
        assert ids(await store.claim(claim(9))) == ["run-good", "run-any"]

    stores.use(use)


def test_a_retry_above_a_question_takes_it_back_and_keeps_it_with_its_attempt(stores: Stores) -> None:
    async def use(store: OpenStore) -> None:
        await store.accept(new_event("e"), [step("top"), step("a", "top", when="always")], at_ms=1)
        for run_id, outcome in (("run-top", FAILED), ("run-a", ASKS)):
            begun = await begin(store, run_id)
            await store.finish(begun.attempt, outcome, Exit(0), Output(), at_ms=10)
        assert await asking(store) == ["run-a"]
        assert await store.retry("run-top", at_ms=20) is not None
        assert await asking(store) == []
        run = await run_of(store, "run-a")
        assert (run.waiting_for, run.result, run.attempts[0].result) == (NeedsWait(("top",)), None, ASKED)
        with pytest.raises(RunActiveError):
            await store.resolve("run-a", None, APPROVED)

    stores.use(use)


def test_what_a_question_causes_goes_out_with_the_word_that_it_counts(stores: Stores) -> None:
    caused = NewEventRuns(new_event("caused"), (NewRun("run of caused", STEP),))

    async def use(store: OpenStore) -> None:
        run_id = await ask(store, "a")
        commits = committed(store)
        await store.resolve(run_id, 1, APPROVED, [caused])
        assert committed(store) == commits + 1
        event = await store.event("caused")
        assert event is not None
        assert (event.caused_by, event.depth) == (CausedBy(run_id, "event-a"), 1)
        assert ids(await store.claim(claim(9))) == ["run of caused"]
        late = NewEventRuns(new_event("late"), ())
        with pytest.raises(AlreadyAnsweredError):
            await store.resolve(run_id, 1, APPROVED, [late])
        assert await store.event("late") is None

    stores.use(use)
