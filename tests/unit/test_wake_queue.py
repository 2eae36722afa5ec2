"""Waking many sleepers: all of them, once, and not all at the same time."""

import asyncio
from collections.abc import Awaitable, Callable

from flowd.engine.wake_queue import WakeQueue


class Sleeper:
    def __init__(self, bell: WakeQueue) -> None:
        self._bell = bell
        self.heard = bell.rings
        self.wakes = 0

    async def sleep_and_wake(self) -> None:
        while True:
            await self._bell.wait(self.heard, None)
            self.heard = self._bell.rings
            self.wakes += 1


def sleeping(count: int, scenario: Callable[[WakeQueue, list[Sleeper]], Awaitable[None]]) -> None:
    async def run() -> None:
        bell = WakeQueue()
        sleepers = [Sleeper(bell) for _ in range(count)]
        tasks = [asyncio.create_task(sleeper.sleep_and_wake()) for sleeper in sleepers]
        await asyncio.sleep(0)
        async with asyncio.timeout(60):
            await scenario(bell, sleepers)
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    asyncio.run(run())


async def until(condition: Callable[[], bool]) -> None:
    while not condition():
        await asyncio.sleep(0)


def test_of_many_sleepers_a_few_wake_at_once_and_all_in_the_end_once_each() -> None:
    async def scenario(bell: WakeQueue, sleepers: list[Sleeper]) -> None:
        bell.ring()
        for _ in range(3):
            await asyncio.sleep(0)  # what others do in the loop meanwhile
        assert 0 < sum(sleeper.wakes for sleeper in sleepers) < 50
        await until(lambda: all(sleeper.wakes for sleeper in sleepers))
        for _ in range(1000):
            await asyncio.sleep(0)
        assert {sleeper.wakes for sleeper in sleepers} == {1}

    sleeping(500, scenario)


def test_a_ring_while_others_are_being_woken_is_heard_by_all() -> None:
    async def scenario(bell: WakeQueue, sleepers: list[Sleeper]) -> None:
        bell.ring()
        await asyncio.sleep(0)
        early = [sleeper for sleeper in sleepers if sleeper.wakes]
        bell.ring()
        await until(lambda: all(sleeper.heard == 2 for sleeper in sleepers))
        assert early
        assert {sleeper.wakes for sleeper in early} == {2}
        assert sleepers[-1].wakes == 1

    sleeping(100, scenario)


def test_what_was_rung_before_the_wait_or_never_keeps_nobody() -> None:
    async def scenario(bell: WakeQueue, _: list[Sleeper]) -> None:
        heard = bell.rings
        bell.ring()
        await bell.wait(heard, None)
        await bell.wait(bell.rings, 0.01)

    sleeping(0, scenario)


def test_a_sleeper_that_was_cancelled_is_passed_over() -> None:
    async def scenario(bell: WakeQueue, sleepers: list[Sleeper]) -> None:
        gone = [asyncio.create_task(bell.wait(bell.rings, None)) for _ in range(40)]
        await asyncio.sleep(0)
        bell.ring()
        for task in gone:
            task.cancel()
        await until(lambda: all(sleeper.wakes for sleeper in sleepers))
        late = Sleeper(bell)
        task = asyncio.create_task(late.sleep_and_wake())
        await asyncio.sleep(0)
        bell.ring()
        await until(lambda: late.wakes == 1)
        task.cancel()

    sleeping(20, scenario)
