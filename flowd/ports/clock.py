"""The time."""

from typing import Protocol


class Clock(Protocol):
    """The time."""

    def now_ms(self) -> int:
        """Milliseconds since the epoch by the wall clock, for records."""
        ...

    def steady_ms(self) -> int:
        """Milliseconds since the epoch as they were at the start of this process, plus what has passed since then: a
        clock that nobody sets, for how long something is to wait."""
        ...
