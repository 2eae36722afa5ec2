"""What somebody who waits for a run is told of it."""

import asyncio
from collections.abc import Callable
from dataclasses import replace

import pytest

from flowd.domain.run import ProcessStatus, Run
from flowd.domain.waiting import NeedsWait
from flowd.engine.completions import Completions
from flowd.engine.waiters import Waited, Waiters

KEPT = Run(
    "r", "e", "flow", 1, "step", "exec", "sha256:0", ProcessStatus.QUEUED, 1, 1, waiting_for=NeedsWait(("before",))
)
CANCELED = replace(KEPT, status=ProcessStatus.CANCELED, waiting_for=None)
RUNNING = replace(KEPT, status=ProcessStatus.RUNNING, waiting_for=None)


class Store:
    """A store in which something happens between two looks."""

    def __init__(self, *, is_going_on: bool, then: Run) -> None:
        self.run = KEPT
        self._is_going_on = is_going_on
        self._then = then

    async def read(self, _: str) -> Run:
        return self.run

    async def is_round_going_on(self, _: str) -> bool:
        self.run = self._then
        return self._is_going_on


def waited(store: Store, *, timeout_s: float | None) -> Waited:
    shown: Callable[[Run], Run] = lambda run: run  # noqa: E731
    waiters = Waiters(
        store=store,  # type: ignore[arg-type]
        completions=Completions(),
        read=store.read,
        shown=shown,
        is_active=lambda _: False,
        places=lambda: 1,
    )
    return asyncio.run(waiters.for_run("r", timeout_s=timeout_s))


@pytest.mark.parametrize("timeout_s", [None, 0])
def test_a_run_is_told_as_it_has_ended_where_that_is_why_nothing_goes_on_any_more(timeout_s: float | None) -> None:
    store = Store(is_going_on=False, then=CANCELED)
    assert waited(store, timeout_s=timeout_s) == Waited(CANCELED, is_late=False)


def test_a_run_that_only_a_person_can_let_go_on_is_told_as_it_is() -> None:
    assert waited(Store(is_going_on=False, then=KEPT), timeout_s=None) == Waited(KEPT, is_late=False)


def test_a_run_that_somebody_has_let_go_on_meanwhile_is_not_told_as_over() -> None:
    assert waited(Store(is_going_on=False, then=RUNNING), timeout_s=0) == Waited(RUNNING, is_late=True)
