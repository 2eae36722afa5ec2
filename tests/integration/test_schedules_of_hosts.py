"""Schedules of hosts that share a store: all tell, and a slot counts once, by the store's clock."""

import asyncio
from collections.abc import Awaitable, Callable
from contextlib import AsyncExitStack
from dataclasses import replace
from datetime import UTC, datetime
from itertools import count
from pathlib import Path
from typing import Any

import postgres_rig
import pytest
from store_rig import forget_before
from year.world import Clock, Packages

from flowd.domain.errors import SlotEarlyError
from flowd.domain.hosts import HostSession
from flowd.domain.schedule import Schedule
from flowd.domain.slots import Slot
from flowd.domain.stored import NewEvent
from flowd.engine.schedules import Schedules
from flowd.engine.store_clock import StoreClock

pytest.importorskip("psycopg")

from flowd.store.postgres.address import Address
from flowd.store.postgres.shared import SharedStore

MINUTE_MS = 60_000
HOUR_MS = 60 * MINUTE_MS
BEGIN_MS = int(datetime(2026, 6, 1, 12, 0, 30, tzinfo=UTC).timestamp()) * 1000
HOURLY = Schedule("hourly", "0 * * * *", "t")
_numbers = count(1)


def execute(statement: str) -> list[Any]:
    """Do something behind the hosts' backs."""
    return postgres_rig.server().execute("SET search_path = flowd", statement, database="test")


class Host:
    """A host, whose wall clock is off by so much."""

    def __init__(self, world: "World", store: SharedStore, schedule: Schedule, off_ms: int) -> None:
        self.world, self.store, self.off_ms = world, store, off_ms
        self.clock = Clock()
        self.packages = Packages([schedule])
        self.told: list[str] = []
        self.start()

    def start(self) -> None:
        """Another daemon."""
        self.schedules = Schedules(
            store=self.store,
            catalog=self.packages,
            clock=StoreClock(self.clock, self.store.now_ms),
            tell=self.tell,
            now_s=lambda: 0.0,
        )

    async def tell(self, _: object, /, *, slot: Slot) -> object:
        event = NewEvent(slot.event_id, "t", None, None, "", b"{}", b"0")
        accepted = await self.store.accept(event, (), at_ms=self.clock.wall_ms, slot=slot)
        if not accepted.is_duplicate:
            self.told.append(slot.event_id[-20:-4])
        return accepted

    async def look(self) -> None:
        self.clock.wall_ms = self.world.now_ms + self.off_ms
        self.clock.passed_ms = self.world.now_ms - BEGIN_MS
        await self.schedules.look()


class World:
    """A server whose clock is set by hand, and hosts of it."""

    def __init__(self, stack: AsyncExitStack, folder: Path) -> None:
        self._stack = stack
        self.url = postgres_rig.DATABASE.address(folder)
        self.hosts: list[Host] = []
        # The database is used again by tests that want the server's own clock.
        ((own_clock,),) = execute("SELECT pg_get_functiondef('server_ms'::regproc)")
        stack.callback(lambda: execute(own_clock))
        self.set_clock(BEGIN_MS)

    def set_clock(self, now_ms: int) -> None:
        self.now_ms = now_ms
        made = f"CREATE OR REPLACE FUNCTION server_ms() RETURNS BIGINT LANGUAGE sql AS $$ SELECT {now_ms}::bigint $$"
        execute(made)

    async def host(self, name: str, schedule: Schedule = HOURLY, *, off_ms: int = 0) -> Host:
        session = HostSession(name, name, f"session-{next(_numbers)}", "1.0", ())
        store = SharedStore(Address(self.url, self.url, "flowd"), host=session, max_queued=1000)
        self._stack.push_async_callback(store.close)
        await store.register()
        host = Host(self, store, schedule, off_ms)
        self.hosts.append(host)
        await host.look()
        return host

    async def pass_time(self, ms: int) -> None:
        """All look at once."""
        self.set_clock(self.now_ms + ms)
        await asyncio.gather(*(host.look() for host in self.hosts))

    @property
    def told(self) -> list[str]:
        return sorted(slot for host in self.hosts for slot in host.told)


def use(folder: Path, scenario: Callable[[World], Awaitable[None]]) -> None:
    async def run() -> None:
        async with AsyncExitStack() as stack, asyncio.timeout(120):
            await scenario(World(stack, folder))

    asyncio.run(run())


def test_a_slot_that_all_tell_counts_once_by_the_clock_of_the_store(tmp_path: Path) -> None:
    async def test(world: World) -> None:
        anna = await world.host("anna")
        await world.host("bert", off_ms=-20 * MINUTE_MS)
        await world.host("carl", off_ms=50 * MINUTE_MS)
        await world.pass_time(20 * MINUTE_MS)
        assert world.told == []
        await world.pass_time(40 * MINUTE_MS)
        assert world.told == ["2026-06-01T13:00"]
        await forget_before(anna.store, 1 << 50)
        await world.pass_time(0)
        for host in world.hosts:
            host.start()
            await host.look()
        assert world.told == ["2026-06-01T13:00"]

    use(tmp_path, test)


def test_each_tells_the_slots_of_its_own_version_and_those_of_both_count_once(tmp_path: Path) -> None:
    async def test(world: World) -> None:
        await world.host("anna")
        await world.host("bert", replace(HOURLY, cron="0,30 * * * *"))
        await world.pass_time(30 * MINUTE_MS)
        await world.pass_time(30 * MINUTE_MS)
        assert world.told == ["2026-06-01T12:30", "2026-06-01T13:00"]

    use(tmp_path, test)


def test_a_host_that_comes_later_or_lost_its_package_takes_nothing_from_the_others(tmp_path: Path) -> None:
    async def test(world: World) -> None:
        anna = await world.host("anna")
        world.set_clock(world.now_ms + 3 * HOUR_MS)
        bert = await world.host("bert")
        bert.packages.gone.add("hourly")
        bert.packages.change()
        await bert.look()
        assert bert.told == []
        await anna.look()
        assert anna.told == ["2026-06-01T15:00"]

    use(tmp_path, test)


def test_a_slot_that_has_not_come_is_told_when_it_has(tmp_path: Path) -> None:
    async def test(world: World) -> None:
        anna = await world.host("anna")
        world.set_clock(BEGIN_MS + 30 * MINUTE_MS)
        anna.clock.wall_ms = BEGIN_MS + HOUR_MS  # was set since it has asked for the store's clock
        anna.schedules._clock._asked_at_ms, anna.schedules._clock._apart_ms = 0, anna.clock.wall_ms
        with pytest.raises(SlotEarlyError):
            await anna.schedules.look()
        assert anna.told == []
        await world.pass_time(30 * MINUTE_MS)
        assert anna.told == ["2026-06-01T13:00"]

    use(tmp_path, test)
