"""``GET /ui/changes``: tells open pages that something has happened, at most once a second, and nothing more.

A page then asks for itself anew. What that costs, an accept must not pay: so all pages hear the same number, the mark,
at the same time, and what one of them has had made since serves the others (`flowd.page.fragments`).
"""

import asyncio
import secrets
from collections.abc import AsyncIterator, Callable

from flowd.api import json
from flowd.api.http.stream import HEARTBEAT_S
from flowd.engine.feed import Feed

_PAUSE_S = 1.0
"""Between two marks."""

_RETRY_MS = 1000


class Changes:
    """What pages hear of."""

    def __init__(self, feed: Feed, *, version: str) -> None:
        """``version`` is the script's."""
        self._feed = feed
        self._name = secrets.token_hex(4)
        self._hello = {"version": version, "daemon": self._name}
        self._mark = -1
        self._next_at_s = 0.0

    @property
    def known(self) -> str:
        """This daemon's name, which no other one has, and what there is to know by now."""
        return f"{self._name}:{self._feed.rings}"

    def wake(self) -> None:
        """Let every reader look whether it is still let in."""
        self._feed.ring()

    async def messages(self, is_let_in: Callable[[], bool]) -> AsyncIterator[bytes]:
        """Server-sent events for as long as the reader is let in: one at once, and then one for each mark."""
        yield b"retry: %d\nevent: hello\ndata: %b\n\n" % (_RETRY_MS, json.encode(self._hello))
        told = -1
        while is_let_in():
            heard = self._feed.rings  # before the mark is made, so that nothing falls between that and the sleep
            mark = self._marked()
            if mark != told:
                told = mark
                yield b"event: mark\ndata: %d\n\n" % mark
            if mark != self._feed.rings:
                await asyncio.sleep(self._next_at_s - asyncio.get_running_loop().time())
                continue
            await self._feed.advanced(heard, within_s=HEARTBEAT_S)
            if heard == self._feed.rings:
                yield b": \n\n"  # keeps proxies from hanging up, and finds readers that are gone

    def _marked(self) -> int:
        """The mark in force; made anew where the last one is a second old."""
        now_s = asyncio.get_running_loop().time()
        if now_s >= self._next_at_s and self._feed.rings != self._mark:
            self._mark = self._feed.rings
            self._next_at_s = now_s + _PAUSE_S
        return self._mark
