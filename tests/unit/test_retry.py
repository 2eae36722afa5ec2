"""When flowd makes another attempt by itself, and how long it waits before that."""

import doctest
import json

import pytest

from flowd.domain import retry
from flowd.domain.outcome import Outcome
from flowd.domain.result import FlowResult
from flowd.domain.retry import MAX_DELAY_MS, Retry, delay_before_next_ms
from flowd.domain.run import ProcessStatus, Reason


def _delay(policy: Retry, outcome: Outcome, number: int = 1, random: float = 0.5) -> int | None:
    return delay_before_next_ms(policy, attempt_number=number, outcome=outcome, random=lambda: random)


def _said(status: str, *, exit_code: int = 0, **members: object) -> Outcome:
    said = FlowResult(status, json.dumps({"status": status, **members}))
    if exit_code:
        return Outcome(ProcessStatus.FAILED, Reason.EXIT, "it failed", result=said)
    return Outcome(ProcessStatus.COMPLETED, result=said)


def test_doctests() -> None:
    results = doctest.testmod(retry)
    assert results.attempted > 0
    assert results.failed == 0


@pytest.mark.parametrize(
    ("outcome", "on", "is_meant"),
    [
        (_said("failed"), ("result:failed",), True),
        (_said("blocked"), ("result:failed", "result:blocked"), True),
        (_said("blocked"), ("result:failed", "exit"), False),
        (_said("needs_intervention"), ("result:failed", "result:blocked"), False),
        (_said("completed"), ("result:failed",), False),
        (_said("failed", exit_code=1), ("result:failed",), True),
        (_said("failed", exit_code=1), ("exit",), True),
        (_said("failed", exit_code=1), ("timeout",), False),
        (Outcome(ProcessStatus.FAILED, Reason.TIMEOUT), ("result:failed",), False),
    ],
)
def test_reasons_and_results_are_what_a_policy_names(outcome: Outcome, on: tuple[str, ...], is_meant: bool) -> None:
    assert (_delay(Retry(2, on), outcome) is not None) is is_meant
    assert _delay(Retry(2, on), outcome, number=2) is None


def test_delays_grow_up_to_the_longest_and_never_beyond_a_day() -> None:
    failed = _said("failed")
    policy = Retry(100, ("result:failed",), 1_000, factor=3, max_delay_ms=20_000)
    assert [_delay(policy, failed, number) for number in (1, 2, 3, 4, 99)] == [1_000, 3_000, 9_000, 20_000, 20_000]
    huge = Retry(100, ("result:failed",), MAX_DELAY_MS, factor=100, max_delay_ms=MAX_DELAY_MS, jitter=1)
    assert _delay(huge, failed, 99, random=0.999) == MAX_DELAY_MS
    assert _delay(huge, failed, 99, random=0.0) == 0


@pytest.mark.parametrize(
    ("said", "delay_ms"),
    [
        (0, 0),
        (2_500, 2_500),
        (1.5, 1),
        (10**12, MAX_DELAY_MS),
        (-1, 1_000),
        (True, 1_000),
        ("5", 1_000),
        (None, 1_000),
        ({"ms": 5}, 1_000),
    ],
)
def test_a_result_says_how_long_to_wait(said: object, delay_ms: int) -> None:
    policy = Retry(2, ("result:blocked",), 1_000, max_delay_ms=1_000)
    assert _delay(policy, _said("blocked", retryAfterMs=said)) == delay_ms


def test_a_member_of_that_name_elsewhere_in_a_result_says_nothing() -> None:
    assert (
        _delay(Retry(2, ("result:failed",)), _said("failed", message="retryAfterMs", deep={"retryAfterMs": 1})) == 1_000
    )
