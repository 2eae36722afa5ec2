"""Puts what a step has written on both streams since the last look into the order in which it wrote it."""

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable
from dataclasses import replace

from flowd.engine.tails import OutputChunk
from flowd.engine.updates import Update

Turns = Callable[[OutputChunk], Awaitable[list[tuple[int, int]]]]
"""Where a chunk of stdout goes on after something of stderr, see `flowd.keeper.stream_order.turns`."""

_HELD_S = 0.005
"""A look at both streams takes less."""


async def in_order(updates: AsyncIterator[Update], turns: Turns) -> AsyncGenerator[Update, None]:
    """The same updates, but chunks of both streams of an attempt that come one after the other are in their order.

    Those with masks in them, whose bytes have other places than the stream's, stay as they are. Cancelling this cancels
    the wait for the next update.
    """
    held: Update | None = None
    coming: asyncio.Future[Update] | None = None
    try:
        while True:
            coming = coming or asyncio.ensure_future(_next(updates))
            await asyncio.wait({coming}, timeout=None if held is None else _HELD_S)
            if not coming.done():
                assert held is not None
                yield held
                held = None
                continue
            try:
                update = coming.result()
            except StopAsyncIteration:
                if held is not None:
                    yield held
                return
            coming = None
            if held is not None and _follows(held.chunk, update.chunk):
                assert held.chunk is not None
                assert update.chunk is not None
                for chunk in merged(held.chunk, update.chunk, await turns(held.chunk)):
                    yield replace(update, chunk=chunk)
                held = None
                continue
            if held is not None:
                yield held
            held = update if update.chunk is not None and update.chunk.stream == "stdout" else None
            if held is None:
                yield update
    finally:
        if coming is not None:
            coming.cancel()
            await asyncio.gather(coming, return_exceptions=True)


async def _next(updates: AsyncIterator[Update]) -> Update:
    return await anext(updates)


def _follows(out: OutputChunk | None, chunk: OutputChunk | None) -> bool:
    """Whether the second is of the other stream of the same attempt, and both are exact."""
    if out is None or chunk is None or chunk.stream == out.stream:
        return False
    return (out.run_id, out.attempt) == (chunk.run_id, chunk.attempt) and _is_exact(out) and _is_exact(chunk)


def _is_exact(chunk: OutputChunk) -> bool:
    return len(chunk.data) == chunk.next_offset - chunk.offset


def merged(out: OutputChunk, err: OutputChunk, turns: list[tuple[int, int]]) -> list[OutputChunk]:
    r"""Pieces of both in their order, less those without data.

    >>> out = OutputChunk("run_1", 1, "stdout", 0, b"one\nthree\n", 10)
    >>> err = OutputChunk("run_1", 1, "stderr", 0, b"two\nfour\n", 9)
    >>> [chunk.data for chunk in merged(out, err, [(0, 0), (4, 4)])]
    [b'one\n', b'two\n', b'three\n', b'four\n']
    """
    found: list[OutputChunk] = []
    told = err.offset
    places = turns or [(out.offset, 0)]
    for (begin, other), end in zip(places, [*(own for own, _ in places[1:]), out.next_offset], strict=True):
        if other > told:
            found.append(_part(err, told, other))
            told = min(max(told, other), err.next_offset)
        found.append(_part(out, begin, end))
    found.append(_part(err, told, err.next_offset))
    return [chunk for chunk in found if chunk.data]


def _part(chunk: OutputChunk, begin: int, end: int) -> OutputChunk:
    begin, end = max(begin, chunk.offset), min(end, chunk.next_offset)
    data = chunk.data[begin - chunk.offset : max(begin, end) - chunk.offset]
    return replace(chunk, offset=begin, data=data, next_offset=begin + len(data))
