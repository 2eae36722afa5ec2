"""A daemon's schedules on a real store, with a clock that is set by hand, beside the plain ones."""

import asyncio
import random
from collections.abc import Callable
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from store_rig import forget_before
from year.plain import DAY_MS, MINUTE_MS, PlainCron, PlainSchedule

from flowd.domain.agenda import SET_BACK_MS
from flowd.domain.errors import QueueFullError, RefusedError
from flowd.domain.flow import Flow, Origin, Snapshot
from flowd.domain.schedule import Schedule
from flowd.domain.slots import Slot
from flowd.domain.stored import NewEvent
from flowd.engine.schedules import Schedules
from flowd.engine.store_clock import StoreClock
from flowd.store.sqlite.store import SqliteStore

HOUR_MS = 60 * MINUTE_MS
BEGIN_MS = int(datetime(2026, 1, 10, 9, 17, 23, tzinfo=UTC).timestamp()) * 1000
_NO_LOOKS_S = 1e9
"""Time passes to the next slot at once; when a clock is set, somebody looks."""

ZONES = (
    "UTC", "Europe/Berlin", "Europe/London", "America/New_York", "America/Sao_Paulo", "America/Santiago",
    "America/Havana", "Africa/Cairo", "Africa/Casablanca", "Asia/Kolkata", "Australia/Lord_Howe", "Pacific/Auckland",
)  # fmt: skip
"""Clocks that are set in spring, autumn, at midnight, by half an hour, never, and for Ramadan."""


class DiedError(Exception):
    """The daemon is gone."""


class Clock:
    """The wall's and the steady one."""

    def __init__(self) -> None:
        self.wall_ms = BEGIN_MS
        self.passed_ms = 0

    def now_ms(self) -> int:
        return self.wall_ms

    def steady_ms(self) -> int:
        return self.passed_ms

    def pass_time(self, ms: int) -> None:
        self.wall_ms += ms
        self.passed_ms += ms


class Packages:
    """One flow, all of whose schedules can be taken away and changed."""

    def __init__(self, schedules: list[Schedule]) -> None:
        self.schedules = {schedule.name: schedule for schedule in schedules}
        self.gone: set[str] = set()
        self.change()

    def change(self) -> None:
        there = tuple(schedule for name, schedule in self.schedules.items() if name not in self.gone)
        self.snapshot = Snapshot((Flow("f", 1, "/f", Origin.SOURCE, (), "sha256:0", schedules=there),))

    async def reload(self) -> Snapshot:
        return self.snapshot


@dataclass
class Counts:
    """What happened."""

    events: int = 0
    restarts: int = 0
    deaths: int = 0
    steps: int = 0
    refusals: int = 0
    prunes: int = 0
    edits: int = 0


def some_cron(chance: random.Random, number: int) -> str:
    """An expression; most come a few times a day or less."""
    minute, hour = chance.randrange(60), chance.randrange(24)
    kinds: list[Callable[[], str]] = [
        lambda: f"{minute} {hour} * * *",
        lambda: f"{minute} {chance.choice((0, 1, 2, 3))} * * *",
        lambda: f"{minute} 0-4 * * {chance.randrange(7)}",
        lambda: f"{minute},{(minute + 20) % 60} 1,2,3 * * 0",
        lambda: f"{minute} {hour} {chance.choice((1, 15, 28, 29, 31))} * *",
        lambda: f"{minute} {hour} 29 2 *",
        lambda: f"{minute} {hour} 13 * 5",
        lambda: f"{minute} {hour} * {chance.randrange(1, 13)} 1-5",
        lambda: f"{minute} {hour} 1 1 *",
        lambda: f"0 */{chance.choice((6, 8, 12))} * * *",
        lambda: "* 2 * 3,4,10,11 0",
    ]
    if number % 40 == 7:
        return f"*/{chance.choice((10, 15, 20))} * * * *"
    return kinds[chance.randrange(len(kinds))]()


def some_schedules(chance: random.Random, count: int) -> list[Schedule]:
    """So many, in all zones."""
    found = []
    for number in range(count):
        zone, cron = ZONES[number % len(ZONES)], some_cron(chance, number)
        if zone == "Australia/Lord_Howe" and "*" in "".join(cron.split()[:2]):
            cron = "15 2 * * *"  # cronsim goes by whole hours there
        found.append(Schedule(f"s{number}", cron, "t", zone, {}, chance.choice(("latest", "none"))))
    return found


class World:
    """Daemons that come and go, and what they should tell."""

    def __init__(self, folder: Path, seed: int, count: int) -> None:
        self.chance = random.Random(seed)
        self.clock = Clock()
        self.path = folder / "flowd.db"
        self.packages = Packages(some_schedules(self.chance, count))
        self.plain = {
            name: PlainSchedule(PlainCron(one.cron, one.timezone), one.catch_up == "latest", BEGIN_MS)
            for name, one in self.packages.schedules.items()
        }
        self.told: dict[str, list[int]] = {name: [] for name in self.plain}
        self.counts = Counts()
        self._refuses_until_ms = 0
        self._dies_in: int | None = None

    # --- the daemon

    async def start(self) -> None:
        """A daemon is there, and has looked."""
        self.store = SqliteStore(self.path, max_queued=1000)
        self.schedules = Schedules(
            store=self.store,
            catalog=self.packages,
            clock=StoreClock(self.clock, None),
            tell=self._tell,
            now_s=lambda: 0.0,
            look_s=_NO_LOOKS_S,
        )
        for plain in self._in_force():
            plain.seen_ms, plain.waiting = None, []
            plain.look(self.clock.wall_ms)
        await self._look()

    async def stop(self) -> None:
        """There is none."""
        await self.store.close()

    async def _tell(self, _: object, /, *, slot: Slot) -> object:
        if self.clock.passed_ms < self._refuses_until_ms:
            raise QueueFullError("full")
        event = NewEvent(slot.event_id, "t", None, None, "", b"{}", b"0")
        accepted = await self.store.accept(event, (), at_ms=self.clock.wall_ms, slot=slot)
        if not accepted.is_duplicate:
            self.told[slot.key.name].append(slot.slot_ms)
            self.counts.events += 1
        if self._dies_in is not None:
            self._dies_in -= 1
            if self._dies_in < 0:
                raise DiedError
        return accepted

    async def _look(self) -> None:
        """What waits is taken, if it is."""
        try:
            await self.schedules.look()
        except RefusedError:
            self.schedules._problem = "full"  # as `work` has it
            return
        except DiedError:
            await self._die()
            return
        for plain in self.plain.values():
            plain.take(plain.waiting)

    async def _die(self) -> None:
        """In the middle of telling: what was accepted counts, and nobody has heard of it."""
        self._dies_in = None
        self.counts.deaths += 1
        await asyncio.sleep(0)
        for name, plain in self.plain.items():
            new = [slot for slot in self.told[name] if not plain.has_told(slot)]
            assert set(new) <= set(plain.waiting), (name, new, plain.waiting)
            plain.take(new)
        await self.stop()
        await self.start()

    def _in_force(self) -> list[PlainSchedule]:
        return [plain for name, plain in self.plain.items() if name not in self.packages.gone]

    # --- time

    async def pass_time(self, ms: int) -> None:
        """Let time pass with a daemon that looks when something comes."""
        until_ms = self.clock.passed_ms + ms
        while (left_ms := until_ms - self.clock.passed_ms) > 0:
            idle_s = self.schedules.idle_s()
            is_refusing = self.clock.passed_ms < self._refuses_until_ms
            idle_ms = 20_000 if is_refusing else left_ms if idle_s is None else max(1, round(idle_s * 1000))
            self.clock.pass_time(min(left_ms, idle_ms))
            for plain in self._in_force():
                plain.live(self.clock.wall_ms)
            await self._look()

    # --- acts

    async def restart(self) -> None:
        """Somebody stops the daemon, for seconds or days."""
        self.counts.restarts += 1
        await self.stop()
        away_ms = self.chance.choice((0, 2_000, 30_000, 60_000, 5 * MINUTE_MS, HOUR_MS, 8 * HOUR_MS, 3 * DAY_MS))
        self.clock.pass_time(round(away_ms * self.chance.random()))
        if self.chance.random() < 0.2:
            self._edit()
        await self.start()

    async def die_soon(self) -> None:
        """The next look at something ends it."""
        self._dies_in = self.chance.randrange(3)

    async def set_clock(self) -> None:
        """The clock is set, and the machine may have slept."""
        self.counts.steps += 1
        far = self.chance.choice((5_000, 20_000, 2 * MINUTE_MS, 20 * MINUTE_MS, 2 * HOUR_MS, DAY_MS))
        by_ms = max(90_000 if far > 20_000 else 1, round(far * self.chance.random()))
        await self._set(self.chance.choice((-1, 1)) * by_ms)

    async def jump_a_year(self) -> None:
        """Ahead or back, and in some hours all is as it was."""
        by_ms = self.chance.choice((-1, 1)) * 365 * DAY_MS
        await self._set(by_ms)
        await self.pass_time(round(self.chance.random() * 5 * HOUR_MS))
        if self.chance.random() < 0.5:
            await self.restart()
        await self._set(-by_ms)

    async def _set(self, by_ms: int) -> None:
        self.clock.wall_ms += by_ms
        now_ms = self.clock.wall_ms
        for plain in self._in_force():
            if by_ms < -SET_BACK_MS:
                plain.seen_ms = None
                plain.waiting = [slot for slot in plain.waiting if slot <= now_ms + SET_BACK_MS]
            plain.look(now_ms)
        await self._look()

    async def refuse(self) -> None:
        """Nobody takes anything for a while."""
        self.counts.refusals += 1
        self._refuses_until_ms = self.clock.passed_ms + round(self.chance.random() * HOUR_MS)

    async def prune(self) -> None:
        """All events are forgotten, but the newest one."""
        self.counts.prunes += 1
        await forget_before(self.store, 1 << 50)

    async def change_packages(self) -> None:
        """A schedule is edited, taken away, or put back."""
        self._edit()
        await self._look()

    def _edit(self) -> None:
        self.counts.edits += 1
        name = self.chance.choice(list(self.plain))
        plain, packages, now_ms = self.plain[name], self.packages, self.clock.wall_ms
        plain.waiting, plain.since_ms, plain.seen_ms = [], now_ms, now_ms
        if name in packages.gone:
            packages.gone.discard(name)
        elif self.chance.random() < 0.5:
            packages.gone.add(name)
        else:
            edited = packages.schedules[name]
            packages.schedules[name] = replace(edited, payload={"edit": self.counts.edits})
        packages.change()

    # --- the play

    async def play(self, days: int) -> None:
        """Let so many days pass, with an act twice a day.

        Raises:
            AssertionError: Something else was told than should have been.
        """
        acts: list[tuple[Callable[[], Any], float]] = [
            (self.restart, 5), (self.die_soon, 3), (self.set_clock, 5), (self.jump_a_year, 0.3), (self.refuse, 1),
            (self.prune, 1), (self.change_packages, 2),
        ]  # fmt: skip
        end_ms = self.clock.passed_ms + days * DAY_MS
        await self.start()
        while self.clock.passed_ms < end_ms:
            await self.pass_time(round(self.chance.expovariate(2 / DAY_MS)))
            (act,) = self.chance.choices([act for act, _ in acts], [weight for _, weight in acts])
            await act()
            self.compare(act.__name__)
        self._refuses_until_ms = 0
        await self._look()
        self.compare("the end")
        await self.stop()

    def compare(self, after: str) -> None:
        """What was told is what should have been, once each."""
        for name, plain in self.plain.items():
            told = sorted(self.told[name])
            if told == plain.told:
                continue
            schedule = self.packages.schedules[name]
            raise AssertionError(
                f"after {after} at {_text(self.clock.wall_ms)}: {name} {schedule.cron!r} {schedule.timezone} "
                f"{schedule.catch_up}: lost {_texts(set(plain.told) - set(told))}, too many "
                f"{_texts(set(told) - set(plain.told))}, twice {_texts({one for one in told if told.count(one) > 1})}"
            )


def _text(at_ms: int) -> str:
    return f"{datetime.fromtimestamp(at_ms / 1000, UTC):%Y-%m-%dT%H:%M:%S}"


def _texts(slots: set[int]) -> str:
    return ", ".join(map(_text, sorted(slots)[:5])) or "none"
