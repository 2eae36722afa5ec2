"""Reads the output of steps that run, or ran, on other hosts of the same store."""

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass, field

from flowd.domain.errors import RefusedError
from flowd.domain.shelf import Kept, Place, ShelfPart
from flowd.ports import OutputShelf

LOOK_EVERY_S = 0.25
_WISH_EVERY_S = 10.0
_FORGET_AFTER_S = 30.0


@dataclass(slots=True)
class _Seen:
    """What was found of an attempt at the last look, and when that was, by the loop's clock."""

    sizes: dict[Kept, int] = field(default_factory=dict)
    looked_s: float = -_FORGET_AFTER_S
    wished_s: float = -_FORGET_AFTER_S
    turn: asyncio.Lock = field(default_factory=asyncio.Lock)


class Elsewhere:
    """The output of attempts that are not under way here. However many read, the store is asked once for them."""

    def __init__(self, shelf: OutputShelf) -> None:
        self._shelf = shelf
        self._seen: dict[tuple[str, int], _Seen] = {}

    async def part(self, place: Place, offset: int, count: int) -> ShelfPart | None:
        """See `flowd.ports.output_shelf.OutputShelf.part`."""
        return await self._shelf.part(place, offset, count)

    async def order(self, run_id: str, number: int) -> bytes:
        """The record of the order between both streams, as far as it is known."""
        found = await self._shelf.part(Place(run_id, number, "order"), 0, 1 << 30)
        return b"" if found is None else found.data

    async def size(self, run_id: str, number: int, stream: Kept) -> int:
        """How far a stream was kept a moment ago; its host is told that somebody wants to know, and hurries.

        Where the store cannot be reached, it is as far as it was.
        """
        now_s = asyncio.get_running_loop().time()
        seen = self._seen.get((run_id, number))
        if seen is None:
            self._forget(now_s)
            seen = self._seen[run_id, number] = _Seen()
        async with seen.turn:
            if now_s - seen.looked_s >= LOOK_EVERY_S:
                await self._look(run_id, number, seen, now_s)
        return seen.sizes.get(stream, 0)

    async def _look(self, run_id: str, number: int, seen: _Seen, now_s: float) -> None:
        seen.looked_s = now_s
        try:
            if now_s - seen.wished_s >= _WISH_EVERY_S:
                seen.wished_s = now_s
                await self._shelf.want(run_id, number)
            seen.sizes = await self._shelf.sizes(run_id, number)
        except RefusedError:
            pass  # who reads the journal is told

    def _forget(self, now_s: float) -> None:
        old: Sequence[tuple[str, int]] = [
            key for key, seen in self._seen.items() if now_s - seen.looked_s > _FORGET_AFTER_S
        ]
        for key in old:
            del self._seen[key]
