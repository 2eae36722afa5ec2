"""Keeps what open pages were made of last, so that fifty that show the same cost one."""

import asyncio
from collections import OrderedDict
from collections.abc import Awaitable, Callable, Hashable

_MAX_KEPT = 64
_MAX_BYTES = 1024 * 1024
"""Larger ones are made anew: they are rare, and would be most of the memory."""


class Fragments:
    """The latest of each page, and how much it knows of."""

    def __init__(self, news: Callable[[], int]) -> None:
        """``news()`` grows with whatever pages could show, before they are told to look again."""
        self._news = news
        self._kept: OrderedDict[Hashable, tuple[int, bytes]] = OrderedDict()
        self._making: dict[Hashable, tuple[int, asyncio.Future[bytes]]] = {}

    async def get(self, page: Hashable, mark: int, make: Callable[[], Awaitable[bytes]]) -> bytes:
        """The page. What happened before ``mark`` was told is in it.

        Who asks while it is being made gets that, too. Cancelling this ends nothing that others wait for.
        """
        kept = self._kept.get(page)
        if kept is not None and kept[0] >= mark:
            self._kept.move_to_end(page)
            return kept[1]
        making = self._making.get(page)
        if making is not None and making[0] >= mark:
            return await asyncio.shield(making[1])
        # Read before it is made: news in between make it old, never an old one new.
        known = self._news()
        work = asyncio.ensure_future(make())
        self._making[page] = known, work
        work.add_done_callback(lambda done: self._made(page, known, done))
        return await asyncio.shield(work)

    def _made(self, page: Hashable, known: int, work: "asyncio.Future[bytes]") -> None:
        if self._making.get(page) == (known, work):
            del self._making[page]
        if work.cancelled() or work.exception() is not None or len(work.result()) > _MAX_BYTES:
            return
        if page in self._kept and self._kept[page][0] > known:
            return  # one that was begun later was made sooner
        self._kept[page] = known, work.result()
        self._kept.move_to_end(page)
        if len(self._kept) > _MAX_KEPT:
            self._kept.popitem(last=False)
