"""Cancels of runs whose attempts begin, or have ended, in that very moment."""

import asyncio
from dataclasses import replace
from types import SimpleNamespace
from typing import Any, cast

import pytest
from store_rig import STEP

from flowd.domain.definition import Definition
from flowd.domain.exit import Exit
from flowd.domain.launching import Command, Launch, LeaseOverError
from flowd.domain.outcome import Outcome
from flowd.domain.queueing import StartedRun
from flowd.domain.run import Attempt, ProcessStatus, Reason, Run
from flowd.domain.stored import Output
from flowd.engine.attempt import ActiveAttempt
from flowd.engine.attempts import Attempts
from flowd.engine.scheduler import Done
from flowd.engine.tallies import Tallies

RUN = Run("r", "e", "flow", 1, "step", "exec", "sha256:0", ProcessStatus.RUNNING, 1, 1)


class Runs:
    """The store, as far as it is asked for a run."""

    def __init__(self) -> None:
        self.status = ProcessStatus.RUNNING

    async def run(self, run_id: str) -> Run:
        await asyncio.sleep(0)
        return replace(RUN, id=run_id, status=self.status)

    async def definition(self, _: str) -> Definition:
        return STEP


def made(runs: Runs, *, is_shared: bool = False) -> Attempts:
    clock = SimpleNamespace(steady_ms=lambda: 1)
    return Attempts(cast("Any", SimpleNamespace(store=runs, clock=clock, tallies=Tallies())), is_shared=is_shared)


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


def test_a_cancel_of_what_runs_on_another_host_means_no_attempt_that_begins_here_later() -> None:
    async def use() -> None:
        attempts = made(Runs(), is_shared=True)
        assert await attempts.cancel("r") == STEP.grace_ms / 1000
        assert not begin(attempts).is_canceled

    asyncio.run(use())


class LateKeeper:
    """A keeper that is asked for a start after its lease was over."""

    async def start(self, _: Launch) -> int:
        raise LeaseOverError("too late")


def test_an_attempt_whose_lease_was_over_before_its_start_was_interrupted_and_not_wrong() -> None:
    async def use() -> None:
        async def command(*_: object) -> Command:
            return Command(("x",), "/", {}, b"")

        async def package_hash(*_: object) -> None:
            return None

        class Outputs:
            def make_folder(self) -> None: ...

            def path(self, *_: object) -> str:
                return ""

            async def collected(self, _: str) -> object:
                return SimpleNamespace(result=None, stderr_tail="", stdout_tail="", output=Output())

        tools = SimpleNamespace(
            clock=SimpleNamespace(steady_ms=lambda: 1),
            tallies=Tallies(),
            keeper=LateKeeper(),
            runners=SimpleNamespace(command=command),
            packages=SimpleNamespace(now=package_hash),
            outputs=Outputs(),
            max_output_bytes=1,
            mask=str,
        )
        active = begin(Attempts(cast("Any", tools), is_shared=True))
        ends: list[Outcome] = []

        async def finish(_: Exit, outcome: Outcome, *__: object) -> Done:
            ends.append(outcome)
            return Done()

        active._finish = finish  # type: ignore[method-assign]
        await active.start()
        await active.exited()
        await active.record(lambda _: None)
        [outcome] = ends
        assert (outcome.status, outcome.reason) == (ProcessStatus.FAILED, Reason.INTERRUPTED)
        assert outcome.error is not None
        assert "its host could not renew its lease" in outcome.error

    asyncio.run(use())
