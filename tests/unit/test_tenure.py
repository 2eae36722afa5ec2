"""Leases of a shared store: what a renewal does for what runs here, and when others are declared lost."""

import asyncio
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest

from flowd.domain.definition import Definition
from flowd.domain.errors import StorageBusyError
from flowd.domain.outcome import Outcome
from flowd.domain.queueing import LeftRunning
from flowd.domain.retry import Retry
from flowd.domain.run import Attempt, ProcessStatus, Reason, Run
from flowd.domain.tenure import GAP_S, TRUSTED_AFTER_S, Held, Lost
from flowd.domain.waiting import TimeWait
from flowd.engine.completions import Completions
from flowd.engine.tenure import Tenure

STEP = Definition("flow", 1, "/flow", "sha256:0", "step", "exec", "run.sh", 1000, 2000)


def held(run_id: str = "r", number: int = 1, **more: Any) -> Held:
    return Held(
        run_id if number == 1 else f"{run_id}:{number}", run_id, number, more.pop("lost_after_ms", 20_000), **more
    )


class World:
    """A store, a keeper and the attempts under way, all set by hand."""

    max_parallel = 4
    is_drained = False

    def __init__(self) -> None:
        self.boot_s = 1000.0
        self.active: dict[str, int] = {}
        self.in_store: tuple[Held, ...] = ()
        self.is_replaced = False
        self.failure: Exception | None = None
        self.known: set[str] = set()
        self.lost: list[Lost] = []
        self.ended: list[tuple[str, Outcome, TimeWait | None]] = []
        self.said: list[tuple[object, ...]] = []
        self.leases: dict[str, float] = {}
        self.renewed_s: list[float] = []
        self.during: Callable[[], None] = lambda: None
        anything: Any = self
        self.completions = Completions(lambda run: self.said.append(("ended", run.id)))
        self.tenure = Tenure(
            leases=anything,
            keeper=anything,
            attempts=anything,
            completions=self.completions,
            scheduler=anything,
            clock=anything,
            boot_s=lambda: self.boot_s,
            on_replaced=lambda: self.said.append(("replaced",)),
            on_lost=lambda: self.said.append(("lost",)),
            on_renewed=self.renewed_s.append,
        )

    # --- the store

    async def renew(self, *, running: int, places: int, is_draining: bool) -> list[Held] | None:
        if self.failure is not None:
            raise self.failure
        self.during()
        return None if self.is_replaced else list(self.in_store)

    async def return_run(self, run_id: str, *, at_ms: int) -> bool:
        self.said.append(("given back", run_id))
        return True

    async def expired(self) -> list[Lost]:
        return self.lost

    async def declare_lost(
        self, attempt: Attempt, outcome: Outcome, *, at_ms: int, wait: TimeWait | None
    ) -> Run | None:
        found = next((lost for lost in self.lost if lost.left.attempt == attempt), None)
        if found is None or self.is_replaced:
            return None
        self.ended.append((attempt.id, outcome, wait))
        status = outcome.status if wait is None else ProcessStatus.QUEUED
        return replace(found.left.run, status=status, waiting_for=wait)

    # --- the keeper

    def lease(self, until_s: dict[str, float]) -> None:
        self.leases = dict(until_s)

    async def knows(self, attempt_id: str) -> bool:
        return attempt_id in self.known

    # --- attempts, scheduler, clock

    def numbers(self) -> dict[str, int]:
        return dict(self.active)

    def is_active(self, run_id: str, number: int) -> bool:
        return self.active.get(run_id) == number

    def grace_ms(self, run_id: str, number: int) -> int | None:
        return 2000 if self.is_active(run_id, number) else None

    async def cancel_once(self, run_id: str) -> None:
        self.said.append(("cancel", run_id))

    async def fence(self, run_id: str, number: int) -> None:
        self.said.append(("fence", run_id, number))

    def ring(self) -> None:
        self.said.append(("ring",))

    def ring_at(self, due_ms: int) -> None:
        self.said.append(("ring at", due_ms))

    def now_ms(self) -> int:
        return 5

    def steady_ms(self) -> int:
        return 100

    # --- what tests do

    def renew_now(self) -> None:
        asyncio.run(self.tenure.renew())

    def become_trusted(self) -> None:
        for _ in range(5):
            self.renew_now()
            self.boot_s += TRUSTED_AFTER_S / 4


def lost_attempt(*, retry: Retry | None = None, **of_run: Any) -> Lost:
    run = Run("r", "e", "flow", 1, "step", "exec", "h", ProcessStatus.RUNNING, 1, 1, attempt_count=1, **of_run)
    attempt = Attempt("r", "r", 1, ProcessStatus.RUNNING, "keeper", 1)
    return Lost(LeftRunning(run, attempt, replace(STEP, retry=retry)), "anna", 20_000)


def test_a_renewal_tells_the_keeper_how_long_steps_may_run_from_before_it_was_asked() -> None:
    world = World()
    world.active, world.in_store = {"r": 1}, (held(), held("other"))

    def take_time() -> None:
        world.boot_s += 3.0

    world.during = take_time
    world.renew_now()
    # Its grace and a margin before 20 s after the asking; of one that is not known here, nothing says its grace.
    assert world.leases == {"r": 1000 + 20 - 2 - 5, "other": 1000 + 20 - 5}


def test_a_store_that_is_away_leaves_the_leases_that_the_keeper_has() -> None:
    world = World()
    world.active, world.in_store = {"r": 1}, (held(),)
    world.renew_now()
    before = world.leases
    world.failure = StorageBusyError("away")
    with pytest.raises(StorageBusyError):
        world.renew_now()
    assert world.leases == before
    assert world.said == []
    assert world.renewed_s == [1000.0]


def test_what_is_held_no_more_is_ended_and_what_began_meanwhile_is_not() -> None:
    world = World()
    world.active, world.in_store = {"gone": 2, "kept": 1}, (held("kept"),)

    def begin() -> None:
        world.active["new"] = 1

    world.during = begin
    world.renew_now()
    assert world.said == [("fence", "gone", 2)]


def test_an_attempt_whose_run_has_another_one_by_now_is_ended() -> None:
    world = World()
    world.active, world.in_store = {"r": 1}, (held("r", 2),)
    world.renew_now()
    assert ("fence", "r", 1) in world.said


def test_a_wish_to_cancel_reaches_what_runs_here() -> None:
    world = World()
    world.active, world.in_store = {"a": 1, "b": 1}, (held("a"), held("b", cancel_requested=True))
    world.renew_now()
    assert world.said == [("cancel", "b")]


def test_what_was_claimed_without_anybodys_hearing_of_it_is_given_back_at_the_second_look() -> None:
    world = World()
    world.in_store, world.known = (held("lost"), held("started")), {"started"}
    world.renew_now()
    assert world.said == []  # the claim's answer may be on its way
    world.renew_now()
    assert world.said == [("given back", "lost"), ("ring",)]


def test_a_daemon_whose_name_another_has_is_told_to_end() -> None:
    world = World()
    world.active, world.is_replaced = {"r": 1}, True
    world.renew_now()
    assert world.said == [("replaced",)]
    assert world.leases == {}


def test_a_host_judges_others_only_when_it_was_there_itself_all_the_time() -> None:
    world = World()
    world.lost = [lost_attempt()]
    sweep = world.tenure.sweep
    assert asyncio.run(sweep()) == 0
    world.renew_now()
    assert asyncio.run(sweep()) == 0  # everybody looks lost after an outage
    world.boot_s += GAP_S + 1
    world.renew_now()
    world.boot_s += TRUSTED_AFTER_S - 1
    assert asyncio.run(sweep()) == 0  # it was away itself
    world.become_trusted()
    assert asyncio.run(sweep()) == 1
    [(attempt_id, outcome, wait)] = world.ended
    assert (attempt_id, outcome.status, outcome.reason, wait) == ("r", ProcessStatus.FAILED, Reason.INTERRUPTED, None)
    assert outcome.error == "Step flow/step was interrupted: its host anna was not heard of for 20 s"
    assert ("ended", "r") in world.said
    assert world.said.count(("lost",)) == 1


def test_a_lost_attempt_is_followed_by_another_where_the_step_asks_for_that() -> None:
    world = World()
    world.lost = [lost_attempt(retry=Retry(3, ("interrupted",), 500))]
    world.become_trusted()
    assert asyncio.run(world.tenure.sweep()) == 1
    [(_, outcome, wait)] = world.ended
    assert outcome.reason is Reason.INTERRUPTED
    assert wait == TimeWait(600, 500, "retry", 3)
    assert ("ring at", 600) in world.said
    assert ("ended", "r") not in world.said


def test_another_policy_makes_no_other_attempt() -> None:
    world = World()
    world.lost = [lost_attempt(retry=Retry(3, ("exit", "timeout"), 500))]
    world.become_trusted()
    assert asyncio.run(world.tenure.sweep()) == 1
    assert world.ended[0][2] is None


def test_a_lost_attempt_that_was_to_be_canceled_is_canceled() -> None:
    world = World()
    world.lost = [lost_attempt(retry=Retry(3, ("interrupted",), 500), cancel_requested=True)]
    world.become_trusted()
    assert asyncio.run(world.tenure.sweep()) == 1
    [(_, outcome, wait)] = world.ended
    assert (outcome.status, outcome.reason, wait) == (ProcessStatus.CANCELED, Reason.CANCELED, None)


def test_what_another_host_declares_lost_is_not_declared_twice() -> None:
    world = World()
    world.become_trusted()
    world.lost, world.is_replaced = [lost_attempt()], True
    world.said.clear()
    assert asyncio.run(world.tenure.sweep()) == 0
    assert world.said == []
