"""How quiet the machine is: what a reader has to know before believing a figure."""

import os
import time
from statistics import median, quantiles

QUIET_PERCENT = 5.0
QUIET_LOAD = 0.5  # of the last minute, before anything is measured


def sentence() -> str:
    """The load average, and by how much a fixed piece of work is slower in its slowest tenth than in its fastest."""
    took_s = sorted(_fixed_work() for _ in range(50))
    tenths = quantiles(took_s, n=10)
    percent = (tenths[-1] / tenths[0] - 1) * 100
    is_quiet = percent <= QUIET_PERCENT and os.getloadavg()[0] <= QUIET_LOAD
    advice = "quiet" if is_quiet else "not quiet: trust CPU times and ratios, not wall times"
    loads = " ".join(f"{value:.2f}" for value in os.getloadavg())
    return f"load {loads}; a fixed loop took {median(took_s) * 1000:.1f} ms, noise {percent:.0f} % ({advice})"


def _fixed_work() -> float:
    began = time.perf_counter()
    for _ in range(200_000):
        pass
    return time.perf_counter() - began
