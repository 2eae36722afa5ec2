"""Signals of the daemon."""

import asyncio
import os
import signal
from collections.abc import Iterator

import pytest

from flowd.daemon import signals


@pytest.fixture(autouse=True)
def _as_before() -> Iterator[None]:
    before = signal.getsignal(signal.SIGUSR1)
    yield
    signal.signal(signal.SIGUSR1, before)


def test_a_signal_is_not_lost_where_a_busy_loop_was_woken_a_thousand_times() -> None:
    async def told() -> list[int]:
        loop, heard, is_told = asyncio.get_running_loop(), [], asyncio.Event()

        def hear(number: int) -> None:
            heard.append(number)
            is_told.set()

        signals.call_at(signal.SIGUSR1, hear, 7)
        for _ in range(1000):
            loop.call_soon_threadsafe(lambda: None)
        os.kill(os.getpid(), signal.SIGUSR1)
        await asyncio.wait_for(is_told.wait(), 30)
        is_told.clear()
        os.kill(os.getpid(), signal.SIGUSR1)
        await asyncio.wait_for(is_told.wait(), 30)
        return heard

    assert asyncio.run(told()) == [7, 7]
