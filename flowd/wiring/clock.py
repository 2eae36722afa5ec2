"""The machine's clocks."""

import time


class SystemClock:
    """The machine's clocks."""

    def __init__(self) -> None:
        self._epoch_ns = time.time_ns() - time.monotonic_ns()

    def now_ms(self) -> int:
        """See `flowd.ports.Clock.now_ms`."""
        return time.time_ns() // 1_000_000

    def steady_ms(self) -> int:
        """See `flowd.ports.Clock.steady_ms`."""
        return (self._epoch_ns + time.monotonic_ns()) // 1_000_000
