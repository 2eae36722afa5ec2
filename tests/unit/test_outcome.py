"""How an exit and a result become an outcome (docs/reference/runs.md has the reasons)."""

from typing import Any

import pytest

from flowd.domain.exit import Exit
from flowd.domain.outcome import Outcome, decide
from flowd.domain.result import FlowResult, MalformedResult
from flowd.domain.run import Attempt, ProcessStatus, Reason

CHANGED = FlowResult("changed", '{"status":"changed"}')
BLOCKED = FlowResult("blocked", '{"status":"blocked"}')
BAD = MalformedResult("it must be a JSON object")


def outcome(exit_: Exit, said: FlowResult | MalformedResult | None) -> Outcome:
    return decide(exit_, said, label="f/s", timeout_ms=1000)


def test_exit_0_with_a_result_completes() -> None:
    assert outcome(Exit(0), CHANGED) == Outcome(ProcessStatus.COMPLETED, result=CHANGED, exit_code=0)


@pytest.mark.parametrize(
    ("exit_", "said", "reason"),
    [
        (Exit(0), None, Reason.NO_RESULT),
        (Exit(0), BAD, Reason.BAD_RESULT),
        (Exit(3), CHANGED, Reason.EXIT),
        (Exit(signal=9), CHANGED, Reason.SIGNAL),
        (Exit(signal=15, cause="timeout"), CHANGED, Reason.TIMEOUT),
        (Exit(0, cause="timeout"), CHANGED, Reason.TIMEOUT),
        (Exit(signal=9, cause="output_limit"), None, Reason.OUTPUT_LIMIT),
        (Exit(signal=24), None, Reason.SIGNAL),
        (Exit(signal=15, cause="orphaned"), CHANGED, Reason.INTERRUPTED),
        (Exit(0, cause="keeper_ended"), CHANGED, Reason.INTERRUPTED),
        (Exit(signal=15, cause="fenced"), CHANGED, Reason.INTERRUPTED),
        (Exit(), None, Reason.INTERRUPTED),
        (Exit(), BAD, Reason.INTERRUPTED),
    ],
)
def test_everything_else_fails_with_its_reason(
    exit_: Exit, said: FlowResult | MalformedResult | None, reason: Reason
) -> None:
    decided = outcome(exit_, said)
    assert (decided.status, decided.reason) == (ProcessStatus.FAILED, reason)
    assert decided.error


@pytest.mark.parametrize("exit_", [Exit(3), Exit(signal=15), Exit(0, cause="timeout"), Exit(0, cause="canceled")])
def test_a_success_never_hangs_on_a_process_that_failed(exit_: Exit) -> None:
    decided = outcome(exit_, CHANGED)
    assert decided.result is None
    assert decided.reported_result == CHANGED


def test_what_wants_attention_is_kept_on_a_failed_process() -> None:
    assert outcome(Exit(3), BLOCKED).result == BLOCKED


def test_cancel_wins_over_whatever_the_step_said() -> None:
    decided = outcome(Exit(0, cause="canceled"), BLOCKED)
    assert (decided.status, decided.result) == (ProcessStatus.CANCELED, None)


def test_an_unseen_exit_with_a_whole_result_is_believed() -> None:
    decided = outcome(Exit(), CHANGED)
    assert (decided.status, decided.result, decided.exit_code) == (ProcessStatus.COMPLETED, CHANGED, None)


@pytest.mark.parametrize(
    ("exit_", "words"),
    [
        (Exit(signal=24), "SIGXCPU: it used up cpu_time_s"),
        (Exit(signal=9, out_of_memory=True), "SIGKILL: it ran out of memory (memory_bytes of its limits"),
        (Exit(code=1, out_of_memory=True), "exited with 1: it ran out of memory"),
        (Exit(signal=25), "SIGXFSZ: a file grew beyond file_bytes"),
        (Exit(signal=9), "was ended by SIGKILL"),
        (Exit(signal=15, cause="orphaned"), "no daemon came back within orphan_grace_s"),
        (Exit(signal=15, cause="keeper_ended"), "flowd's keeper was told to end (SIGTERM)"),
        (Exit(signal=15, cause="fenced"), "its host could not renew its lease in the store"),
        (Exit(signal=15, cause="daemon_ended"), "interrupted: flowd ended all steps when it stopped"),
    ],
)
def test_an_end_that_nobody_asked_for_says_why(exit_: Exit, words: str) -> None:
    assert words in (outcome(exit_, None).error or "")


def attempt(**members: Any) -> Attempt:
    started = {"id": "run_1", "run_id": "run_1", "number": 1, "worker_id": "keeper", "started_at_ms": 1000}
    return Attempt(**{"status": ProcessStatus.FAILED, "completed_at_ms": 9000, **started, **members})


@pytest.mark.parametrize(
    ("members", "duration_ms"),
    [
        ({"measured_ms": 70}, 70),
        ({"measured_ms": 0}, 0),
        ({}, 8000),
        ({"completed_at_ms": 500}, 0),
        ({"completed_at_ms": None, "status": ProcessStatus.RUNNING}, None),
        ({"reason": Reason.INTERRUPTED}, None),
        ({"reason": Reason.INTERRUPTED, "measured_ms": 70}, 70),
    ],
)
def test_a_duration_is_what_was_measured_else_the_wall_clocks_else_unknown(
    members: dict[str, Any], duration_ms: int | None
) -> None:
    assert attempt(**members).duration_ms == duration_ms


def test_a_result_that_could_not_be_recorded_is_told_as_such() -> None:
    outcome = decide(Exit(code=0, unwritten_bytes=42), None, label="f/s", timeout_ms=1)
    assert outcome.reason is Reason.NO_RESULT
    assert "42 bytes of its output could not be recorded" in (outcome.error or "")
