"""How much has ended of late."""

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
