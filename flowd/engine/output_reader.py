"""Reads the output of attempts: from their files while they run, from the store once they have ended."""

import asyncio
from collections.abc import Callable
from dataclasses import dataclass

from flowd.domain.ids import attempt_id
from flowd.domain.redaction import Redactor
from flowd.engine.outputs import OutputFiles
from flowd.keeper import stream_order
from flowd.ports import Store
from flowd_client.wire import Stream

FOLLOW_INTERVAL_S = 0.05
"""A file's growth wakes nobody; followers look this often."""


@dataclass(frozen=True, slots=True)
class OutputPart:
    """A piece of a stream.

    Attributes:
        data: From ``offset``; may be empty. Secrets in it are masked.
        size: Of the stream, as far as it is written.
        is_final: The attempt has ended, so the stream grows no more.
        next_offset: Where to read on. Not told by the length of ``data``: a mask has another length than its secret.
    """

    data: bytes
    offset: int
    size: int
    is_final: bool
    next_offset: int


@dataclass(frozen=True, slots=True)
class _Exact:
    """Bytes as they are stored."""

    data: bytes
    offset: int
    size: int
    is_final: bool


class OutputReader:
    """Parts of streams of attempts."""

    def __init__(
        self,
        store: Store,
        outputs: OutputFiles,
        *,
        redactor: Redactor,
        is_active: Callable[[str, int], bool] = lambda *_: False,
    ) -> None:
        """``is_active(run_id, number)`` is true while an attempt certainly has not been recorded as ended."""
        self._store = store
        self._outputs = outputs
        self._redactor = redactor
        self._is_active = is_active

    async def part(self, run_id: str, number: int, stream: Stream, offset: int, count: int) -> OutputPart:
        """About ``count`` bytes from ``offset``. Number 0 stands for the first attempt of a run yet to start."""
        begin, length = self._window(offset, count)
        return self._masked(await self._exact(run_id, number, stream, begin, length), offset, count)

    def _window(self, offset: int, count: int) -> tuple[int, int]:
        """What must be read to know which bytes of a part are of secrets."""
        begin = max(0, offset - self._redactor.longest)
        return begin, offset - begin + count + self._redactor.longest

    def _masked(self, exact: _Exact, offset: int, count: int) -> OutputPart:
        here = offset - exact.offset
        before, rest = exact.data[:here], exact.data[here:]
        is_end = exact.is_final and exact.offset + len(exact.data) >= exact.size
        data, taken = self._redactor.part(before, rest[:count], rest[count:], is_end=is_end)
        return OutputPart(data, offset, exact.size, exact.is_final, offset + taken)

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
        return _Exact(data, offset, size, is_final=stored is not None)

    async def pieces(self, run_id: str, number: int) -> list[tuple[str, int]]:
        """What an attempt has printed: pieces of its streams (name, bytes) in the order in which they were printed."""
        stored = await self._store.output(run_id, number)
        attempt = attempt_id(run_id, number)
        if stored is None:
            return stream_order.pieces(self._outputs.order(attempt), self._outputs.sizes(attempt))
        order = self._outputs.order(attempt) if stored.order is None else stored.order
        return stream_order.pieces(order, (stored.stdout_bytes, stored.stderr_bytes))

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
                if other_offset is not None and self.live_size(run_id, number or 1, other) > other_offset:
                    return part
                await asyncio.sleep(FOLLOW_INTERVAL_S)
                if self.live_size(run_id, number or 1, stream) > offset or not self._is_active(run_id, number):
                    break  # only now is it worth asking the store

    def live_size(self, run_id: str, number: int, stream: Stream) -> int:
        """Bytes in the file of a running attempt's stream; 0 where there is no file (any more)."""
        return self._outputs.stream_size(attempt_id(run_id, number), stream)

    def live_part(self, run_id: str, number: int, stream: Stream, offset: int, count: int) -> OutputPart:
        """What a running attempt's file has from ``offset``; nothing where there is no file (any more)."""
        size = self.live_size(run_id, number, stream)
        if size <= offset:
            return OutputPart(b"", offset, size, is_final=False, next_offset=offset)
        begin, length = self._window(offset, count)
        data, size = self._outputs.read(attempt_id(run_id, number), stream, begin, length)
        return self._masked(_Exact(data, begin, size, is_final=False), offset, count)
