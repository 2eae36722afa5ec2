"""Reads the output of attempts: from their files while they run here, else from the store."""

import asyncio
from collections.abc import Callable
from dataclasses import dataclass

from flowd.domain.ids import attempt_id
from flowd.domain.redaction import Redactor
from flowd.domain.shelf import Place, Shared
from flowd.domain.stored import Output
from flowd.engine.elsewhere import LOOK_EVERY_S, Elsewhere
from flowd.engine.outputs import OutputFiles
from flowd.keeper import stream_order
from flowd.ports import Store
from flowd_client.wire import STREAMS, Stream

FOLLOW_INTERVAL_S = 0.05
"""A file's growth wakes nobody; followers look this often."""


@dataclass(frozen=True, slots=True)
class OutputPart:
    """A piece of a stream.

    Attributes:
        data: From ``offset``; may be empty. Secrets in it are masked. Where it begins in a gap, it says so instead.
        size: Of the stream, as far as it is written.
        is_final: The attempt has ended, so the stream grows no more.
        next_offset: Where to read on. Not told by the length of ``data``: a mask has another length than its secret.
        shared: Where it is another host's.
    """

    data: bytes
    offset: int
    size: int
    is_final: bool
    next_offset: int
    shared: Shared | None = None


@dataclass(frozen=True, slots=True)
class _Exact:
    """Bytes as they are stored."""

    data: bytes
    offset: int
    size: int
    is_final: bool
    shared: Shared | None = None


class OutputReader:
    """Parts of streams of attempts."""

    def __init__(
        self,
        store: Store,
        outputs: OutputFiles,
        *,
        redactor: Redactor,
        is_active: Callable[[str, int], bool] = lambda *_: False,
        elsewhere: Elsewhere | None = None,
    ) -> None:
        """``is_active(run_id, number)`` is true while an attempt certainly has not been recorded as ended.
        ``elsewhere`` has the output of other hosts' steps, where there are others."""
        self._store = store
        self._outputs = outputs
        self._redactor = redactor
        self._is_active = is_active
        self._elsewhere = elsewhere

    async def part(self, run_id: str, number: int, stream: Stream, offset: int, count: int) -> OutputPart:
        """About ``count`` bytes from ``offset``. Number 0 stands for the first attempt of a run yet to start."""
        begin, length = self._window(offset, count)
        return self._masked(await self._exact(run_id, number, stream, begin, length), offset, count)

    def _window(self, offset: int, count: int) -> tuple[int, int]:
        """What must be read to know which bytes of a part are of secrets."""
        begin = max(0, offset - self._redactor.longest)
        return begin, offset - begin + count + self._redactor.longest

    def _masked(self, exact: _Exact, offset: int, count: int) -> OutputPart:
        gap = None if exact.shared is None else exact.shared.gap
        if gap is not None:
            # What is beside the gap may be a part of a secret, whose other part cannot be seen.
            begin, end = gap.begin - self._redactor.longest, min(exact.size, gap.end + self._redactor.longest)
            if begin <= offset < end:
                return OutputPart(_told(begin, end), offset, exact.size, exact.is_final, end, exact.shared)
            count = min(count, begin - offset) if offset < begin else count
        here = offset - exact.offset
        before, rest = exact.data[:here], exact.data[here:]
        is_end = exact.is_final and exact.offset + len(exact.data) >= exact.size
        data, taken = self._redactor.part(before, rest[:count], rest[count:], is_end=is_end)
        return OutputPart(data, offset, exact.size, exact.is_final, offset + taken, exact.shared)

    async def _exact(self, run_id: str, number: int, stream: Stream, offset: int, count: int) -> _Exact:
        if number == 0:
            run = await self._store.run(run_id)
            if run is None or run.attempt_count == 0:
                return _Exact(b"", offset, 0, is_final=run is None or run.status.is_final)
            number = 1
        stored = await self._store.output(run_id, number)
        inline = None if stored is None else getattr(stored, stream)
        if inline is not None:
            return _Exact(inline[offset : offset + count], offset, len(inline), is_final=True)
        data, size = self._outputs.read(attempt_id(run_id, number), stream, offset, count)
        if not data and stored is None:
            # It may have ended, and its file gone into the database, since we looked.
            stored = await self._store.output(run_id, number)
            inline = None if stored is None else getattr(stored, stream)
            if inline is not None:
                return _Exact(inline[offset : offset + count], offset, len(inline), is_final=True)
            if stored is not None:  # it stays a file, which may have grown up to its end since we looked
                data, size = self._outputs.read(attempt_id(run_id, number), stream, offset, count)
        if not size and self._elsewhere is not None and not self._is_active(run_id, number):
            return await self._exact_elsewhere(Place(run_id, number, stream), offset, count, stored)
        return _Exact(data, offset, size, is_final=stored is not None)

    async def _exact_elsewhere(self, place: Place, offset: int, count: int, stored: Output | None) -> _Exact:
        assert self._elsewhere is not None
        found = await self._elsewhere.part(place, offset, count)
        if found is None and stored is None:
            # It may have ended, and what was shared of it gone, since we looked.
            stored = await self._store.output(place.run_id, place.number)
            inline = None if stored is None else getattr(stored, place.stream)
            if inline is not None:
                return _Exact(inline[offset : offset + count], offset, len(inline), is_final=True)
            found = await self._elsewhere.part(place, offset, count)
        is_final = stored is not None
        if found is None:
            return _Exact(b"", offset, 0, is_final=is_final)
        written = 0 if stored is None else stored.stdout_bytes if place.stream == "stdout" else stored.stderr_bytes
        shared = Shared(found.at_ms, found.gap, is_whole=is_final and found.size <= written)
        return _Exact(found.data, found.begin, found.size, is_final, shared)

    async def pieces(self, run_id: str, number: int) -> list[tuple[str, int]]:
        """What an attempt has printed: pieces of its streams (name, bytes) in the order in which they were printed."""
        stored = await self._store.output(run_id, number)
        attempt = attempt_id(run_id, number)
        if stored is None and (self._elsewhere is None or any(self._outputs.sizes(attempt))):
            sizes = self._outputs.sizes(attempt)  # first: what is printed meanwhile is of no known order yet
            return stream_order.pieces(self._outputs.order(attempt), sizes)
        if stored is not None and (stored.order is not None or self._elsewhere is None):
            order = self._outputs.order(attempt) if stored.order is None else stored.order
            return stream_order.pieces(order, (stored.stdout_bytes, stored.stderr_bytes))
        return await self._pieces_elsewhere(run_id, number, stored)

    async def _pieces_elsewhere(self, run_id: str, number: int, stored: Output | None) -> list[tuple[str, int]]:
        assert self._elsewhere is not None
        order = self._outputs.order(attempt_id(run_id, number)) or await self._elsewhere.order(run_id, number)
        told = (0, 0) if stored is None else (stored.stdout_bytes, stored.stderr_bytes)
        out, err = [told[i] or await self.live_size(run_id, number, stream) for i, stream in enumerate(STREAMS)]
        return stream_order.pieces(order, (out, err))

    async def turns(self, run_id: str, number: int, stream: Stream, begin: int, end: int) -> list[tuple[int, int]]:
        """Where a part of a stream goes on after something of the other one, see `flowd.keeper.stream_order.turns`."""
        found = await self.pieces(run_id, number)
        return stream_order.turns(found, stream, begin, end)

    async def wait_for_part(
        self,
        run_id: str,
        number: int,
        stream: Stream,
        *,
        offset: int,
        count: int,
        wait_s: float,
        other_offset: int | None = None,
    ) -> OutputPart:
        """As `part`, but waits up to ``wait_s`` while there is nothing to read and the attempt goes on.

        With ``other_offset`` the waiting also ends when the other stream reaches beyond that.
        """
        loop = asyncio.get_running_loop()
        deadline = loop.time() + wait_s
        other: Stream = "stderr" if stream == "stdout" else "stdout"
        while True:
            part = await self.part(run_id, number, stream, offset, count)
            if part.data or part.is_final:
                return part
            while True:
                if loop.time() >= deadline:
                    return part
                if other_offset is not None and await self.live_size(run_id, number or 1, other) > other_offset:
                    return part
                is_active = self._is_active(run_id, number)
                is_far = self._elsewhere is not None and not is_active
                await asyncio.sleep(LOOK_EVERY_S if is_far else FOLLOW_INTERVAL_S)
                if await self.live_size(run_id, number or 1, stream) > offset or not is_active:
                    break  # only now is it worth asking the store

    async def live_size(self, run_id: str, number: int, stream: Stream) -> int:
        """Bytes in the file of a running attempt's stream, or that are known here of another host's; 0 where there are
        none (any more)."""
        size = self._outputs.stream_size(attempt_id(run_id, number), stream)
        if size or self._elsewhere is None or self._is_active(run_id, number):
            return size
        return await self._elsewhere.size(run_id, number, stream)

    async def live_part(self, run_id: str, number: int, stream: Stream, offset: int, count: int) -> OutputPart:
        """What there is of a running attempt from ``offset``; nothing where there is no file (any more)."""
        size = await self.live_size(run_id, number, stream)
        if size <= offset:
            return OutputPart(b"", offset, size, is_final=False, next_offset=offset)
        if self._elsewhere is not None and not self._is_active(run_id, number):
            return await self.part(run_id, number, stream, offset, count)
        begin, length = self._window(offset, count)
        data, size = self._outputs.read(attempt_id(run_id, number), stream, begin, length)
        return self._masked(_Exact(data, begin, size, is_final=False), offset, count)


def _told(begin: int, end: int) -> bytes:
    """What stands for bytes that cannot be read here."""
    return f"\n[flowd: {end - begin} bytes, from {begin} on, are on the host that ran this alone]\n".encode()
