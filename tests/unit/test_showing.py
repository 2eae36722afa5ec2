"""When a wait ends is shown by the wall clock, whatever that was set to since the daemon's start."""

from dataclasses import replace
from typing import Any, cast

import pytest

from flowd.domain.redaction import Redactor
from flowd.domain.run import ProcessStatus, Run
from flowd.domain.waiting import TimeReason, TimeWait
from flowd.engine.showing import Showing

RUN = Run("r", "e", "flow", 1, "step", "exec", "sha256:0", ProcessStatus.QUEUED, 1, 1)


class Clock:
    def __init__(self, ahead_ms: int) -> None:
        self._ahead_ms = ahead_ms

    def now_ms(self) -> int:
        return 1_000_000 + self._ahead_ms

    def steady_ms(self) -> int:
        return 1_000_000


def shown(ahead_ms: int, why: TimeReason, served: Any = None) -> int:
    nobody = cast("Any", None)
    showing = Showing(redactor=Redactor(), steps=nobody, clock=Clock(ahead_ms), served=served)
    wait = showing.run(replace(RUN, waiting_for=TimeWait(1_060_000, 60_000, why))).waiting_for
    assert isinstance(wait, TimeWait)
    return wait.until_ms


@pytest.mark.parametrize("why", ["retry", "delay", "debounce"])
@pytest.mark.parametrize("ahead_ms", [3_600_000, -3_600_000])
def test_a_delay_is_shown_by_a_clock_that_was_set(ahead_ms: int, why: TimeReason) -> None:
    assert shown(ahead_ms, why) == 1_060_000 + ahead_ms


def test_an_instant_and_a_clock_that_is_slewed_are_shown_as_they_are() -> None:
    assert shown(3_600_000, "notBefore") == 1_060_000
    assert shown(400, "delay") == 1_060_000


def test_a_shared_store_has_its_own_clock() -> None:
    assert shown(3_600_000, "delay", served=object()) == 1_060_000
