"""How late the loop is, by a clock of the test's own."""

import asyncio

import pytest

from flowd.daemon import loop_lag
from flowd.domain.tallies import Histogram


def test_what_a_timer_is_late_is_counted_and_what_it_should_take_is_not() -> None:
    late_s = [0.0, 0.003, 0.3, 20.0]
    now_s, lag_s = 100.0, Histogram(loop_lag.BOUNDS_S)

    async def sleep(how_long_s: float) -> None:
        nonlocal now_s
        if not late_s:
            raise asyncio.CancelledError
        now_s += how_long_s + late_s.pop(0)

    with pytest.raises(asyncio.CancelledError):
        asyncio.run(loop_lag.measure(lag_s, clock_s=lambda: now_s, sleep=sleep))
    by_bound = dict(zip((*loop_lag.BOUNDS_S, "more"), lag_s.up_to(), strict=True))
    assert (by_bound[0.002], by_bound[0.005], by_bound[0.25], by_bound[0.5], by_bound[10]) == (1, 2, 2, 3, 3)
    assert by_bound["more"] == 4
    assert lag_s.total == pytest.approx(20.303)
