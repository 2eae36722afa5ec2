"""What open pages were made of last."""

import asyncio
from collections.abc import Awaitable, Callable

import pytest

from flowd.page.fragments import Fragments


class Maker:
    """Counts what it makes, and makes it when it is let."""

    def __init__(self) -> None:
        self.made = 0
        self.may_end = asyncio.Event()

    async def __call__(self) -> bytes:
        self.made += 1
        number = self.made
        await self.may_end.wait()
        return b"%d" % number


def run(play: Callable[[], Awaitable[None]]) -> None:
    asyncio.run(play())  # type: ignore[arg-type]


def test_many_pages_that_heard_of_one_mark_cost_one_making() -> None:
    async def play() -> None:
        make = Maker()
        fragments = Fragments(lambda: 7)
        asked = [asyncio.ensure_future(fragments.get("page", 7, make)) for _ in range(50)]
        await asyncio.sleep(0)
        make.may_end.set()
        assert set(await asyncio.gather(*asked)) == {b"1"}
        assert await fragments.get("page", 6, make) == b"1"
        assert await fragments.get("other", 7, make) == b"2"

    run(play)


def test_what_was_committed_before_a_mark_is_in_the_page() -> None:
    async def play() -> None:
        commits = [1]
        make = Maker()
        fragments = Fragments(lambda: commits[0])
        older = asyncio.ensure_future(fragments.get("page", 1, make))
        await asyncio.sleep(0)
        commits[0] = 2  # while it is made
        newer = asyncio.ensure_future(fragments.get("page", 2, make))
        await asyncio.sleep(0)
        make.may_end.set()
        assert (await older, await newer) == (b"1", b"2")
        assert await fragments.get("page", 2, make) == b"2"

    run(play)


def test_a_making_that_failed_is_not_kept() -> None:
    async def fail() -> bytes:
        raise ValueError

    async def play() -> None:
        make = Maker()
        make.may_end.set()
        fragments = Fragments(lambda: 1)
        with pytest.raises(ValueError):
            await fragments.get("page", 1, fail)
        assert await fragments.get("page", 1, make) == b"1"

    run(play)


def test_a_reader_who_hangs_up_takes_nothing_from_the_others() -> None:
    async def play() -> None:
        make = Maker()
        fragments = Fragments(lambda: 1)
        first, second = (asyncio.ensure_future(fragments.get("page", 1, make)) for _ in range(2))
        await asyncio.sleep(0)
        first.cancel()
        await asyncio.gather(first, return_exceptions=True)
        make.may_end.set()
        assert await second == b"1"

    run(play)
