"""When flowd makes another attempt by itself. Never, unless the step asks for it."""

from collections.abc import Callable
from dataclasses import dataclass

from flowd.domain.outcome import Outcome
from flowd.domain.result import FlowResult, ResultStatus

MAX_DELAY_MS = 24 * 3_600_000
"""What a step may ask for, in its manifest or its result."""

RESULT = "result:"
ON_RESULTS = tuple(f"{RESULT}{status.value}" for status in (ResultStatus.FAILED, ResultStatus.BLOCKED))
"""What a policy may name beside reasons."""

_MAX_STEPS = 1_000
"""Powers beyond this say nothing that the longest delay does not."""


@dataclass(frozen=True, slots=True)
class Retry:
    """When flowd itself makes another attempt. Off unless the step asks.

    Attributes:
        max_attempts: Attempts in all, the first included.
        on: What another attempt is made for: reasons (`flowd.domain.run.Reason` values), and ``result:STATUS``.
        delay_ms: Wait before the second attempt.
        factor: Each wait is so many times the one before it,
        max_delay_ms: up to this.
        jitter: Each is longer or shorter by a random part of it, this one at most, so that what failed together does
            not come again together.
    """

    max_attempts: int
    on: tuple[str, ...]
    delay_ms: int = 1_000
    factor: float = 2.0
    max_delay_ms: int = 3_600_000
    jitter: float = 0.0


def delay_before_next_ms(
    policy: Retry | None, *, attempt_number: int, outcome: Outcome, random: Callable[[], float]
) -> int | None:
    """Milliseconds to wait before the next attempt, None when there is to be none.

    ``retryAfterMs`` of a result is waited for instead, as it is.

    Args:
        attempt_number: Of the attempt that has ended, from 1.
        random: A number from 0 up to 1.

    >>> from flowd.domain.run import ProcessStatus, Reason
    >>> failed = Outcome(ProcessStatus.FAILED, Reason.EXIT)
    >>> policy = Retry(3, ("exit",), 100, jitter=0.5)
    >>> [delay_before_next_ms(policy, attempt_number=n, outcome=failed, random=lambda: 0.5) for n in (1, 2, 3)]
    [100, 200, None]
    >>> [delay_before_next_ms(policy, attempt_number=1, outcome=failed, random=lambda: x) for x in (0.0, 0.999)]
    [50, 149]
    """
    if policy is None or attempt_number >= policy.max_attempts or not _is_meant(policy, outcome):
        return None
    said_ms = None if outcome.result is None else _said_ms(outcome.result)
    if said_ms is not None:
        return said_ms
    try:
        delay_ms = policy.delay_ms * policy.factor ** min(attempt_number - 1, _MAX_STEPS)
    except OverflowError:
        delay_ms = policy.max_delay_ms
    delay_ms = min(policy.max_delay_ms, delay_ms)
    return int(min(MAX_DELAY_MS, delay_ms * (1 + policy.jitter * (2 * random() - 1))))


def _is_meant(policy: Retry, outcome: Outcome) -> bool:
    said = None if outcome.result is None else f"{RESULT}{outcome.result.status}"
    return (outcome.reason is not None and outcome.reason.value in policy.on) or said in policy.on


def _said_ms(result: FlowResult) -> int | None:
    """``retryAfterMs``, where it is a length of time; all else counts as absent."""
    if "retryAfterMs" not in result.text:
        return None
    said = result.value.get("retryAfterMs")
    if isinstance(said, bool) or not isinstance(said, int | float) or not said >= 0:
        return None
    return int(min(MAX_DELAY_MS, said))
