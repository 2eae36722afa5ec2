"""Measures how late the event loop is."""

import asyncio
import time
from collections.abc import Awaitable, Callable
from typing import NoReturn

from flowd.domain.tallies import Histogram

EVERY_S = 0.5
BOUNDS_S = (0.002, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 10)
"""A timer may be a millisecond late in an idle loop, which waits in whole ones."""


async def measure(
    lag_s: Histogram,
    *,
    clock_s: Callable[[], float] = time.monotonic,
    sleep: Callable[[float], Awaitable[object]] = asyncio.sleep,
) -> NoReturn:
    """Count how late timers of half a second are, until this is cancelled."""
    while True:
        due_s = clock_s() + EVERY_S
        await sleep(EVERY_S)
        lag_s.add(max(0.0, clock_s() - due_s))
