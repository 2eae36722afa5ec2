"""What every store promises of keys: who holds one, who waits and in which order, and who ends for whom."""

import asyncio
from dataclasses import replace

import pytest
from store_rig import DONE, FAILED, Stores, claim, ids, new_event

from flowd.domain.awaited import Awaited, HeldUp, Waiting
from flowd.domain.concurrency import OnBusy, WantedKey
from flowd.domain.definition import Definition
from flowd.domain.errors import AlreadyAnsweredError, WouldDeadlockError
from flowd.domain.exit import Exit
from flowd.domain.journal import Interest
from flowd.domain.outcome import Outcome
from flowd.domain.pauses import Paused
from flowd.domain.people import Person, Resolution
from flowd.domain.queueing import NewRun, SideEffects, StartedRun
from flowd.domain.result import FlowResult
from flowd.domain.run import ProcessStatus, Reason, Run
from flowd.domain.stored import Output
from flowd.domain.waiting import KeyWait, NeedsWait, PackageWait, PauseWait, PersonWait, TimeWait
from flowd.ports import OpenStore

BLOCKED = Outcome(ProcessStatus.COMPLETED, result=FlowResult("blocked", '{"status":"blocked"}'))
CANCELED = Outcome(ProcessStatus.CANCELED, Reason.CANCELED, "Step flow/a was canceled (ended by SIGTERM)")


def key(value: str = "x", *, on_busy: OnBusy = "queue", limit: int = 1) -> WantedKey:
    return WantedKey("g", f'["{value}"]', limit, on_busy)


def step(name: str, *needs: str, wanted: WantedKey | None = None, priority: int = 0) -> NewRun:
    definition = Definition("flow", 1, "/flow", "sha256:0", name, "exec", "run.sh", 1000, 100)
    return NewRun(name, definition, needs=needs, key=wanted, priority=priority)


class Runs:
    """Runs in a store. Their ids are ``<event>-<step>``, or the event's where it has one run only."""

    def __init__(self, store: OpenStore) -> None:
        self.store = store
        self.attempts: dict[str, StartedRun] = {}
        self.to_end: list[str] = []
        self.ended: list[str] = []
        store.tell_side_effects(self._note)

    def _note(self, side_effects: SideEffects) -> None:
        self.to_end += side_effects.to_end
        self.ended += [run.id for run in side_effects.ended]

    async def accept(self, name: str, wanted: WantedKey | None = None, *, priority: int = 0) -> Run:
        """An event with one run that takes a key."""
        run = replace(step("a", wanted=wanted, priority=priority), id=name)
        return (await self._accept(name, [run]))[0]

    async def accept_round(self, name: str, wanted: WantedKey, *steps: NewRun) -> tuple[Run, ...]:
        """An event with a round that takes a key."""
        runs = [replace(run, id=f"{name}-{run.id}", round_key=wanted) for run in steps]
        return await self._accept(name, runs)

    async def _accept(self, name: str, runs: list[NewRun]) -> tuple[Run, ...]:
        accepted = await self.store.accept(new_event(name), runs, at_ms=1)
        await asyncio.sleep(0)  # so that what happened beside is told
        return accepted.runs

    async def start(self, limit: int = 50, *, at_ms: int = 2) -> list[str]:
        """Claim all that may start."""
        claimed = await self.store.claim(claim(limit, definition_of=_definition, at_ms=at_ms))
        self.attempts |= {started.run.id: started for started in claimed.started}
        return ids(claimed)

    async def end(self, run_id: str, outcome: Outcome = DONE, wait: TimeWait | None = None) -> Run:
        attempt = self.attempts[run_id].attempt
        return (await self.store.finish(attempt, outcome, Exit(0), Output(), at_ms=5, wait=wait)).run

    async def run(self, run_id: str) -> Run:
        run = await self.store.run(run_id)
        assert run is not None
        return run

    async def ends(self, *run_ids: str) -> list[tuple[str, str | None]]:
        """Effective status and reason of each."""
        runs = [await self.run(run_id) for run_id in run_ids]
        return [(run.effective_status, run.reason) for run in runs]


def _definition(flow: str, name: str) -> Definition:
    return Definition(flow, 1, "/flow", "sha256:0", name, "exec", "run.sh", 1000, 100)


# --- keys of runs ----------------------------------------------------------------------------------------------------


def test_a_retry_puts_back_who_holds_a_key_and_who_waits_for_it_alike(stores: Stores) -> None:
    async def use(store: OpenStore) -> None:
        runs = Runs(store)
        await runs._accept("e", [step("top"), step("left", "top", wanted=key()), step("right", "top", wanted=key())])
        await runs.start()
        await runs.end("top")  # left is ready and has the key now, for which right waits
        await store.retry("top", at_ms=6)
        assert [(await runs.run(name)).waiting_for for name in ("left", "right")] == [NeedsWait(("top",))] * 2
        assert await runs.start() == ["top"]
        await runs.end("top")
        assert await runs.start() == ["left"]
        await runs.end("left")
        assert await runs.start() == ["right"]

    stores.use(use)


def test_the_fence_grows_from_each_who_has_a_key_to_the_next(stores: Stores) -> None:
    async def use(store: OpenStore) -> None:
        runs = Runs(store)
        await runs.accept("x1", key())
        await runs.accept("x2", key())
        await runs.accept("x3", key(), priority=5)
        order: list[str] = []
        while started := await runs.start():
            order += started
            await runs.end(started[0])
        assert sorted(order) == ["x1", "x2", "x3"]
        fences = [runs.attempts[name].fence for name in order]
        assert fences == sorted(set(fences))

    stores.use(use)


def test_runs_of_one_key_start_one_after_the_other_and_others_are_not_held_up(stores: Stores) -> None:
    async def use(store: OpenStore) -> None:
        runs = Runs(store)
        for name in ("x1", "x2", "x3"):
            await runs.accept(name, key())
        await runs.accept("y1", key("y"))
        await runs.accept("free")
        assert await runs.start() == ["x1", "y1", "free"]
        waiting = [(await runs.run(name)).waiting_for for name in ("x2", "x3")]
        assert waiting == [KeyWait("g", '["x"]', "x1", 0), KeyWait("g", '["x"]', "x1", 1)]
        await runs.end("x1")
        assert await runs.start() == ["x2"]
        assert (await runs.run("x3")).waiting_for == KeyWait("g", '["x"]', "x2", 0)
        await runs.end("x2", FAILED)
        assert await runs.start() == ["x3"]

    stores.use(use)


def test_who_waits_and_who_holds_outlives_the_daemon(stores: Stores) -> None:
    async def fill(store: OpenStore) -> None:
        runs = Runs(store)
        for name in ("x1", "x2", "x3"):
            await runs.accept(name, key())
        assert await runs.start(1) == ["x1"]
        await store.requeue("x1", at_ms=3)

    async def look(store: OpenStore) -> None:
        runs = Runs(store)
        assert (await runs.run("x2")).waiting_for == KeyWait("g", '["x"]', "x1", 0)
        for name in ("x1", "x2", "x3"):
            assert await runs.start() == [name]
            await runs.end(name)

    stores.use(fill)
    stores.use(look)


def test_as_many_hold_a_key_as_its_limit_says_and_the_newest_limit_counts(stores: Stores) -> None:
    async def use(store: OpenStore) -> None:
        runs = Runs(store)
        for name in ("x1", "x2", "x3", "x4"):
            await runs.accept(name, key(limit=2))
        assert await runs.start() == ["x1", "x2"]
        await runs.accept("x5", key(limit=3))
        assert await runs.start() == ["x3"]  # nobody passes by those that wait
        await runs.accept("x6", key(limit=1))
        for name in ("x1", "x2"):
            await runs.end(name)
            assert await runs.start() == []
        await runs.end("x3")
        assert await runs.start() == ["x4"]

    stores.use(use)


def test_those_that_wait_get_the_key_by_priority_and_then_by_acceptance(stores: Stores) -> None:
    async def use(store: OpenStore) -> None:
        runs = Runs(store)
        for name, priority in (("x1", 0), ("x2", -1), ("x3", 0), ("x4", 5), ("x5", 0)):
            await runs.accept(name, key(), priority=priority)
        assert [(await runs.run(name)).waiting_for for name in ("x2", "x5")] == [
            KeyWait("g", '["x"]', "x1", 3),
            KeyWait("g", '["x"]', "x1", 2),
        ]
        order = []
        while started := await runs.start():
            order += started
            await runs.end(started[0])
        assert order == ["x1", "x4", "x3", "x5", "x2"]

    stores.use(use)


def test_no_key_is_held_between_attempts_and_each_attempt_takes_it_anew(stores: Stores) -> None:
    async def use(store: OpenStore) -> None:
        runs = Runs(store)
        await runs.accept("x1", key())
        await runs.accept("x2", key())
        assert await runs.start() == ["x1"]
        await runs.end("x1", FAILED, wait=TimeWait(until_ms=100, whole_ms=95, why="retry"))
        assert await runs.start() == ["x2"]
        assert await runs.start(at_ms=100) == []
        assert (await runs.run("x1")).waiting_for == KeyWait("g", '["x"]', "x2", 0)
        await runs.end("x2")
        assert await runs.start() == ["x1"]

    stores.use(use)


def test_a_run_without_its_package_holds_no_key(stores: Stores) -> None:
    async def use(store: OpenStore) -> None:
        runs = Runs(store)
        await runs.accept("x1", key())
        await runs.accept("x2", key())
        claimed = await store.claim(claim(1, definition_of=lambda *_: None))
        assert (claimed.started, claimed.is_missing_package) == ((), True)
        assert (await runs.run("x1")).waiting_for == PackageWait("flow")
        assert (await runs.run("x2")).waiting_for == PackageWait("flow")  # it got the key, and was looked at, too
        while await store.end_package_wait("flow", "a", at_ms=3):
            pass
        assert await runs.start() == ["x1"]
        assert (await runs.run("x2")).waiting_for == KeyWait("g", '["x"]', "x1", 0)

    stores.use(use)


def test_who_gets_the_key_of_a_run_without_its_package_goes_by_its_own_priority(stores: Stores) -> None:
    def definition_of(flow: str, name: str) -> Definition | None:
        return None if name == "gone" else _definition(flow, name)

    async def use(store: OpenStore) -> None:
        await store.accept(new_event("1"), [step("gone", wanted=key())], at_ms=1)
        await store.accept(new_event("2"), [step("urgent", wanted=key(), priority=5)], at_ms=2)
        await store.accept(new_event("3"), [step("plain")], at_ms=3)
        assert ids(await store.claim(claim(3, definition_of=definition_of))) == ["urgent", "plain"]

    stores.use(use)


def test_a_claim_that_has_met_very_many_without_their_package_says_that_there_may_be_more(
    stores: Stores,
) -> None:
    def definition_of(flow: str, name: str) -> Definition | None:
        return _definition(flow, name) if name == "a" else None

    async def use(store: OpenStore) -> None:
        gone = [step(f"gone{n}") for n in range(499)]
        await store.accept(new_event("e"), [*gone, step("last", wanted=key())], at_ms=1)
        await Runs(store).accept("behind", key())
        claimed = await store.claim(claim(8, definition_of=definition_of))
        assert (claimed.started, claimed.has_more) == ((), True)
        assert ids(await store.claim(claim(8, definition_of=definition_of))) == ["behind"]

    stores.use(use)


def test_who_follows_the_journal_hears_when_a_run_waits_for_a_key_and_when_it_has_it(stores: Stores) -> None:
    async def use(store: OpenStore) -> None:
        runs = Runs(store)
        await runs.accept("x1", key())
        await runs.accept("x2", key())
        await runs.start()
        await runs.end("x1")
        await runs.start()
        page = await store.journal(Interest(run_id="x2"), after=0, limit=100)
        assert [entry.status for entry in page.entries] == ["queued", "queued", "running"]

    stores.use(use)


def test_who_is_called_off_and_gets_the_key_is_ended_and_never_ready(stores: Stores) -> None:
    async def use(store: OpenStore) -> None:
        runs = Runs(store)
        await runs._accept("e", [step("one", wanted=key()), step("two", wanted=key())])
        await store.call_off("e", Person("socket", 1000, "ada"), is_tree=False, at_ms=2)
        assert [run.id for run in await store.end_called_off(at_ms=3)] == ["one"]  # the other one's end follows from it
        await asyncio.sleep(0)
        assert runs.ended == ["two"]
        page = await store.journal(Interest(run_id="two"), after=0, limit=100)
        assert [entry.status for entry in page.entries] == ["queued", "canceled"]

    stores.use(use)


def test_a_canceled_or_retried_run_leaves_and_comes_back(stores: Stores) -> None:
    async def use(store: OpenStore) -> None:
        runs = Runs(store)
        for name in ("x1", "x2", "x3", "x4"):
            await runs.accept(name, key())
        await store.cancel_queued("x1", at_ms=2)  # it was ready, with the key
        await store.cancel_queued("x3", at_ms=2)  # it waited
        assert await runs.start() == ["x2"]
        retried = await store.retry("x1", at_ms=3)
        assert retried is not None
        assert retried.waiting_for == KeyWait("g", '["x"]', "x2", 0)  # before x4, which was accepted after it
        await runs.end("x2")
        assert await runs.start() == ["x1"]
        await runs.end("x1")
        assert await runs.start() == ["x4"]

    stores.use(use)


# --- on_busy ---------------------------------------------------------------------------------------------------------


def test_skip_ends_whoever_comes_to_a_busy_key(stores: Stores) -> None:
    async def use(store: OpenStore) -> None:
        runs = Runs(store)
        await runs.accept("x1", key(on_busy="skip"))
        skipped = await runs.accept("x2", key(on_busy="skip"))
        assert (skipped.status, skipped.effective_status, skipped.reason) == ("completed", "skipped", Reason.KEY_BUSY)
        assert skipped.attempt_count == 0
        assert await runs.start() == ["x1"]
        await runs.end("x1")
        await runs.accept("x3", key(on_busy="skip"))
        assert await runs.start() == ["x3"]

    stores.use(use)


def test_of_those_that_wait_only_the_latest_stays(stores: Stores) -> None:
    async def use(store: OpenStore) -> None:
        runs = Runs(store)
        for name in ("x1", "x2", "x3", "x4"):
            await runs.accept(name, key(on_busy="latest"))
        superseded = ("skipped", Reason.SUPERSEDED)
        assert await runs.ends("x2", "x3") == [superseded, superseded]
        result = (await runs.run("x2")).result
        assert result is not None
        assert "x3" in str(result.value["message"])
        assert runs.ended == ["x2", "x3"]
        assert await runs.start() == ["x1"]
        assert runs.to_end == []
        await runs.end("x1")
        assert await runs.start() == ["x4"]

    stores.use(use)


def test_replace_ends_the_older_run_before_its_successor_starts(stores: Stores) -> None:
    async def use(store: OpenStore) -> None:
        runs = Runs(store)
        await runs.accept("x1", key(on_busy="replace"))
        assert await runs.start() == ["x1"]
        await runs.accept("x2", key(on_busy="replace"))
        await runs.accept("x3", key(on_busy="replace"))
        assert runs.to_end == ["x1"]
        assert (await runs.run("x1")).cancel_requested
        assert await runs.ends("x2") == [("skipped", Reason.SUPERSEDED)]
        assert await runs.start() == []
        ended = await runs.end("x1", CANCELED)
        assert (ended.status, ended.reason, ended.attempts[0].reason) == ("canceled", "superseded", "superseded")
        assert ended.error is not None
        assert "because x2 of the same key came after it" in ended.error
        assert await runs.start() == ["x3"]

    stores.use(use)


def test_what_is_replaced_before_it_started_is_skipped_and_its_successor_starts_at_once(stores: Stores) -> None:
    async def use(store: OpenStore) -> None:
        runs = Runs(store)
        await runs.accept("x1", key(on_busy="replace"))
        second = await runs.accept("x2", key(on_busy="replace"))
        assert (second.status, second.waiting_for) == (ProcessStatus.QUEUED, None)
        assert await runs.ends("x1") == [("skipped", Reason.SUPERSEDED)]
        assert await runs.start() == ["x2"]
        assert runs.to_end == []

    stores.use(use)


def test_a_replaced_run_that_ends_by_itself_stands_and_is_not_retried(stores: Stores) -> None:
    async def use(store: OpenStore) -> None:
        runs = Runs(store)
        for first, second in (("x1", "x2"), ("y1", "y2")):
            await runs.accept(first, key(first[0], on_busy="replace"))
            await runs.start()
            await runs.accept(second, key(first[0], on_busy="replace"))
        done = await runs.end("x1")
        assert (done.status, done.reason, done.effective_status) == ("completed", None, "changed")
        failed = await runs.end("y1", FAILED, wait=TimeWait(100, 95, "retry"))
        assert (failed.status, failed.reason) == (ProcessStatus.FAILED, Reason.EXIT)
        assert await runs.start() == ["x2", "y2"]

    stores.use(use)


@pytest.mark.parametrize("way", ["replace", "latest"])
def test_an_older_run_ends_itself_and_never_a_newer_one(stores: Stores, way: OnBusy) -> None:
    async def use(store: OpenStore) -> None:
        runs = Runs(store)
        await runs.accept("x1", key(on_busy=way))
        await runs.start()
        await runs.end("x1", FAILED)
        await runs.accept("x2", key(on_busy=way))
        if way == "latest":
            await runs.start()
            await runs.accept("x3", key(on_busy=way))  # it waits: x1 comes after it, and is the older one
        retried = await store.retry("x1", at_ms=3)
        assert retried is not None
        assert (retried.effective_status, retried.reason) == ("skipped", Reason.SUPERSEDED)
        assert await runs.ends("x2") == [("running" if way == "latest" else "queued", None)]
        assert runs.to_end == []

    stores.use(use)


def test_whoever_comes_decides_what_becomes_of_those_that_wait(stores: Stores) -> None:
    async def use(store: OpenStore) -> None:
        runs = Runs(store)
        await runs.accept("x1", key())
        await runs.start()
        await runs.accept("x2", key())
        await runs.accept("x3", key())
        assert await runs.ends("x2", "x3") == [("queued", None)] * 2
        await runs.accept("x4", key(on_busy="latest"))
        await runs.accept("x5", key())
        assert await runs.ends("x2", "x3") == [("skipped", Reason.SUPERSEDED)] * 2
        assert await runs.ends("x4", "x5") == [("queued", None)] * 2

    stores.use(use)


# --- keys of rounds --------------------------------------------------------------------------------------------------

LINE = step("a"), step("b", "a")


def test_a_round_holds_its_key_until_all_of_it_has_ended(stores: Stores) -> None:
    async def use(store: OpenStore) -> None:
        runs = Runs(store)
        for name in ("e1", "e2"):
            await runs.accept_round(name, key(), *LINE)
        assert (await runs.run("e2-a")).waiting_for == KeyWait("g", '["x"]', "e1-a", 0)
        for name in ("e1-a", "e1-b", "e2-a", "e2-b"):
            assert await runs.start() == [name]
            await runs.end(name)

    stores.use(use)


def test_all_of_a_round_that_may_start_starts_with_its_key_and_groups_of_steps_are_others(stores: Stores) -> None:
    async def use(store: OpenStore) -> None:
        runs = Runs(store)
        await runs.accept("x1", key())
        for name in ("e1", "e2"):
            await runs.accept_round(name, key(), step("a"), step("b"), step("c", wanted=key("c")))
        assert await runs.start() == ["x1", "e1-a", "e1-b", "e1-c"]
        for name in ("e1-a", "e1-b", "e1-c"):
            assert await runs.start() == []
            await runs.end(name)
        assert await runs.start() == ["e2-a", "e2-b", "e2-c"]

    stores.use(use)


def test_a_round_that_fails_lets_go_and_takes_its_key_again_where_it_is_retried(stores: Stores) -> None:
    async def use(store: OpenStore) -> None:
        runs = Runs(store)
        for name in ("e1", "e2"):
            await runs.accept_round(name, key(), *LINE)
        await runs.start()
        await runs.end("e1-a", FAILED)
        assert await runs.ends("e1-b") == [("skipped", Reason.NEEDS_NOT_MET)]
        assert await runs.start() == ["e2-a"]
        retried = await store.retry("e1-a", at_ms=3)
        assert retried is not None
        assert retried.waiting_for == KeyWait("g", '["x"]', "e2-a", 0)
        await runs.end("e2-a")
        assert await runs.start() == ["e2-b"]
        await runs.end("e2-b")
        assert await runs.start() == ["e1-a"]

    stores.use(use)


def test_a_round_holds_its_key_while_others_in_it_wait_for_an_answer(stores: Stores) -> None:
    async def use(store: OpenStore) -> None:
        runs = Runs(store)
        await runs.accept_round("e1", key(), *LINE)
        await runs.start()
        await runs.end("e1-a", BLOCKED)
        assert (await runs.run("e1-b")).waiting_for == PersonWait("e1-a")
        for name in ("e2", "e3"):
            await runs.accept_round(name, key(), *LINE)
        assert await runs.start() == []
        assert (await runs.run("e2-a")).waiting_for == KeyWait("g", '["x"]', "e1-b", 0, asks="e1-a")
        (question,) = (await store.questions(limit=5, cursor=None)).items
        assert (question.run.id, question.waiting, question.rounds) == ("e1-a", 1, 2)
        assert question.behind == ("e2", "e3")
        assert (await store.queue(limit=9, cursor=None)).rounds_behind == {"e1-b": 2}

    stores.use(use)


@pytest.mark.parametrize("way", ["replace", "latest"])
@pytest.mark.parametrize("comes_first", [True, False])
def test_a_round_that_only_waits_for_a_person_gives_way(stores: Stores, way: OnBusy, *, comes_first: bool) -> None:
    async def use(store: OpenStore) -> None:
        runs = Runs(store)
        await runs.accept_round("e1", key(on_busy=way), *LINE, step("c", "b"))
        await runs.start()
        if comes_first:
            await runs.accept_round("e2", key(on_busy=way), *LINE)
            assert await runs.start() == []
        await runs.end("e1-a", BLOCKED)
        if not comes_first:
            await runs.accept_round("e2", key(on_busy=way), *LINE)
        superseded = ("skipped", Reason.SUPERSEDED)
        assert await runs.ends("e1-b", "e1-c") == [superseded, superseded]
        asked = await runs.run("e1-a")
        if way == "replace" and comes_first:  # it was to be ended already, and asks on its own
            assert (asked.cancel_requested, asked.needs_attention) == (True, True)
        else:
            assert (asked.effective_status, asked.resolution and asked.resolution.by.via) == ("canceled", "flowd")
            told = "superseded at .*, and its question closed: e2-a of the same key came after it"
            with pytest.raises(AlreadyAnsweredError, match=told):
                await store.resolve("e1-a", None, Resolution("completed", Person("socket"), 9))
        assert await runs.start() == ["e2-a"]

    stores.use(use)


def test_a_replaced_round_ends_what_runs_in_it_and_skips_the_rest(stores: Stores) -> None:
    async def use(store: OpenStore) -> None:
        runs = Runs(store)
        await runs.accept_round("e1", key(on_busy="replace"), *LINE)
        await runs.start()
        await runs.accept_round("e2", key(on_busy="replace"), *LINE)
        assert (runs.to_end, runs.ended) == (["e1-a"], ["e1-b"])
        assert await runs.start() == []
        await runs.end("e1-a", CANCELED)
        assert await runs.ends("e1-a", "e1-b") == [("canceled", Reason.SUPERSEDED), ("skipped", Reason.SUPERSEDED)]
        assert await runs.start() == ["e2-a"]

    stores.use(use)


def test_what_cleans_up_after_a_replaced_round_runs_before_the_next_one(stores: Stores) -> None:
    async def use(store: OpenStore) -> None:
        runs = Runs(store)
        cleanup = replace(step("z", "b"), when="finally")
        await runs.accept_round("e1", key(on_busy="replace"), *LINE, cleanup)
        await runs.start()
        await runs.accept_round("e2", key(on_busy="replace"), *LINE, cleanup)
        assert runs.ended == ["e1-b"]
        await runs.accept_round("e3", key(on_busy="replace"), *LINE, cleanup)
        assert runs.ended == ["e1-b", "e2-a", "e2-b", "e2-z"]  # nothing of e2 had begun
        await runs.end("e1-a", CANCELED)
        assert await runs.start() == ["e1-z"]
        await runs.end("e1-z")
        assert await runs.start() == ["e3-a"]

    stores.use(use)


def test_a_round_leaves_the_line_with_its_last_run_in_it(stores: Stores) -> None:
    async def use(store: OpenStore) -> None:
        runs = Runs(store)
        await runs.accept_round("e1", key(), step("a"))
        await runs.start()
        await runs.accept_round("e2", key(), step("a"), replace(step("b", "a"), when="always"))
        await runs.accept_round("e3", key(on_busy="latest"), step("a"), step("b"))
        assert await runs.ends("e2-a", "e2-b") == [("skipped", Reason.SUPERSEDED)] * 2
        await runs.accept_round("e4", key(), step("a"))
        await store.cancel_queued("e3-a", at_ms=3)
        assert (await runs.run("e4-a")).waiting_for == KeyWait("g", '["x"]', "e1-a", 1)
        await store.cancel_queued("e3-b", at_ms=3)
        assert (await runs.run("e4-a")).waiting_for == KeyWait("g", '["x"]', "e1-a", 0)

    stores.use(use)


def test_a_round_that_does_not_want_to_wait_is_skipped_whole(stores: Stores) -> None:
    async def use(store: OpenStore) -> None:
        runs = Runs(store)
        await runs.accept_round("e1", key(on_busy="skip"), *LINE)
        skipped = await runs.accept_round("e2", key(on_busy="skip"), *LINE)
        assert [(run.effective_status, run.reason) for run in skipped] == [("skipped", Reason.KEY_BUSY)] * 2
        assert await runs.start() == ["e1-a"]

    stores.use(use)


def test_whoever_comes_to_a_key_late_is_let_in_by_the_limit_that_is_declared_then(stores: Stores) -> None:
    async def use(store: OpenStore) -> None:
        runs = Runs(store)
        await runs.accept("raised", key("x", limit=1))
        await runs.accept("lowered", key("y", limit=2))
        await runs.start()
        await runs.end("raised", FAILED)
        await runs.end("lowered", FAILED)
        store.use_key_limits({("step", "g"): 2})
        await runs.accept("x", key("x", limit=2))
        assert await runs.start() == ["x"]
        await store.retry("raised", at_ms=6)
        assert await runs.start() == ["raised"]
        store.use_key_limits({("step", "g"): 1, ("flow", "g"): 2})
        await runs.accept("y", key("y", limit=1))
        assert await runs.start() == ["y"]
        await store.retry("lowered", at_ms=6)
        assert (await runs.run("lowered")).waiting_for == KeyWait("g", '["y"]', "y", 0)
        await runs.end("y")
        assert await runs.start() == ["lowered"]
        store.use_key_limits({})  # nobody declares it any more
        await runs.accept("z", key("y", limit=2))
        assert await runs.start() == ["z"]

    stores.use(use)


def test_a_key_that_is_given_back_goes_on_to_as_many_as_may_hold_it_now(stores: Stores) -> None:
    async def use(store: OpenStore) -> None:
        runs = Runs(store)
        for name in ("x1", "x2", "x3", "x4"):
            await runs.accept(name, key(limit=2))
        assert await runs.start() == ["x1", "x2"]
        store.use_key_limits({("step", "g"): 1})
        await runs.end("x1")
        assert await runs.start() == []
        store.use_key_limits({("step", "g"): 2})
        await runs.end("x2")
        assert await runs.start() == ["x3", "x4"]

    stores.use(use)


# --- waiting for what waits ---


def test_what_needs_a_key_that_a_run_or_its_round_holds_is_told(stores: Stores) -> None:
    async def use(store: OpenStore) -> None:
        runs = Runs(store)
        await runs.accept("x1", key())
        await runs.accept_round("e1", key(), step("a"))
        assert await runs.start() == ["x1", "e1-a"]
        await runs.accept("x2", key())
        await runs.accept("y1", key("y"))
        await runs.accept_round("e2", key(), *LINE)
        await runs.accept_round("e3", key("y"), *LINE)

        async def keeps(run_id: str, event_id: str) -> bool:
            return await store.held_up([run_id], Awaited(event_id=event_id, is_tree=True)) == HeldUp()

        kept = {(one, event) for one in ("x1", "e1-a") for event in ("x2", "y1", "e2", "e3") if await keeps(one, event)}
        assert kept == {("x1", "x2"), ("e1-a", "e2")}
        await runs.end("x1")
        assert not await keeps("x1", "x2")
        assert not await keeps("x1", "nothing")

    stores.use(use)


def test_a_key_with_room_for_others_keeps_nobody_until_all_its_holders_wait(stores: Stores) -> None:
    async def use(store: OpenStore) -> None:
        runs = Runs(store)
        for name in ("x1", "x2", "x3"):
            await runs.accept(name, key(limit=2))
        assert await runs.start() == ["x1", "x2"]
        for awaited in (Awaited(event_id="x3"), Awaited(run_id="x3")):
            assert await store.held_up(["x1"], awaited) is None
            assert await store.held_up(["x1", "x2"], awaited) == HeldUp()

    stores.use(use)


def test_what_a_run_is_part_of_and_what_needs_it_cannot_end_before_it(stores: Stores) -> None:
    async def use(store: OpenStore) -> None:
        runs = Runs(store)
        await runs._accept("e", [step("top"), step("mid", "top"), step("end", "mid"), step("other")])
        await runs.accept("apart")
        assert await runs.start() == ["top", "other", "apart"]
        part, needs_it = HeldUp("top", is_part=True), HeldUp("top")
        assert await store.held_up(["top"], Awaited(event_id="e")) == part
        assert await store.held_up(["top"], Awaited(event_id="e", is_tree=True)) == part
        found = {name: await store.held_up(["top"], Awaited(run_id=name)) for name in ("top", "mid", "end", "other")}
        assert found == {"top": part, "mid": needs_it, "end": needs_it, "other": None}
        assert await store.held_up(["top"], Awaited(event_id="apart")) is None
        await runs.end("top")
        assert await store.held_up(["top"], Awaited(run_id="end")) is None
        assert await store.held_up(["top"], Awaited(run_id="nothing")) is None

    stores.use(use)


def test_a_run_behind_the_round_that_holds_its_rounds_only_key_cannot_end_before_what_that_needs(
    stores: Stores,
) -> None:
    async def use(store: OpenStore) -> None:
        runs = Runs(store)
        await runs.accept("own", key("own"))
        await runs.accept_round("e1", key("line"), step("a"), step("b", wanted=key("own")))
        await runs.accept_round("e2", key("line"), step("a"))
        assert await runs.start() == ["own", "e1-a"]
        assert await store.held_up(["own"], Awaited(run_id="e1-a")) is None
        assert await store.held_up(["own"], Awaited(run_id="e2-a")) == HeldUp()
        assert await store.held_up(["e1-a"], Awaited(run_id="e2-a")) == HeldUp()

    stores.use(use)


def test_who_does_not_want_to_wait_for_a_key_is_held_up_by_nobody(stores: Stores) -> None:
    async def use(store: OpenStore) -> None:
        runs = Runs(store)
        await runs.accept("x1", key())
        await runs._accept("e", [step("top"), step("skips", "top", wanted=key(on_busy="skip"))])
        await runs._accept("f", [step("first"), step("waits", "first", wanted=key())])
        await runs.start()
        assert await store.held_up(["x1"], Awaited(event_id="e")) is None
        assert await store.held_up(["x1"], Awaited(event_id="f")) == HeldUp()

    stores.use(use)


def test_what_a_step_could_not_wait_for_is_not_begun_and_others_of_the_batch_are(stores: Stores) -> None:
    async def use(store: OpenStore) -> None:
        runs = Runs(store)
        for name in ("x0", "x1", "free"):
            await runs.accept(name, None if name == "free" else key())
            await runs.start()
            if name != "x1":
                await runs.end(name, FAILED)
        before = [await store.event("x0"), await runs.run("x0")]
        waiting = Waiting("x1", {})

        async def replay(name: str, waiting: Waiting | None, wanted: WantedKey | None) -> object:
            new = replace(step("a", wanted=wanted), id=f"{name} again", replay_of=name)
            try:
                return [run.id for run in await store.add_runs(name, [new], at_ms=6, waiting=waiting)]
            except WouldDeadlockError as error:
                return error.message

        async def retry(waiting: Waiting) -> str:
            with pytest.raises(WouldDeadlockError) as caught:
                await store.retry("x0", at_ms=6, waiting=waiting)
            return caught.value.message

        holds = "it needs a key (`concurrency`) that x1 or its round holds until it ends. Nothing was done: do it "
        tree = replace(waiting, awaited=Awaited(event_id="x1", is_tree=True))
        # All in one turn of the loop, so in one commit.
        told = await asyncio.gather(
            replay("x0", waiting, key()), retry(waiting), replay("free", waiting, None), replay("free", tree, None)
        )
        assert [str(one).partition(": ")[2].startswith(holds) for one in told] == [True, True, False, False]
        assert told[2] == ["free again"]
        assert "for it is one of its runs itself" in str(told[3])
        assert [await store.event("x0"), await runs.run("x0")] == before
        assert await runs.start() == ["free again"]
        # Who only looks, or waits for nothing, does as ever.
        assert await replay("x0", None, key()) == ["x0 again"]
        await runs.end("x1")
        assert await store.retry("x0", at_ms=7, waiting=Waiting("free again", {})) is not None

    stores.use(use)


# --- pauses ---

FLOW_PAUSED = Paused("flow")
ADA = Person("socket", 1000, "ada")


def of(flow: str, run: NewRun) -> NewRun:
    return replace(run, definition=replace(run.definition, flow_name=flow))


async def pause(store: OpenStore) -> None:
    await store.begin_pause(FLOW_PAUSED, ADA, at_ms=3)
    await store.take_back(FLOW_PAUSED, 0, at_ms=3)


async def resume(store: OpenStore) -> None:
    await store.end_pause(FLOW_PAUSED)
    while (await store.let_go(FLOW_PAUSED, 0, at_ms=4))[0]:
        pass


def test_what_is_paused_gives_its_key_back_and_comes_to_it_again(stores: Stores) -> None:
    async def use(store: OpenStore) -> None:
        runs = Runs(store)
        for name in ("x1", "x2"):
            await runs.accept(name, key())
        other = of("other", replace(step("a", wanted=key()), id="y1"))
        await store.accept(new_event("y1"), [other], at_ms=1)
        await pause(store)
        assert [(await runs.run(name)).waiting_for for name in ("x1", "x2")] == [PauseWait("flow")] * 2
        assert await runs.start() == ["y1"]
        await resume(store)
        assert [(await runs.run(name)).waiting_for for name in ("x1", "x2")] == [
            KeyWait("g", '["x"]', "y1", 0),
            KeyWait("g", '["x"]', "y1", 1),
        ]
        await runs.end("y1")
        assert await runs.start() == ["x1"]

    stores.use(use)


def test_a_paused_round_keeps_the_key_that_it_holds_and_leaves_the_line_for_one(stores: Stores) -> None:
    async def use(store: OpenStore) -> None:
        runs = Runs(store)
        await runs.accept_round("e1", key(), *LINE)
        await runs.accept_round("e2", key(), *LINE)
        assert await runs.start() == ["e1-a"]
        await pause(store)
        other = of("other", replace(step("a"), id="e3-a", round_key=key()))
        await store.accept(new_event("e3"), [other], at_ms=1)
        await runs.end("e1-a")
        assert [(await runs.run(name)).waiting_for for name in ("e1-b", "e2-a")] == [PauseWait("flow")] * 2
        assert (await runs.run("e3-a")).waiting_for == KeyWait("g", '["x"]', "e1-b", 0)
        await resume(store)
        assert (await runs.run("e3-a")).waiting_for == KeyWait("g", '["x"]', "e1-b", 1)
        for name in ("e1-b", "e2-a", "e2-b", "e3-a"):
            assert await runs.start() == [name]
            await runs.end(name)

    stores.use(use)


# --- priority --------------------------------------------------------------------------------------------------------


def test_ready_runs_start_by_priority_and_then_in_the_order_in_which_they_became_ready(stores: Stores) -> None:
    async def use(store: OpenStore) -> None:
        runs = Runs(store)
        for name, priority in (("a", 0), ("b", 10), ("c", -3), ("d", 10), ("e", 0)):
            await runs.accept(name, priority=priority)
        assert await runs.start(2) == ["b", "d"]
        assert await runs.start(2) == ["a", "e"]
        assert await runs.start(2) == ["c"]

    stores.use(use)
