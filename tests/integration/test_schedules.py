"""Schedules of packages on a real store, with a clock that is set by hand."""

import asyncio
import logging
from collections.abc import Awaitable, Callable
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

import pytest
from store_rig import forget_before
from year.world import Clock, Packages

from flowd.domain.errors import PayloadTooLargeError, QueueFullError, RefusedError, StorageBusyError
from flowd.domain.flow import BrokenPackage, Flow, Origin, Snapshot
from flowd.domain.known_schedule import KnownSchedule, ScheduleState
from flowd.domain.pauses import Paused
from flowd.domain.people import Person
from flowd.domain.schedule import Schedule
from flowd.domain.slots import Slot
from flowd.domain.stored import NewEvent
from flowd.engine.schedules import LOOK_S, MAX_REFUSED, Owned, Schedules
from flowd.engine.store_clock import StoreClock
from flowd.store.sqlite.store import SqliteStore

MINUTE_MS = 60_000
HOUR_MS = 60 * MINUTE_MS
HOURLY = Schedule("hourly", "0 * * * *", "t", payload={"a": 1})
MINUTELY = Schedule("minutely", "* * * * *", "t", catch_up="none")


class Rig:
    """One daemon after the other on a store.

    Attributes:
        refusal: What telling raises.
        events: What was told, and accepted first then.
    """

    def __init__(self, folder: Path, *schedules: Schedule) -> None:
        self.path = folder / "flowd.db"
        self.clock = Clock()
        self.clock.wall_ms = int(datetime(2026, 6, 1, 12, 0, 30, tzinfo=UTC).timestamp()) * 1000
        self.packages = Packages(list(schedules))
        self.refusal: Exception | None = None
        self.events: list[dict[str, object]] = []

    async def start(self) -> Schedules:
        self.store = SqliteStore(self.path, max_queued=1000)
        schedules = Schedules(
            store=self.store,
            catalog=self.packages,
            clock=StoreClock(self.clock, None),
            tell=self.tell,
            now_s=lambda: self.clock.passed_ms / 1000,
        )
        await schedules.look()
        return schedules

    async def tell(self, value: object, /, *, slot: Slot) -> object:
        if self.refusal is not None:
            raise self.refusal
        event = NewEvent(slot.event_id, "t", None, None, "", b"{}", b"0")
        accepted = await self.store.accept(event, (), at_ms=self.clock.wall_ms, slot=slot)
        assert isinstance(value, dict)
        if not accepted.is_duplicate:
            self.events.append(value)
        return accepted

    @property
    def told(self) -> list[str]:
        """The slots of what was told, in its order."""
        return [str(event["id"])[-20:] for event in self.events]

    async def look(self, schedules: Schedules, passed_ms: int) -> list[str]:
        """Time has passed, and somebody looks: what was told."""
        before = len(self.told)
        self.clock.pass_time(passed_ms)
        await schedules.look()
        return self.told[before:]

    async def only(self, schedules: Schedules) -> KnownSchedule:
        """The one that there is."""
        shown, next_ = schedules.page(None, limit=10, after=0)
        assert next_ is None
        (known,) = await schedules.known(shown)
        return known


def run(folder: Path, *schedules: Schedule) -> Callable[[Callable[[Rig], Awaitable[None]]], None]:
    """Let a rig be used, and close its store."""

    def use(check: Callable[[Rig], Awaitable[None]]) -> None:
        async def whole() -> None:
            rig = Rig(folder, *schedules)
            try:
                await check(rig)
            finally:
                await rig.store.close()

        asyncio.run(whole())

    return use


def test_a_slot_is_an_event_with_what_the_schedule_says(tmp_path: Path) -> None:
    async def check(rig: Rig) -> None:
        schedules = await rig.start()
        assert await rig.look(schedules, HOUR_MS) == ["2026-06-01T13:00:00Z"]
        assert rig.events == [
            {
                "id": "schedule:f/hourly:2026-06-01T13:00:00Z",
                "type": "t",
                "source": "schedule:f/hourly",
                "occurredAt": "2026-06-01T13:00:00.000Z",
                "payload": {"a": 1},
            }
        ]
        known = await rig.only(schedules)
        assert (known.flow, known.schedule, known.state, known.problem) == ("f", HOURLY, ScheduleState.READY, None)
        assert known.next_ms == int(datetime(2026, 6, 1, 14, tzinfo=UTC).timestamp()) * 1000
        (last,) = known.last
        assert (last.event_id, last.status) == ("schedule:f/hourly:2026-06-01T13:00:00Z", "nothing")

    run(tmp_path, HOURLY)(check)


def test_the_next_daemon_goes_on_and_tells_the_newest_that_was_missed(tmp_path: Path) -> None:
    async def check(rig: Rig) -> None:
        await rig.start()
        await rig.store.close()
        rig.clock.pass_time(5 * HOUR_MS)
        schedules = await rig.start()
        assert rig.told == ["2026-06-01T17:00:00Z"]
        await rig.store.close()
        rig.clock.pass_time(MINUTE_MS)
        await rig.start()
        assert rig.told == ["2026-06-01T17:00:00Z"]
        del schedules

    run(tmp_path, HOURLY)(check)


def test_a_look_is_made_for_the_next_slot_and_now_and_then_for_the_clock(tmp_path: Path) -> None:
    async def check(rig: Rig) -> None:
        schedules = await rig.start()
        assert schedules.idle_s() == LOOK_S
        rig.clock.pass_time(HOUR_MS - 32_000)
        assert schedules.idle_s() == 2
        rig.packages.gone.add("hourly")
        rig.packages.change()
        await schedules.look()
        assert schedules.idle_s() is None  # nobody has anything to do

    run(tmp_path, HOURLY)(check)


@pytest.mark.parametrize("refusal", [QueueFullError("full"), StorageBusyError("busy")])
def test_what_is_refused_is_told_once_it_is_taken_and_that_is_said(
    refusal: RefusedError, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    async def check(rig: Rig) -> None:
        schedules = await rig.start()
        rig.refusal = refusal
        for _ in range(3):
            rig.clock.pass_time(MINUTE_MS)
            with pytest.raises(type(refusal)):
                await schedules.look()
        work = asyncio.create_task(schedules.work())
        while (known := await rig.only(schedules)).problem is None or refusal.message not in known.problem:
            await asyncio.sleep(0)
        assert known.state is ScheduleState.REFUSED
        assert schedules.idle_s() == 1
        work.cancel()
        rig.refusal = None
        slots = ["2026-06-01T12:01:00Z", "2026-06-01T12:02:00Z", "2026-06-01T12:03:00Z"]
        assert await rig.look(schedules, 0) == slots
        assert (await rig.only(schedules)).state is ScheduleState.READY

    with caplog.at_level(logging.WARNING, "flowd.engine"):
        run(tmp_path, MINUTELY)(check)
    (said,) = [record for record in caplog.records if record.message == "schedules wait"]
    assert said.slots == 3  # type: ignore[attr-defined]
    assert said.slug == refusal.slug  # type: ignore[attr-defined]


def test_of_very_many_refused_slots_the_oldest_are_given_up(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    async def check(rig: Rig) -> None:
        schedules = await rig.start()
        rig.refusal = QueueFullError("full")
        for _ in range(MAX_REFUSED + 2):
            rig.clock.pass_time(MINUTE_MS)
            with pytest.raises(QueueFullError):
                await schedules.look()
        rig.refusal = None
        told = await rig.look(schedules, 0)
        assert (len(told), told[0]) == (MAX_REFUSED, "2026-06-01T12:03:00Z")

    run(tmp_path, MINUTELY)(check)
    assert len([record for record in caplog.records if record.message == "slot given up"]) == 2


def test_what_can_never_be_taken_is_said_and_not_tried_again(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    async def check(rig: Rig) -> None:
        schedules = await rig.start()
        rig.refusal = PayloadTooLargeError("too large")
        assert await rig.look(schedules, MINUTE_MS) == []
        rig.refusal = None
        assert await rig.look(schedules, MINUTE_MS) == ["2026-06-01T12:02:00Z"]

    run(tmp_path, MINUTELY)(check)
    assert [record.message for record in caplog.records] == ["slot not told"]


def test_an_edited_schedule_and_one_that_is_put_back_begin_now(tmp_path: Path) -> None:
    async def check(rig: Rig) -> None:
        schedules = await rig.start()
        rig.clock.pass_time(3 * HOUR_MS)
        rig.packages.schedules["hourly"] = replace(HOURLY, cron="30 * * * *")
        rig.packages.change()
        assert await rig.look(schedules, 0) == []
        assert await rig.look(schedules, HOUR_MS) == ["2026-06-01T15:30:00Z"]
        rig.packages.gone.add("hourly")
        rig.packages.change()
        assert await rig.look(schedules, 5 * HOUR_MS) == []
        rig.packages.gone.clear()
        rig.packages.change()
        assert await rig.look(schedules, 10_000) == []
        assert await rig.look(schedules, HOUR_MS) == ["2026-06-01T21:30:00Z"]

    run(tmp_path, HOURLY)(check)


def test_a_broken_package_that_is_mended_goes_on(tmp_path: Path) -> None:
    async def check(rig: Rig) -> None:
        await rig.start()
        await rig.store.close()
        there = rig.packages.snapshot
        broken = BrokenPackage("/f", "f", Origin.SOURCE, "/f/flow.toml", "bad", "Mend it.")
        rig.packages.snapshot = Snapshot(broken=(broken,))
        schedules = await rig.start()
        assert await rig.look(schedules, 3 * HOUR_MS) == []
        rig.packages.snapshot = there
        assert await rig.look(schedules, 0) == ["2026-06-01T15:00:00Z"]

    run(tmp_path, HOURLY)(check)


def test_a_paused_flow_and_a_stale_one_are_said(tmp_path: Path) -> None:
    async def check(rig: Rig) -> None:
        schedules = await rig.start()
        await rig.store.begin_pause(Paused("f"), Person("socket", 0, "root"), at_ms=1)
        known = await rig.only(schedules)
        assert (known.state, known.problem) == (ScheduleState.PAUSED, "f is paused, so its runs wait")
        assert await rig.look(schedules, HOUR_MS) == ["2026-06-01T13:00:00Z"]
        await rig.store.end_pause(Paused("f"))
        (flow,) = rig.packages.snapshot.flows
        rig.packages.snapshot = Snapshot((replace(flow, stale=True),))
        assert await rig.look(schedules, HOUR_MS) == ["2026-06-01T14:00:00Z"]
        assert (await rig.only(schedules)).state is ScheduleState.STALE

    run(tmp_path, HOURLY)(check)


def test_a_forgotten_event_is_shown_as_such(tmp_path: Path) -> None:
    async def check(rig: Rig) -> None:
        schedules = await rig.start()
        await rig.look(schedules, HOUR_MS)
        await rig.look(schedules, HOUR_MS)
        await forget_before(rig.store, 1 << 50)
        known = await rig.only(schedules)
        assert [last.status for last in known.last] == ["nothing", None]

    run(tmp_path, HOURLY)(check)


def test_ten_thousand_schedules_at_once(tmp_path: Path) -> None:
    many = tuple(Schedule(f"s{number}", f"{number % 60} {number % 24} * * *", "t") for number in range(10_000))

    async def check(rig: Rig) -> None:
        schedules = await rig.start()
        assert await rig.look(schedules, 0) == []
        told = await rig.look(schedules, 24 * HOUR_MS)
        assert len(told) == 10_000
        assert len({event["id"] for event in rig.events}) == 10_000
        shown, next_ = schedules.page("f", limit=500, after=9_800)
        assert (len(await schedules.known(shown)), next_) == (200, None)

    run(tmp_path, *many)(check)


def test_pages_of_schedules_go_by_flows(tmp_path: Path) -> None:
    async def check(rig: Rig) -> None:
        schedules = await rig.start()
        (flow,) = rig.packages.snapshot.flows
        other = Flow("g", 1, "/g", Origin.SOURCE, (), "sha256:1", schedules=(MINUTELY,))
        rig.packages.snapshot = Snapshot((flow, other))
        first, after = schedules.page(None, limit=1, after=0)
        assert ([one.schedule.name for one in first], after) == (["hourly"], 1)
        second, end = schedules.page(None, limit=1, after=1)
        assert ([one.schedule.name for one in second], end) == (["minutely"], None)
        assert schedules.page("g", limit=5, after=0) == ([Owned("g", is_stale=False, schedule=MINUTELY)], None)
        assert schedules.page("none", limit=5, after=0) == ([], None)

    run(tmp_path, HOURLY)(check)
