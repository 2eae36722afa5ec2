"""How much has ended of late."""

from types import SimpleNamespace
from typing import Any

from flowd.domain.pulse import MINUTES, Pulse, mean_ms

MINUTE_MS = 60_000


def test_each_minute_counts_what_ended_in_it() -> None:
    pulse = Pulse()
    for at_ms, status, took_ms in [(0, "completed", 10), (MINUTE_MS - 1, "failed", 30), (MINUTE_MS, "canceled", None)]:
        pulse.add(at_ms, status, took_ms)
    *_, first, second = pulse.last(MINUTE_MS)
    assert (first.ended, first.bad, first.duration_ms, first.timed) == (2, 1, 40, 2)
    assert (second.ended, second.bad, second.timed) == (1, 1, 0)
    assert mean_ms([first, second]) == 20
    assert mean_ms([second]) is None


def test_an_hour_is_told_and_no_more() -> None:
    pulse = Pulse()
    for minute in range(100):
        pulse.add(minute * MINUTE_MS, "completed", 1)
    told = pulse.last(99 * MINUTE_MS)
    assert [minute.number for minute in told] == list(range(40, 100))
    assert sum(minute.ended for minute in told) == MINUTES
    later = pulse.last(200 * MINUTE_MS)
    assert sum(minute.ended for minute in later) == 0


def test_a_clock_that_was_set_back_counts_nothing_twice_or_wrongly() -> None:
    pulse = Pulse()
    pulse.add(100 * MINUTE_MS, "completed", 1)
    pulse.add(40 * MINUTE_MS, "completed", 1)  # it has the same place in the ring
    assert sum(minute.ended for minute in pulse.last(100 * MINUTE_MS)) == 1


def test_a_run_that_ends_once_more_counts_as_it_ends_then() -> None:
    pulse = Pulse(since_ms=60_000)
    first: Any = SimpleNamespace(updated_at_ms=60_500, effective_status="failed", duration_ms=5)
    before: Any = SimpleNamespace(updated_at_ms=59_000, effective_status="failed", duration_ms=5)
    pulse.ended(first)
    pulse.goes_on(before)  # was never counted
    assert [(minute.ended, minute.bad) for minute in pulse.last(60_500)[-2:]] == [(0, 0), (1, 1)]
    pulse.goes_on(first)
    newest = pulse.last(60_500)[-1]
    assert (newest.ended, newest.bad, newest.duration_ms, newest.timed) == (0, 0, 0, 0)
