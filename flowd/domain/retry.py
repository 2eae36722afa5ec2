"""When flowd makes another attempt by itself. Never, unless the step asks for it."""

from flowd.domain.flow import Retry
from flowd.domain.run import Reason

MAX_DELAY_MS = 3_600_000


def delay_before_next_ms(policy: Retry | None, *, attempt_number: int, reason: Reason | None) -> int | None:
    """Milliseconds to wait before the next attempt, None when there is to be none.

    >>> delay_before_next_ms(Retry(3, ("exit",), 100), attempt_number=2, reason=Reason.EXIT)
    200
    >>> delay_before_next_ms(Retry(3, ("exit",), 100), attempt_number=3, reason=Reason.EXIT) is None
    True
    """
    if policy is None or reason is None or attempt_number >= policy.max_attempts or reason.value not in policy.on:
        return None
    return int(min(MAX_DELAY_MS, policy.delay_ms * 2 ** min(attempt_number - 1, 32)))
