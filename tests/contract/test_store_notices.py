"""What every store promises of the outbox: notices are committed with the outcomes that they tell."""

from collections.abc import Sequence

import pytest
from store_rig import DONE, FAILED, STEP, Stores, begin, claim, new_event

from flowd.domain.definition import Definition
from flowd.domain.errors import NoticeNotFoundError, NotRetryableError
from flowd.domain.exit import Exit
from flowd.domain.notices import GIVE_UP_MS, KEPT_MS, Notice, NoticeCounts, NoticeState, NotifyRule
from flowd.domain.outcome import Outcome
from flowd.domain.people import Person, Resolution
from flowd.domain.queueing import NewRun, SideEffects
from flowd.domain.result import FlowResult
from flowd.domain.run import ProcessStatus
from flowd.domain.stored import NewEventRuns, Output
from flowd.domain.timing import Timing
from flowd.domain.trees import CausedBy
from flowd.domain.waiting import TimeWait
from flowd.ports import OpenStore
from flowd.store.sql import notices, outbox

MAIL = NotifyRule("mail", frozenset({"failed", "recovered"}))
ASKED = FlowResult("needs_intervention", '{"status":"needs_intervention","message":"Publish?"}')
ASKS = Outcome(ProcessStatus.COMPLETED, result=ASKED, exit_code=0)
ADA = Person("socket", 1000, "ada")
SPENT = FlowResult("changed", '{"status":"changed"}')
HOUR_MS = 3_600_000


def step_of(flow: str, step: str = "step") -> Definition:
    return Definition(flow, 1, "/flow", "sha256:0", step, "exec", "run.sh", 1000, 100)


async def end(
    store: OpenStore, name: str, outcome: Outcome = FAILED, *, flow: str = "flow", wait: TimeWait | None = None
) -> None:
    """Accept ``event-<name>`` with a run of the flow, and let that end so."""
    await store.accept(new_event(f"event-{name}"), [NewRun(f"run-{name}", step_of(flow))], at_ms=1)
    await end_run(store, f"run-{name}", outcome, flow=flow, wait=wait)


async def end_run(
    store: OpenStore,
    run_id: str,
    outcome: Outcome = FAILED,
    *,
    flow: str = "flow",
    wait: TimeWait | None = None,
    follows: Sequence[NewEventRuns] = (),
) -> None:
    (begun,) = (await store.claim(claim(definition_of=lambda *_: step_of(flow)))).started
    assert begun.run.id == run_id
    await store.finish(begun.attempt, outcome, Exit(1), Output(), at_ms=5, wait=wait, follows=follows)


async def all_of(store: OpenStore, **where: object) -> list[Notice]:
    page = await store.notices(limit=100, **where)  # type: ignore[arg-type]
    return list(reversed(page.items))


async def told(store: OpenStore) -> list[tuple[str, str]]:
    return [(notice.what, notice.told["runId"]) for notice in await all_of(store)]


async def take(store: OpenStore, at_ms: int = 100, *, names: Sequence[str] = ("mail",), by: str = "a") -> list[Notice]:
    claimed, now_ms = await store.claim_notices(names, by, steady_ms=at_ms, hold_ms=60_000)
    assert now_ms == at_ms
    return list(claimed.notices)


def test_without_rules_nothing_is_written(stores: Stores) -> None:
    async def use(store: OpenStore) -> None:
        heard: list[SideEffects] = []
        store.tell_side_effects(heard.append)
        await end(store, "1")
        assert await all_of(store) == []
        assert not any(effects.has_notices for effects in heard)

    stores.use(use)


def test_a_failure_is_told_with_what_is_known_of_it_and_its_commit_says_so(stores: Stores) -> None:
    async def use(store: OpenStore) -> None:
        heard: list[SideEffects] = []
        store.tell_side_effects(heard.append)
        store.use_notify_rules([MAIL])
        await end(store, "1")
        (notice,) = await all_of(store)
        assert (notice.notifier, notice.what, notice.state) == ("mail", "failed", NoticeState.WAITING)
        assert notice.created_at_ms == 5
        assert notice.told == {
            "flow": "flow",
            "step": "step",
            "runId": "run-1",
            "attempt": 1,
            "round": 1,
            "eventId": "event-1",
            "eventType": "t",
            "rootEventId": "event-1",
            "status": "failed",
            "reason": "exit",
            "why": "exited with 1",
            "error": "exited with 1",
        }
        assert await store.run("run-1") is not None  # so that the side effects were told
        assert any(effects.has_notices for effects in heard)

    stores.use(use)


def test_who_does_not_ask_for_it_is_not_told(stores: Stores) -> None:
    async def use(store: OpenStore) -> None:
        asks = NotifyRule("chat", frozenset({"needs_intervention"}))
        store.use_notify_rules([asks, NotifyRule("mail", frozenset({"failed"}), ("other-*",))])
        await end(store, "1")
        await end(store, "2", DONE)
        await end(store, "3", ASKS)
        assert await told(store) == [("needs_intervention", "run-3")]
        (notice,) = await all_of(store)
        assert (notice.notifier, notice.told["message"]) == ("chat", "Publish?")

    stores.use(use)


def test_an_attempt_that_is_followed_by_another_is_no_outcome(stores: Stores) -> None:
    async def use(store: OpenStore) -> None:
        store.use_notify_rules([MAIL])
        await end(store, "1", wait=TimeWait(2, 1, "retry", 2))
        assert await all_of(store) == []
        await end_run(store, "run-1")
        assert [(notice.what, notice.told["attempt"]) for notice in await all_of(store)] == [("failed", 2)]

    stores.use(use)


def test_a_tree_that_fails_in_ten_places_has_one_notice_that_counts_them(stores: Stores) -> None:
    async def use(store: OpenStore) -> None:
        store.use_notify_rules([MAIL, NotifyRule("chat", frozenset({"failed"}))])
        await store.accept(new_event("root"), [NewRun("head", STEP)], at_ms=1)
        below = [NewEventRuns(new_event(f"e{n}"), (NewRun(f"r{n}", step_of("flow", f"s{n}")),)) for n in range(10)]
        await end_run(store, "head", Outcome(ProcessStatus.COMPLETED, result=SPENT, exit_code=0), follows=below)
        for n in range(10):
            begun = await begin(store, f"r{n}")
            await store.finish(begun.attempt, FAILED, Exit(1), Output(), at_ms=6)
        assert [
            (one.notifier, one.told["runId"], one.told["rootEventId"], one.failures) for one in await all_of(store)
        ] == [
            ("mail", "r0", "root", 10),
            ("chat", "r0", "root", 10),
        ]
        event = await store.event("e3")
        assert event is not None
        assert event.caused_by == CausedBy("head", "root")

    stores.use(use)


def test_a_tree_whose_notice_was_sent_makes_no_other_until_something_of_it_is_run_again(stores: Stores) -> None:
    async def use(store: OpenStore) -> None:
        store.use_notify_rules([MAIL])
        await store.accept(
            new_event("e"), [NewRun("a", step_of("flow", "a")), NewRun("b", step_of("flow", "b"))], at_ms=1
        )
        await end_run(store, "a")
        (notice,) = await take(store)
        assert await store.note_sent(notice, "a", at_ms=6)
        await end_run(store, "b")
        assert await told(store) == [("failed", "a")]
        await store.retry("b", at_ms=7)
        await end_run(store, "b")
        assert await told(store) == [("failed", "a"), ("failed", "b")]
        await store.add_runs("e", [NewRun("c", STEP, replay_of="a")], at_ms=8)
        await end_run(store, "c")
        assert (await told(store))[2:] == [("failed", "c")]

    stores.use(use)


def test_a_flow_is_told_once_to_have_recovered(stores: Stores) -> None:
    async def use(store: OpenStore) -> None:
        store.use_notify_rules([MAIL])
        await end(store, "0", DONE)
        await end(store, "1")
        await end(store, "2")
        await end(store, "3", DONE, flow="other")
        await end(store, "4", DONE)
        await end(store, "5", DONE)
        assert await told(store) == [("failed", "run-1"), ("failed", "run-2"), ("recovered", "run-4")]
        assert (await all_of(store))[-1].told["failedSinceMs"] == 5

    stores.use(use)


def test_a_round_recovers_its_flow_once_all_of_it_has_ended_well(stores: Stores) -> None:
    async def use(store: OpenStore) -> None:
        store.use_notify_rules([MAIL])
        await store.accept(
            new_event("e"), [NewRun("a", step_of("flow", "a")), NewRun("b", step_of("flow", "b"))], at_ms=1
        )
        await end_run(store, "a")
        await end_run(store, "b", DONE)  # the round has ended, and failed
        assert await told(store) == [("failed", "a")]
        await store.retry("a", at_ms=6)
        await end_run(store, "a", DONE)
        assert await told(store) == [("failed", "a"), ("recovered", "a")]

    stores.use(use)


def test_what_a_person_rejects_is_not_told_and_what_a_person_approves_recovers(stores: Stores) -> None:
    async def use(store: OpenStore) -> None:
        store.use_notify_rules([MAIL])
        await end(store, "1")
        for name, verdict in (("2", "failed"), ("3", "completed")):
            await end(store, name, ASKS)
            resolution = Resolution(verdict, ADA, 9)  # type: ignore[arg-type]
            await store.resolve(f"run-{name}", None, resolution, follows=())
        assert await told(store) == [("failed", "run-1"), ("recovered", "run-3")]

    stores.use(use)


def test_a_claimed_notice_is_its_holders_until_the_time_is_up_or_it_is_released(stores: Stores) -> None:
    async def use(store: OpenStore) -> None:
        store.use_notify_rules([MAIL])
        await end(store, "1")
        (mine,) = await take(store, by="a")
        assert await take(store, 100 + 59_999, by="b") == []
        (theirs,) = await take(store, 100 + 60_000, by="b")
        assert (mine.id, theirs.tries) == (theirs.id, 2)
        assert not await store.note_sent(mine, "a", at_ms=1)
        await store.release_notices("a")
        assert await take(store, 60_101, by="c") == []
        await store.release_notices("b")
        (last,) = await take(store, 60_101, by="c")
        assert await store.note_sent(last, "c", at_ms=7)
        (notice,) = await all_of(store)
        assert (notice.state, notice.ended_at_ms, notice.tries) == (NoticeState.SENT, 7, 3)
        assert await take(store, 10**9) == []

    stores.use(use)


def test_a_notice_that_was_not_sent_is_tried_again_at_its_time_and_then_given_up(stores: Stores) -> None:
    async def use(store: OpenStore) -> None:
        store.use_notify_rules([MAIL])
        await end(store, "1")
        (notice,) = await take(store)
        await store.note_not_sent(notice, "a", "gone", delay_ms=10_000, steady_ms=200, at_ms=9)
        claimed, _ = await store.claim_notices(["mail"], "a", steady_ms=300, hold_ms=60_000)
        assert (claimed.notices, claimed.next_due_ms) == ((), 10_200)
        assert await store.count_notices(since_ms=0) == {"mail": NoticeCounts(1, 1)}
        (notice,) = await take(store, 10_200)
        assert (notice.error, notice.first_try_ms) == ("gone", 100)
        await store.note_not_sent(notice, "a", "still gone", delay_ms=None, steady_ms=10_300, at_ms=10)
        (notice,) = await all_of(store, state=NoticeState.FAILED)
        assert (notice.error, notice.ended_at_ms) == ("still gone", 10)
        assert await store.count_notices(since_ms=10) == {"mail": NoticeCounts(given_up=1)}
        assert await store.count_notices(since_ms=11) == {}
        assert (await store.retry_notice(notice.id)).state is NoticeState.WAITING
        (notice,) = await take(store, 10_300)
        assert (notice.tries, notice.first_try_ms) == (1, 10_300)
        await store.note_sent(notice, "a", at_ms=11)
        with pytest.raises(NotRetryableError):
            await store.retry_notice(notice.id)
        with pytest.raises(NoticeNotFoundError):
            await store.retry_notice("notice-0")

    stores.use(use)


def test_notices_outlive_the_daemon(stores: Stores) -> None:
    async def write(store: OpenStore) -> None:
        store.use_notify_rules([MAIL])
        await end(store, "1")

    async def look(store: OpenStore) -> None:
        assert await told(store) == [("failed", "run-1")]

    stores.use(write)
    stores.use(look)


def test_what_nobody_sends_is_given_up_after_a_day_and_forgotten_after_a_month(stores: Stores) -> None:
    async def use(store: OpenStore) -> None:
        store.use_notify_rules([MAIL, NotifyRule("chat", frozenset({"failed"}))])
        await end(store, "1")
        assert await store.sweep_notices(["mail"], steady_ms=GIVE_UP_MS, at_ms=GIVE_UP_MS) == 0
        assert await store.sweep_notices(["mail"], steady_ms=GIVE_UP_MS + 6, at_ms=GIVE_UP_MS + 6) == 1
        assert await store.count_notices(since_ms=0) == {"mail": NoticeCounts(1), "chat": NoticeCounts(given_up=1)}
        at_ms = GIVE_UP_MS + 7 + KEPT_MS
        assert await store.sweep_notices(["mail"], steady_ms=at_ms, at_ms=at_ms) == 1
        assert [notice.notifier for notice in await all_of(store)] == ["mail"]
        assert await store.forget_notices(before_ms=at_ms) == 0  # what waits is not forgotten

    stores.use(use)


def test_notices_are_listed_newest_first_in_pages(stores: Stores) -> None:
    async def use(store: OpenStore) -> None:
        store.use_notify_rules([MAIL])
        for name in "123":
            await end(store, name)
        first = await store.notices(limit=2)
        assert [notice.told["runId"] for notice in first.items] == ["run-3", "run-2"]
        rest = await store.notices(limit=2, cursor=first.next_cursor)
        assert ([notice.told["runId"] for notice in rest.items], rest.next_cursor) == (["run-1"], None)
        assert (await store.notices(limit=9, notifier="chat")).items == ()

    stores.use(use)


def test_what_waits_for_a_notifier_is_bounded_and_the_newest_counts_the_rest(
    stores: Stores, monkeypatch: pytest.MonkeyPatch
) -> None:
    bounded = "SELECT 1 FROM notices WHERE state = 'waiting' AND notifier = ? LIMIT 1 OFFSET 1"
    assert bounded.replace("OFFSET 1", "OFFSET 999") == notices.IS_FULL
    monkeypatch.setattr(notices, "IS_FULL", bounded)

    async def use(store: OpenStore) -> None:
        store.use_notify_rules([MAIL, NotifyRule("chat", frozenset({"needs_intervention"}))])
        for name in "1234":
            await end(store, name)
        await end(store, "5", ASKS)
        assert [(one.told["runId"], one.failures) for one in await all_of(store)] == [
            ("run-1", 1),
            ("run-2", 3),
            ("run-5", 1),
        ]
        for notice in await take(store):
            await store.note_sent(notice, "a", at_ms=6)
        await end(store, "6")
        assert (await told(store))[-1] == ("failed", "run-6")

    stores.use(use)


def test_of_what_was_sent_only_the_newest_are_kept(stores: Stores, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(outbox, "MAX_KEPT", 2)

    async def use(store: OpenStore) -> None:
        store.use_notify_rules([MAIL])
        for number in range(5):
            await end(store, str(number))
            for notice in await take(store):
                await store.note_sent(notice, "a", at_ms=10 + number)
        assert await store.sweep_notices(["mail"], steady_ms=20, at_ms=20) == 3
        assert await told(store) == [("failed", "run-3"), ("failed", "run-4")]

    stores.use(use)


def test_a_run_that_has_waited_for_too_long_is_told_to_who_asks_for_that_or_for_failures(stores: Stores) -> None:
    async def use(store: OpenStore) -> None:
        late, none = NotifyRule("late", frozenset({"queue_timeout"})), NotifyRule("none", frozenset({"blocked"}))
        store.use_notify_rules([late, MAIL, none])
        timed = NewRun("run-1", STEP, timing=Timing(queue_timeout_ms=100))
        await store.accept(new_event("event-1"), [timed], at_ms=10)
        assert (await store.claim(claim(at_ms=110))).started == ()
        assert [(one.notifier, one.what, one.told["reason"]) for one in await all_of(store)] == [
            ("late", "queue_timeout", "queue_timeout"),
            ("mail", "queue_timeout", "queue_timeout"),
        ]

    stores.use(use)
