"""At which level ends are logged: failures and questions as warnings, however they came about."""

import logging

import pytest

from flowd.domain.outcome import Outcome
from flowd.domain.result import FlowResult
from flowd.domain.run import ProcessStatus, Reason, Run
from flowd.engine import run_log

COMPLETED, FAILED, CANCELED = ProcessStatus.COMPLETED, ProcessStatus.FAILED, ProcessStatus.CANCELED


def a_run(status: ProcessStatus, reason: Reason | None = None) -> Run:
    return Run("r", "e", "f", 1, "s", "exec", "h", status, 1, 1, reason=reason)


def said(status: str) -> FlowResult:
    return FlowResult(status, f'{{"status":"{status}"}}')


@pytest.mark.parametrize(
    ("outcome", "level", "more"),
    [
        (Outcome(FAILED, Reason.EXIT), "WARNING", {"status": "failed", "reason": "exit"}),
        (Outcome(FAILED, Reason.TIMEOUT), "WARNING", {"reason": "timeout"}),
        (Outcome(FAILED, Reason.INTERRUPTED), "WARNING", {"reason": "interrupted"}),
        (Outcome(COMPLETED, result=said("failed")), "WARNING", {"status": "completed", "result": "failed"}),
        (Outcome(COMPLETED, result=said("blocked")), "WARNING", {"result": "blocked"}),
        (Outcome(COMPLETED, result=said("needs_intervention")), "WARNING", {"result": "needs_intervention"}),
        (Outcome(COMPLETED, result=said("changed")), "INFO", {"result": "changed"}),
        (Outcome(COMPLETED, result=said("completed")), "INFO", {"status": "completed"}),
        (Outcome(CANCELED, Reason.CANCELED), "INFO", {"status": "canceled"}),
    ],
)
def test_an_end_that_wants_somebody_is_a_warning(
    caplog: pytest.LogCaptureFixture, outcome: Outcome, level: str, more: dict[str, str]
) -> None:
    with caplog.at_level(logging.DEBUG, run_log.LOGGER):
        run_log.tell_attempt_ended(a_run(outcome.status), outcome, 1, retry_in_ms=None)
    (record,) = caplog.records
    assert (record.getMessage(), record.levelname) == ("run ended", level)
    assert {name: getattr(record, name) for name in more} == more
    assert not hasattr(record, "retry_in_ms")


def test_a_failure_that_is_tried_again_says_when(caplog: pytest.LogCaptureFixture) -> None:
    run_log.tell_attempt_ended(a_run(ProcessStatus.QUEUED), Outcome(FAILED, Reason.EXIT), 1, retry_in_ms=500)
    assert [(one.levelname, getattr(one, "retry_in_ms", None)) for one in caplog.records] == [("WARNING", 500)]


@pytest.mark.parametrize(
    ("run", "level"),
    [
        (a_run(FAILED, Reason.QUEUE_TIMEOUT), "WARNING"),
        (a_run(FAILED, Reason.STEP_REMOVED), "WARNING"),
        (a_run(COMPLETED, Reason.NEEDS_NOT_MET), "INFO"),
        (a_run(CANCELED, Reason.CANCELED), "INFO"),
    ],
)
def test_so_is_a_failure_without_an_attempt(caplog: pytest.LogCaptureFixture, run: Run, level: str) -> None:
    with caplog.at_level(logging.DEBUG, run_log.LOGGER):
        run_log.tell_ended_unstarted(run)
    assert [record.levelname for record in caplog.records] == [level]
