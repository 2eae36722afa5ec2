"""Cancels of runs whose attempts begin, or have ended, in that very moment."""

import asyncio
from dataclasses import replace
from types import SimpleNamespace
from typing import Any, cast

import pytest
from store_rig import STEP

from flowd.domain.queueing import StartedRun
from flowd.domain.run import Attempt, ProcessStatus, Run
from flowd.engine.attempt import ActiveAttempt
from flowd.engine.attempts import Attempts
from flowd.engine.tallies import Tallies

RUN = Run("r", "e", "flow", 1, "step", "exec", "sha256:0", ProcessStatus.RUNNING, 1, 1)


class Runs:
    """The store, as far as it is asked for a run."""

    def __init__(self) -> None:
        self.status = ProcessStatus.RUNNING

    async def run(self, run_id: str) -> Run:
        await asyncio.sleep(0)
        return replace(RUN, id=run_id, status=self.status)


def made(runs: Runs) -> Attempts:
    clock = SimpleNamespace(steady_ms=lambda: 1)
    return Attempts(cast("Any", SimpleNamespace(store=runs, clock=clock, tallies=Tallies())))


def begin(attempts: Attempts) -> ActiveAttempt:
    attempt = Attempt("r:1", "r", 1, ProcessStatus.RUNNING, "keeper", 1)
    return attempts.begin(StartedRun(RUN, attempt, STEP, b"{}"))


@pytest.mark.parametrize(
    ("status", "is_canceled"),
    [(ProcessStatus.RUNNING, True), (ProcessStatus.COMPLETED, False), (ProcessStatus.QUEUED, False)],
)
def test_a_cancel_means_the_attempt_that_begins_and_none_that_follows_an_end(
    status: ProcessStatus, *, is_canceled: bool
) -> None:
    async def use() -> None:
        runs = Runs()
        runs.status = status
        attempts = made(runs)
        await attempts.cancel("r")
        assert begin(attempts).is_canceled is is_canceled

    asyncio.run(use())


def test_a_cancel_means_an_attempt_that_begins_while_it_is_looked_for() -> None:
    async def use() -> None:
        attempts = made(Runs())
        canceling = asyncio.create_task(attempts.cancel("r"))
        await asyncio.sleep(0)
        assert begin(attempts).is_canceled
        await canceling
        assert not begin(attempts).is_canceled

    asyncio.run(use())
