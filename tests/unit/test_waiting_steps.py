"""Which steps may wait, and which would wait for each other for ever."""

import asyncio
from collections.abc import Collection
from contextlib import ExitStack
from typing import Any, cast

import pytest

from flowd.domain.awaited import Awaited, HeldUp
from flowd.domain.errors import WouldDeadlockError
from flowd.engine.waiting_steps import WaitingSteps
from flowd.ports import TreeStore

RUNNING = frozenset({"a", "b", "c"})


class Store:
    """Knows for each run which ones all have to go on waiting to hold it up."""

    def __init__(self, **held_by: set[str]) -> None:
        self._held_by = held_by

    async def held_up(self, run_ids: Collection[str], awaited: Awaited) -> HeldUp | None:
        assert awaited.run_id is not None
        if awaited.run_id in run_ids:
            return HeldUp(awaited.run_id, is_part=True)
        holders = self._held_by.get(awaited.run_id)
        return HeldUp() if holders is not None and holders <= set(run_ids) else None


def steps(store: Store, *, places: int = 8) -> WaitingSteps:
    is_active = RUNNING.__contains__
    return WaitingSteps(cast("TreeStore", cast("Any", store)), is_active=is_active, places=lambda: places)


def may_wait(waiting: WaitingSteps, caller: str, run_id: str, **others: str) -> bool:
    """While others wait for a run each, as they do themselves from then on."""

    async def ask() -> bool:
        with ExitStack() as stack:
            for one, other in {**others, caller: run_id}.items():
                stack.enter_context(waiting.noted(one, Awaited(run_id=other)))
            try:
                await waiting.refuse(caller, Awaited(run_id=run_id))
            except WouldDeadlockError:
                return False
            return True

    return asyncio.run(ask())


def test_a_step_may_wait_for_others_and_not_for_itself() -> None:
    waiting = steps(Store())
    assert may_wait(waiting, "a", "b")
    assert not may_wait(waiting, "a", "a")
    assert may_wait(waiting, "stranger", "stranger")  # of another daemon


def test_steps_may_not_wait_in_a_circle() -> None:
    waiting = steps(Store())
    assert may_wait(waiting, "a", "b", b="x")
    assert not may_wait(waiting, "a", "b", b="a")
    assert not may_wait(waiting, "a", "b", b="c", c="a")


def test_who_holds_a_key_and_waits_for_what_can_end_keeps_nobody() -> None:
    waiting = steps(Store(x={"b"}))
    assert may_wait(waiting, "a", "x", b="y")
    assert not may_wait(waiting, "a", "x", b="a")


def test_who_hold_a_key_together_may_not_all_wait_for_what_needs_it() -> None:
    waiting = steps(Store(x={"a", "b"}))
    assert may_wait(waiting, "a", "x")
    assert may_wait(waiting, "a", "x", b="y")
    assert not may_wait(waiting, "a", "x", b="x")


def test_the_last_place_may_not_wait_for_what_needs_one_and_is_free_again_afterwards() -> None:
    waiting = steps(Store(), places=2)
    waiting.refuse_without_place("a")
    with waiting.noted("b", Awaited(run_id="x")):
        waiting.refuse_without_place("stranger")
        with pytest.raises(WouldDeadlockError, match="it has the last place"):
            waiting.refuse_without_place("a")
    waiting.refuse_without_place("a")
