"""Small charts of the last hour."""

import re

from flowd.domain.pulse import Minute
from flowd.page import sparkline

QUIET = Minute(1)
BUSY = Minute(2, ended=10, bad=5, duration_ms=1000, timed=10)
SHORT = Minute(3, ended=1, bad=0, duration_ms=50, timed=1)


def bars(chart: str, kind: str) -> dict[int, float]:
    """Heights by place."""
    found = re.findall(rf'<rect class="bar-{kind}" x="(\d+)" y="[\d.]+" width="3" height="([\d.]+)"/>', chart)
    return {int(x) // 4: float(height) for x, height in found}


def test_what_ended_badly_is_the_foot_of_a_minutes_bar() -> None:
    chart = sparkline.throughput([QUIET, BUSY, SHORT])
    assert bars(chart, "bad") == {1: 16.0}
    assert bars(chart, "good") == {1: 16.0, 2: 3.2}
    assert 'aria-label="11 runs ended in the last hour, at most 10 in a minute; 5 of them badly"' in chart


def test_failures_are_a_part_of_each_minute() -> None:
    assert bars(sparkline.failures([QUIET, BUSY, SHORT]), "bad") == {1: 16.0}


def test_durations_are_means_and_the_least_is_seen() -> None:
    chart = sparkline.durations([QUIET, BUSY, Minute(3, ended=1, duration_ms=1, timed=1)])
    assert bars(chart, "plain") == {1: 32.0, 2: 1.5}
    assert "at most 100 ms" in chart


def test_an_hour_without_an_end_has_no_bars() -> None:
    for chart in (sparkline.throughput, sparkline.failures, sparkline.durations):
        assert "<rect" not in chart([QUIET] * 60)
