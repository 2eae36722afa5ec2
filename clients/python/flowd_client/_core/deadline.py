"""How long one call may take."""

import time

from flowd_client.errors import TimedOutError


class Deadline:
    """A moment on the monotonic clock, or never.

    Attributes:
        timeout_s: How far away it was at the beginning; None is never.
    """

    def __init__(self, method: str, timeout_s: float | None) -> None:
        self._method = method
        self.timeout_s = timeout_s
        self._at_s = None if timeout_s is None else time.monotonic() + timeout_s

    def left_s(self) -> float | None:
        """Seconds left, None without limit. Raises `TimedOutError` when there are none."""
        if self._at_s is None:
            return None
        left_s = self._at_s - time.monotonic()
        if left_s <= 0:
            raise self.error()
        return left_s

    def has(self, seconds: float) -> bool:
        """Whether so many seconds are left."""
        return self._at_s is None or self._at_s - time.monotonic() > seconds

    def error(self) -> TimedOutError:
        """What to raise when it has passed."""
        return TimedOutError(self._method, self.timeout_s or 0)
