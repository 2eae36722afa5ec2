"""What every store promises of runs that need others: who waits, starts or is skipped, and what a retry puts back."""

import pytest
from store_rig import DONE, FAILED, Stores, claim, committed, forget_before, ids, new_event

from flowd.domain.definition import Definition
from flowd.domain.errors import DependentActiveError, InvalidParamsError, NeedsActiveError, NotRetryableError
from flowd.domain.exit import Exit
from flowd.domain.filters import RunFilter
from flowd.domain.needs import When
from flowd.domain.outcome import Outcome
from flowd.domain.people import Answer, Person
from flowd.domain.queueing import NewRun, StartedRun
from flowd.domain.result import FlowResult
from flowd.domain.run import ProcessStatus, Reason, Run
from flowd.domain.stored import Output
from flowd.domain.waiting import NeedsWait, PersonWait, TimeWait
from flowd.ports import OpenStore

SAID_SKIPPED = Outcome(ProcessStatus.COMPLETED, result=FlowResult("skipped", '{"status":"skipped"}'))
BLOCKED = Outcome(ProcessStatus.COMPLETED, result=FlowResult("blocked", '{"status":"blocked"}'))
CANCELED = Outcome(ProcessStatus.CANCELED, Reason.CANCELED, "canceled")


def new(name: str, *needs: str, when: When = "success", copied: tuple[str, ...] = (), is_named: bool = False) -> NewRun:
    """A run of the step ``name``; its id is ``run-<name>`` unless it is changed."""
    step = Definition("flow", 1, "/flow", "sha256:0", name.rstrip("'"), "exec", "run.sh", 1000, 100)
    return NewRun(
        f"run-{name}", step, needs=needs, when=when, copied=copied, is_named=is_named, replay_of=_origin(name)
    )


def _origin(name: str) -> str | None:
    """A name with a tick is of a replay."""
    return f"run-{name.rstrip(chr(39))}" if name.endswith("'") else None


DIAMOND = (new("checkout"), new("test", "checkout"), new("build", "checkout"), new("publish", "test", "build"))


class Rounds:
    """One event's runs in a store, by the names of their steps."""

    def __init__(self, store: OpenStore) -> None:
        self.store = store
        self.started: dict[str, StartedRun] = {}

    async def accept(self, *runs: NewRun, event_id: str = "e") -> None:
        await self.store.accept(new_event(event_id), runs, at_ms=1)

    async def start(self) -> list[str]:
        """Claim all that may start; their steps."""
        claimed = await self.store.claim(claim(50, definition_of=_definition))
        self.started |= {started.run.id: started for started in claimed.started}
        return [run_id.removeprefix("run-") for run_id in ids(claimed)]

    async def end(self, name: str, outcome: Outcome = DONE) -> Run:
        attempt = self.started[f"run-{name}"].attempt
        return (await self.store.finish(attempt, outcome, Exit(0), Output(), at_ms=5)).run

    async def run(self, name: str, prefix: str = "run-") -> Run:
        run = await self.store.run(f"{prefix}{name}")
        assert run is not None
        return run

    async def statuses(self, *names: str) -> list[str]:
        return [(await self.run(name)).effective_status for name in names]

    async def go(self, **outcomes: Outcome) -> list[str]:
        """Run all that may start, each to its outcome or a good end; the steps in the order of their starts."""
        order = []
        while starting := await self.start():
            for name in starting:
                order.append(name)
                await self.end(name, outcomes.get(name.rstrip("'"), DONE))
        return order


def _definition(flow: str, step: str) -> Definition:
    return Definition(flow, 1, "/flow", "sha256:0", step, "exec", "run.sh", 1000, 100)


# --- waiting and starting --------------------------------------------------------------------------------------------


def test_a_run_starts_when_all_that_it_needs_has_ended_also_over_a_restart(stores: Stores) -> None:
    async def begin(store: OpenStore) -> None:
        rounds = Rounds(store)
        await rounds.accept(*DIAMOND)
        assert (await rounds.run("publish")).waiting_for == NeedsWait(("test", "build"))
        assert await rounds.start() == ["checkout"]
        assert await rounds.start() == []
        await rounds.end("checkout")
        assert await rounds.start() == ["test", "build"]
        await rounds.end("build")
        assert (await rounds.run("publish")).waiting_for == NeedsWait(("test",))

    async def go_on(store: OpenStore) -> None:
        rounds = Rounds(store)
        assert await rounds.start() == []
        left = {left.run.id: left for left in await store.left_running()}
        await store.finish(left["run-test"].attempt, DONE, Exit(0), Output(), at_ms=5)
        assert await rounds.start() == ["publish"]

    stores.use(begin)
    stores.use(go_on)


def test_a_run_is_told_how_its_needs_ended_when_it_starts(stores: Stores) -> None:
    async def use(store: OpenStore) -> None:
        rounds = Rounds(store)
        await rounds.accept(new("b", "c", "a", when="always"), new("a"), new("c"))
        await rounds.start()
        await rounds.end("c", FAILED)
        await rounds.end("a")
        assert await rounds.start() == ["b"]
        told = [(end.step_name, end.run_id, end.status, end.result) for end in rounds.started["run-b"].needs]
        assert told == [("c", "run-c", "failed", None), ("a", "run-a", "changed", '{"status":"changed"}')]

    stores.use(use)


def test_a_run_whose_needs_end_with_the_claim_of_an_end_starts_in_that_commit(stores: Stores) -> None:
    async def use(store: OpenStore) -> None:
        rounds = Rounds(store)
        await rounds.accept(*DIAMOND)
        await rounds.start()
        commits = committed(store)
        attempt = rounds.started["run-checkout"].attempt
        asked = claim(5, definition_of=_definition)
        ended = await store.finish(attempt, DONE, Exit(0), Output(), at_ms=5, claim=asked)
        assert ended.claimed is not None
        assert (ids(ended.claimed), committed(store)) == (["run-test", "run-build"], commits + 1)

    stores.use(use)


@pytest.mark.parametrize(
    ("when", "starts_after"),
    [
        ("success", {"done"}),
        ("not_failed", {"done", "skipped"}),
        ("failure", {"failed"}),
        ("always", {"done", "skipped", "failed", "canceled"}),
        ("finally", {"done", "skipped", "failed", "canceled"}),
    ],
)
def test_when_says_after_which_ends_a_run_starts(stores: Stores, when: When, starts_after: set[str]) -> None:
    ends = {"done": DONE, "skipped": SAID_SKIPPED, "failed": FAILED, "canceled": CANCELED}

    async def use(store: OpenStore) -> None:
        for how, outcome in ends.items():
            rounds = Rounds(store)
            await rounds.accept(new(f"a-{how}"), new(f"b-{how}", f"a-{how}", when=when), event_id=how)
            await rounds.start()
            await rounds.end(f"a-{how}", outcome)
            assert (how, await rounds.start()) == (how, [f"b-{how}"] if how in starts_after else [])
            run = await rounds.run(f"b-{how}")
            assert (run.reason is Reason.NEEDS_NOT_MET) == (how not in starts_after)

    stores.use(use)


def test_a_run_is_looked_at_once_when_its_last_need_has_ended(stores: Stores) -> None:
    async def use(store: OpenStore) -> None:
        rounds = Rounds(store)
        await rounds.accept(new("a"), new("b"), new("c", "a", "b"))
        await rounds.start()
        await rounds.end("a", FAILED)
        assert (await rounds.run("c")).waiting_for == NeedsWait(("b",))
        await rounds.end("b")
        assert (await rounds.run("c")).effective_status == "skipped"

    stores.use(use)


def test_an_end_that_waits_for_another_attempt_lets_nothing_go(stores: Stores) -> None:
    async def use(store: OpenStore) -> None:
        rounds = Rounds(store)
        await rounds.accept(new("a"), new("b", "a", when="always"))
        await rounds.start()
        attempt = rounds.started["run-a"].attempt
        await store.finish(attempt, FAILED, Exit(1), Output(), at_ms=5, wait=TimeWait(10, 5, "retry"))
        assert (await rounds.run("b")).waiting_for == NeedsWait(("a",))

    stores.use(use)


# --- not met ---------------------------------------------------------------------------------------------------------


def test_a_run_whose_needs_are_not_met_ends_unstarted_and_so_on_down_the_line(stores: Stores) -> None:
    told: list[Run] = []

    async def use(store: OpenStore) -> None:
        store.tell_side_effects(lambda also: told.extend(also.ended))
        rounds = Rounds(store)
        await rounds.accept(*DIAMOND, new("tidy", "publish", when="always"))
        assert await rounds.go(checkout=FAILED) == ["checkout", "tidy"]
        for name, message in (
            ("test", "needs checkout, which failed"),
            ("publish", "needs test, which was not run, and build, which was not run"),
        ):
            run = await rounds.run(name)
            assert run.result is not None
            assert run.result.value == {"status": "skipped", "message": message}
            assert (run.status, run.reason, run.attempt_count, run.started_at_ms, run.completed_at_ms) == (
                ProcessStatus.COMPLETED,
                Reason.NEEDS_NOT_MET,
                0,
                None,
                5,
            )
            assert not run.needs_attention
        assert [run.id for run in told] == ["run-test", "run-build", "run-publish"]
        assert (await store.counts()).runs["queued"] == 0

    stores.use(use)


def test_a_failure_far_above_is_one_and_a_cancel_is_none(stores: Stores) -> None:
    async def use(store: OpenStore) -> None:
        for outcome, expected in ((FAILED, ["mend"]), (CANCELED, []), (SAID_SKIPPED, [])):
            rounds = Rounds(store)
            kind = outcome.status if outcome.result is None else "said"
            names = [f"{name}-{kind}" for name in ("a", "b", "c", "mend")]
            a, b, c, mend = names
            await rounds.accept(new(a), new(b, a), new(c, b), new(mend, c, when="failure"), event_id=kind)
            await rounds.start()
            await rounds.end(a, outcome)
            assert await rounds.start() == [f"{name}-{kind}" for name in expected]

    stores.use(use)


def test_a_chain_of_a_thousand_is_skipped_in_one_transaction(stores: Stores) -> None:
    async def use(store: OpenStore) -> None:
        rounds = Rounds(store)
        chain = [new("0"), *(new(str(n), str(n - 1)) for n in range(1, 1000))]
        await rounds.accept(*chain)
        await rounds.start()
        commits = committed(store)
        await rounds.end("0", FAILED)
        assert committed(store) == commits + 1
        assert (await store.counts()).runs == {"queued": 0, "running": 0, "completed": 999, "failed": 1, "canceled": 0}

    stores.use(use, max_queued=2000)


# --- questions -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("when", ["success", "failure", "always", "finally"])
def test_an_open_question_keeps_what_needs_it_waiting_whatever_when_says(stores: Stores, when: When) -> None:
    async def use(store: OpenStore) -> None:
        rounds = Rounds(store)
        await rounds.accept(new("ask"), new("other"), new("then", "ask", "other", when=when))
        await rounds.start()
        await rounds.end("ask", BLOCKED)
        assert (await rounds.run("then")).waiting_for == NeedsWait(("other",))
        await rounds.end("other", FAILED)
        assert (await rounds.run("then")).waiting_for == PersonWait("run-ask")
        assert await rounds.start() == []
        assert await store.end_person_waits(at_ms=6) == 0  # that is another person's word

    stores.use(use)


def test_an_answer_puts_back_all_that_is_below_as_a_retry_does(stores: Stores) -> None:
    async def use(store: OpenStore) -> None:
        rounds = Rounds(store)
        await rounds.accept(new("ask"), new("then", "ask"), new("no", "ask"), new("never", "no"))
        await rounds.start()
        await rounds.end("ask", BLOCKED)
        assert await store.cancel_queued("run-no", at_ms=6) is not None
        await store.answer("run-ask", 1, Answer(Person("socket", 1000, "ada"), 7))
        assert (await rounds.run("then")).waiting_for == NeedsWait(("ask",))
        assert await rounds.go() == ["ask", "then", "no", "never"]

    stores.use(use)


# --- retries ---------------------------------------------------------------------------------------------------------


def test_a_retry_puts_all_that_is_below_it_back_whatever_it_had_ended_as(stores: Stores) -> None:
    async def use(store: OpenStore) -> None:
        rounds = Rounds(store)
        await rounds.accept(*DIAMOND, new("mend", "build", when="failure"), new("aside", "checkout"))
        order = await rounds.go(build=FAILED)
        assert order == ["checkout", "test", "build", "aside", "mend"]
        await store.retry("run-build", at_ms=9)
        assert await rounds.statuses("checkout", "test", "aside") == ["changed"] * 3
        assert (await rounds.run("publish")).waiting_for == NeedsWait(("build",))
        mend = await rounds.run("mend")
        assert (mend.waiting_for, mend.result, mend.attempt_count) == (NeedsWait(("build",)), None, 1)
        assert await rounds.go() == ["build", "publish"]
        assert await rounds.statuses("build", "publish", "mend") == ["changed", "changed", "skipped"]
        assert (await rounds.run("build")).attempt_count == 2

    stores.use(use)


def test_a_retried_run_starts_whatever_its_when_says(stores: Stores) -> None:
    async def use(store: OpenStore) -> None:
        rounds = Rounds(store)
        await rounds.accept(new("a"), new("b", "a", when="always"), new("c", "b"))
        await rounds.go(b=FAILED)
        await store.retry("run-a", at_ms=9) if (await rounds.run("a")).status is ProcessStatus.FAILED else None
        await store.retry("run-b", at_ms=9)
        assert await rounds.go() == ["b", "c"]
        await rounds.accept(new("x"), new("y", "x"), event_id="other")
        await rounds.start()
        assert await store.cancel_queued("run-y", at_ms=10) is not None
        await rounds.end("x", FAILED)
        await store.retry("run-y", at_ms=11)
        assert await rounds.start() == ["y"]

    stores.use(use)


def test_a_retry_is_refused_while_something_below_runs_or_a_need_is_open(stores: Stores) -> None:
    async def use(store: OpenStore) -> None:
        rounds = Rounds(store)
        await rounds.accept(new("a"), new("b", "a", when="always"), new("c", "b"))
        await rounds.start()
        await rounds.end("a", FAILED)
        await rounds.start()
        with pytest.raises(DependentActiveError, match=r"run-b \(b\) needs run-a and is running"):
            await store.retry("run-a", at_ms=9)
        await rounds.end("b", FAILED)
        await store.retry("run-a", at_ms=9)
        assert await store.cancel_queued("run-b", at_ms=10) is not None
        with pytest.raises(NeedsActiveError, match=r"run-b needs run-a \(a\), which is queued"):
            await store.retry("run-b", at_ms=11)
        await rounds.start()
        await rounds.end("a", BLOCKED)
        with pytest.raises(NeedsActiveError, match="asks a person"):
            await store.retry("run-b", at_ms=12)

    stores.use(use)


def test_what_was_not_run_is_not_retried_itself_and_the_refusal_names_what_is(stores: Stores) -> None:
    async def use(store: OpenStore) -> None:
        rounds = Rounds(store)
        await rounds.accept(new("a"), new("b", "a"), new("c", "b"))
        await rounds.go(a=FAILED)
        with pytest.raises(NotRetryableError, match=r"Retry run-a \(a\)"):
            await store.retry("run-c", at_ms=9)
        assert await rounds.statuses("a", "b", "c") == ["failed", "skipped", "skipped"]

    stores.use(use)


# --- replays ---------------------------------------------------------------------------------------------------------


def test_a_replay_is_the_next_round_and_its_runs_need_each_other_alone(stores: Stores) -> None:
    async def use(store: OpenStore) -> None:
        rounds = Rounds(store)
        await rounds.accept(new("a"), new("b", "a"))
        await rounds.start()
        await store.add_runs("e", [new("a'"), new("b'", "a")], at_ms=3)
        assert [(await rounds.run(name)).round for name in ("a", "b", "a'", "b'")] == [1, 1, 2, 2]
        await rounds.end("a", FAILED)
        assert (await rounds.run("b'")).waiting_for == NeedsWait(("a",))
        assert await rounds.go() == ["a'", "b'"]
        other = NewRun("other", Definition("other", 1, "/o", "sha256:0", "a", "exec", "run.sh", 1000, 100))
        await store.add_runs("e", [new("a''"), other], at_ms=3)
        assert ((await rounds.run("a''")).round, (await rounds.run("other", "")).round) == (3, 1)

    stores.use(use)


def test_a_replay_of_some_steps_copies_how_the_newest_runs_of_the_others_ended(stores: Stores) -> None:
    async def use(store: OpenStore) -> None:
        rounds = Rounds(store)
        await rounds.accept(*DIAMOND)
        await rounds.go(build=FAILED)
        named = new("build'", copied=("checkout",), is_named=True)
        created = await store.add_runs("e", [named, new("publish'", "build", copied=("test",))], at_ms=6)
        assert [run.waiting_for for run in created] == [None, NeedsWait(("build",))]
        assert await rounds.go() == ["build'", "publish'"]
        ends = [(end.step_name, end.run_id, end.status) for end in rounds.started["run-publish'"].needs]
        assert ends == [("build", "run-build'", "changed"), ("test", "run-test", "changed")]

    stores.use(use)


def test_a_named_step_starts_whatever_its_copied_needs_ended_as_and_another_one_does_not(stores: Stores) -> None:
    async def use(store: OpenStore) -> None:
        rounds = Rounds(store)
        await rounds.accept(new("a"), new("b", "a"), new("c", "a"))
        await rounds.go(a=FAILED)
        both = [new("b'", copied=("a",), is_named=True), new("c'", copied=("a",))]
        created = await store.add_runs("e", both, at_ms=6)
        assert [run.effective_status for run in created] == ["queued", "skipped"]
        assert await rounds.start() == ["b'"]

    stores.use(use)


def test_a_replay_is_refused_and_stores_nothing_where_a_need_is_open_asks_or_was_never_there(stores: Stores) -> None:
    async def use(store: OpenStore) -> None:
        rounds = Rounds(store)
        await rounds.accept(new("a"), new("b", "a"))
        alone = [new("b'", copied=("a",), is_named=True)]
        with pytest.raises(NeedsActiveError, match="needs a, whose run run-a is queued"):
            await store.add_runs("e", alone, at_ms=6)
        await rounds.start()
        await rounds.end("a", BLOCKED)
        with pytest.raises(NeedsActiveError, match="asks a person"):
            await store.add_runs("e", alone, at_ms=6)
        with pytest.raises(InvalidParamsError, match="needs gone, which has no run"):
            await store.add_runs("e", [new("b'", copied=("gone",), is_named=True)], at_ms=6)
        assert [run.id for run in (await store.runs(RunFilter(), limit=9, cursor=None)).items] == ["run-b", "run-a"]

    stores.use(use)


def test_rounds_and_needs_are_forgotten_with_their_event(stores: Stores) -> None:
    async def use(store: OpenStore) -> None:
        rounds = Rounds(store)
        await rounds.accept(*DIAMOND)
        await rounds.go()
        await store.add_runs("e", [new("build'", copied=("checkout",), is_named=True)], at_ms=6)
        await rounds.go()
        await rounds.accept(new("last"), event_id="newest")
        await forget_before(store, 100)
        assert await store.event("e") is None
        await rounds.accept(*DIAMOND)
        assert await rounds.go() == ["last", "checkout", "test", "build", "publish"]

    stores.use(use)


def test_a_need_whose_step_was_removed_has_failed(stores: Stores) -> None:
    told: list[Run] = []

    async def use(store: OpenStore) -> None:
        store.tell_side_effects(lambda also: told.extend(also.ended))
        rounds = Rounds(store)
        await rounds.accept(new("a"), new("b", "a"), new("mend", "a", when="failure"))
        await store.claim(claim(5, definition_of=lambda *_: None))
        (ended,) = await store.fail_removed("flow", "a", at_ms=7)
        assert (ended.id, ended.reason) == ("run-a", Reason.STEP_REMOVED)
        assert await rounds.start() == ["mend"]
        assert [run.id for run in told] == ["run-b"]

    stores.use(use)


def test_a_cancel_of_one_run_is_no_failure_for_those_that_need_it(stores: Stores) -> None:
    async def use(store: OpenStore) -> None:
        rounds = Rounds(store)
        await rounds.accept(new("a"), new("b", "a"), new("mend", "a", when="failure"), new("tidy", "a", when="always"))
        assert await store.cancel_queued("run-a", at_ms=3) is not None
        assert await rounds.start() == ["tidy"]
        assert await rounds.statuses("a", "b", "mend") == ["canceled", "skipped", "skipped"]

    stores.use(use)
