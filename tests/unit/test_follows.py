"""How much a result may cause at once."""

import asyncio
import json

import pytest

from flowd.domain.definition import Definition
from flowd.domain.event import Event
from flowd.domain.outcome import Outcome
from flowd.domain.queueing import MAX_AT_ONCE, NewRun
from flowd.domain.result import FlowResult
from flowd.domain.run import ProcessStatus, Reason
from flowd.domain.stored import NewEvent, NewEventRuns
from flowd.engine.follows import Follows

STEP = Definition("flow", 1, "/flow", "sha256:0", "step", "exec", "run.sh", 1000, 100)


class _Intake:
    """Every event matches so many steps."""

    def __init__(self, steps: int) -> None:
        self.runs = tuple(NewRun(f"run {n}", STEP) for n in range(steps))
        self.asked = 0

    async def prepare(self, event: Event) -> NewEventRuns:
        self.asked += 1
        return NewEventRuns(NewEvent(event.id, event.type, None, None, "", b"{}", b"0"), self.runs)


def of_next(intake: _Intake, events: int) -> tuple[Outcome, tuple[NewEventRuns, ...]]:
    said = {"status": "completed", "next": [{"type": "t"}] * events}
    outcome = Outcome(ProcessStatus.COMPLETED, result=FlowResult("completed", json.dumps(said)))
    follows = Follows(intake=intake, now=lambda: "2026-01-01T00:00:00.000Z", max_tree_events=10_000)  # type: ignore[arg-type]
    return asyncio.run(follows.of_outcome(outcome, is_last=True, label="flow/step", first_run_id="r"))


@pytest.mark.parametrize(("events", "steps"), [(10, MAX_AT_ONCE // 10), (1, MAX_AT_ONCE), (10_000, 0)])
def test_a_result_makes_five_thousand_runs_and_as_many_events_as_a_tree_has(events: int, steps: int) -> None:
    outcome, caused = of_next(_Intake(steps), events)
    assert outcome.reason is None
    assert [len(new.runs) for new in caused] == [steps] * events


@pytest.mark.parametrize(("steps", "asked"), [(MAX_AT_ONCE // 10 + 1, 10), (MAX_AT_ONCE + 1, 1)])
def test_a_result_that_makes_more_is_refused_and_not_looked_at_to_its_end(steps: int, asked: int) -> None:
    intake = _Intake(steps)
    outcome, caused = of_next(intake, 500)
    assert (outcome.reason, caused) == (Reason.CHAIN_LIMIT, ())
    assert outcome.error == (
        "Step flow/step causes too much: its next makes more than 5000 runs at once. "
        "Let it cause fewer events, whose steps have a next with the others"
    )
    assert intake.asked == asked
