"""Delays, instants and times in the queue of hosts whose clocks differ: all of them go by the database's."""

import asyncio
import time
from collections.abc import Awaitable, Callable
from contextlib import AsyncExitStack
from pathlib import Path

import postgres_rig
import pytest
from store_rig import DONE, FAILED, STEP, ids, new_event

from flowd.domain.exit import Exit
from flowd.domain.hosts import HostSession
from flowd.domain.queueing import Claim, Claimed, NewRun
from flowd.domain.run import Reason, Run
from flowd.domain.stored import Output
from flowd.domain.timing import Timing, WantedQuiet
from flowd.domain.waiting import TimeWait
from flowd.wiring.clock import SystemClock

pytest.importorskip("psycopg")

from flowd.store.postgres.address import Address
from flowd.store.postgres.connection import PostgresWriter
from flowd.store.postgres.shared import SharedStore

MINUTE_MS = 60_000
AHEAD, BEHIND = 10 * MINUTE_MS, -10 * MINUTE_MS


class WrongClock(SystemClock):
    """A host's clocks that are wrong by so much."""

    def __init__(self, off_ms: int) -> None:
        super().__init__()
        self.off_ms = off_ms

    def now_ms(self) -> int:
        return super().now_ms() + self.off_ms

    def steady_ms(self) -> int:
        return super().steady_ms() + self.off_ms


class Host:
    """A host of the store."""

    def __init__(self, store: SharedStore, session: HostSession, clock: WrongClock) -> None:
        self.store, self.session, self.clock = store, session, clock

    async def accept(self, name: str, timing: Timing | None, event: str | None = None) -> Run:
        runs = [NewRun(name, STEP, timing=timing)]
        return (await self.store.accept(new_event(event or name), runs, at_ms=self.clock.now_ms())).runs[0]

    async def claim(self, limit: int = 9) -> Claimed:
        clock = self.clock
        ask = Claim(limit, "keeper", "boot", lambda *_: STEP, clock.now_ms(), clock.steady_ms(), host=self.session)
        return await self.store.claim(ask)

    async def claim_until(self, *run_ids: str) -> Claimed:
        """Claim again and again until these have started, in this order."""
        while True:
            claimed = await self.claim()
            if claimed.started:
                assert ids(claimed) == list(run_ids)
                return claimed
            await asyncio.sleep(0.01)


def use(folder: Path, scenario: Callable[[Host, Host], Awaitable[None]]) -> None:
    """With a host whose clock is ahead, and one whose clock is behind."""

    async def run() -> None:
        url = postgres_rig.DATABASE.address(folder)
        async with AsyncExitStack() as stack, asyncio.timeout(60):
            hosts = []
            for name, off_ms in (("early", AHEAD), ("late", BEHIND)):
                clock, session = WrongClock(off_ms), HostSession(name, f"id-{name}", f"session-{name}", "1")
                store = SharedStore(Address(url, url, "flowd"), host=session, max_queued=99, clock=clock)
                stack.push_async_callback(store.close)
                await store.register()
                await store.note_abilities([("flow", "step")])
                hosts.append(Host(store, session, clock))
            await scenario(*hosts)

    asyncio.run(run())


def near(ms: float | None, wanted_ms: float) -> bool:
    """Within a minute: the machine may be slow, and the clocks are ten minutes apart."""
    return ms is not None and abs(ms - wanted_ms) < MINUTE_MS


def test_a_delay_is_over_on_every_host_at_once(tmp_path: Path) -> None:
    async def test(early: Host, late: Host) -> None:
        run = await late.accept("long", Timing(delay_ms=5 * MINUTE_MS))
        assert isinstance(run.waiting_for, TimeWait)
        assert near(run.waiting_for.until_ms, time.time() * 1000 + 5 * MINUTE_MS)
        for host in (early, late):
            claimed = await host.claim()
            assert claimed.started == ()
            assert near(claimed.next_due_ms, host.clock.steady_ms() + 5 * MINUTE_MS)
            startable = await host.store.startable()
            assert near(startable.due_in_ms, 5 * MINUTE_MS)
        await early.accept("short", Timing(delay_ms=1))
        await late.claim_until("short")

    use(tmp_path, test)


def test_a_retry_is_over_on_every_host_at_once(tmp_path: Path) -> None:
    async def test(early: Host, late: Host) -> None:
        for host, other in ((early, late), (late, early)):
            name = host.session.name
            await host.accept(name, None)
            (started,) = (await host.claim(1)).started
            wait = TimeWait(host.clock.steady_ms() + 5, 5, "retry", 3)
            await host.store.finish(started.attempt, FAILED, Exit(1), Output(), at_ms=host.clock.now_ms(), wait=wait)
            (again,) = (await other.claim_until(name)).started
            await other.store.finish(again.attempt, DONE, Exit(0), Output(), at_ms=other.clock.now_ms())

    use(tmp_path, test)


def test_an_instant_is_the_databases(tmp_path: Path) -> None:
    async def test(early: Host, late: Host) -> None:
        now_ms = time.time_ns() // 1_000_000
        await early.accept("later", Timing(not_before_ms=now_ms + 5 * MINUTE_MS))
        assert (await early.claim()).started == (), "by its own clock it is time"
        await late.accept("over", Timing(not_before_ms=now_ms - MINUTE_MS))
        await late.claim_until("over")

    use(tmp_path, test)


def test_the_time_in_the_queue_is_the_databases(tmp_path: Path) -> None:
    async def test(early: Host, late: Host) -> None:
        await late.accept("patient", Timing(queue_timeout_ms=5 * MINUTE_MS))
        assert near((await early.claim(0)).next_due_ms, early.clock.steady_ms() + 5 * MINUTE_MS)
        await early.accept("hasty", Timing(queue_timeout_ms=1))
        while (hasty := await late.store.run("hasty")) is not None and hasty.reason is not Reason.QUEUE_TIMEOUT:
            await late.claim(0)
        assert ids(await late.claim()) == ["patient"]

    use(tmp_path, test)


def test_events_of_one_burst_may_come_to_different_hosts(tmp_path: Path) -> None:
    async def test(early: Host, late: Host) -> None:
        quiet = Timing(quiet=WantedQuiet("[]", 5 * MINUTE_MS))
        await early.accept("a", quiet)
        run = await late.accept("b", quiet)
        assert isinstance(run.waiting_for, TimeWait)
        assert near(run.waiting_for.until_ms, time.time() * 1000 + 5 * MINUTE_MS)
        superseded = await early.store.run("a")
        assert superseded is not None
        assert superseded.reason is Reason.SUPERSEDED

    use(tmp_path, test)


def test_a_database_whose_clock_is_set_back_makes_no_delay_longer(tmp_path: Path) -> None:
    back_ms = 365 * 24 * 60 * MINUTE_MS

    async def test(early: Host, late: Host) -> None:
        await early.accept("a", Timing(delay_ms=50))
        later = "UPDATE runs SET not_before_ms = not_before_ms + ?"
        await early.store._writer.do(lambda db: db.execute(later, (back_ms,)))
        await late.claim(0)  # it has seen the clock
        writer = late.store._writer.connection
        assert isinstance(writer, PostgresWriter)
        assert writer.ahead_ms is not None
        writer.ahead_ms += back_ms  # as that was before
        await late.claim_until("a")

    use(tmp_path, test)
