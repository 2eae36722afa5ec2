"""What ended in the last hour, also before the daemon began."""

import asyncio
from dataclasses import dataclass, field
from types import SimpleNamespace
from typing import Any

from flowd.domain.filters import RunFilter
from flowd.domain.pulse import MINUTES, Pulse
from flowd.domain.run import ProcessStatus
from flowd.domain.stored import Page
from flowd.engine.last_hour import LastHour

MINUTE_MS = 60_000
BEGAN_MS = 1000 * MINUTE_MS


def ended(at_ms: int, status: ProcessStatus = ProcessStatus.COMPLETED) -> Any:
    return SimpleNamespace(status=status, updated_at_ms=at_ms, effective_status=str(status), duration_ms=10)


@dataclass
class Runs:
    """Pages of runs, and who has asked for them."""

    pages: list[list[Any]]
    asked: list[RunFilter] = field(default_factory=list)

    async def __call__(self, where: RunFilter, *, limit: int, cursor: str | None = None) -> Page[Any]:
        self.asked.append(where)
        place = int(cursor or 0)
        return Page(tuple(self.pages[place]), str(place + 1) if place + 1 < len(self.pages) else None)


def looked(runs: Runs, pulse: Pulse, *, now_ms: int, times: int = 1) -> int:
    async def look() -> int:
        # As a daemon has one for its HTTP server, and makes another one where somebody wants to see the page.
        minutes = [await LastHour(pulse, runs, now_ms=lambda: now_ms).minutes() for _ in range(times)][-1]
        return sum(minute.ended for minute in minutes)

    return asyncio.run(look())


def test_what_ended_before_the_daemon_began_is_read_once() -> None:
    pulse = Pulse(BEGAN_MS)
    pulse.add(BEGAN_MS + 1, "completed", 10)
    before = [ended(BEGAN_MS - 1), ended(BEGAN_MS - 2, ProcessStatus.FAILED)]
    others = [ended(BEGAN_MS + 1), ended(BEGAN_MS - 3, ProcessStatus.RUNNING)]  # counted already, and not ended
    runs = Runs([before, others])
    assert looked(runs, pulse, now_ms=BEGAN_MS + MINUTE_MS, times=2) == 3
    assert len(runs.asked) == 2
    assert {(where.since_ms, where.until_ms) for where in runs.asked} == {(BEGAN_MS - MINUTES * MINUTE_MS, BEGAN_MS)}


def test_a_daemon_that_is_an_hour_old_reads_nothing() -> None:
    runs = Runs([[ended(BEGAN_MS - 1)]])
    assert looked(runs, Pulse(BEGAN_MS), now_ms=BEGAN_MS + MINUTES * MINUTE_MS) == 0
    assert runs.asked == []


def test_of_a_long_history_only_the_newest_are_read() -> None:
    runs = Runs([[ended(BEGAN_MS - 1)] for _ in range(50)])
    assert looked(runs, Pulse(BEGAN_MS), now_ms=BEGAN_MS) == 10
