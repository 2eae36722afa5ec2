"""Reading what attempts print, wherever it is by now: in their files while they run, in the store when they ended."""

import asyncio
from collections.abc import Callable
from dataclasses import dataclass

from flowd.domain.ids import attempt_id
from flowd.engine.outputs import OutputFiles, Stream
from flowd.ports import Store

FOLLOW_INTERVAL_S = 0.05
"""A file's growth wakes nobody; followers look this often."""


@dataclass(frozen=True, slots=True)
class OutputPart:
    """A piece of a stream.

    Attributes:
        data: From ``offset``; may be empty.
        size: Of the stream, as far as it is written.
        is_final: The attempt has ended, so the stream grows no more.
    """

    data: bytes
    offset: int
    size: int
    is_final: bool


class OutputReader:
    """Parts of streams of attempts."""

    def __init__(
        self, store: Store, outputs: OutputFiles, *, is_supervised: Callable[[str, int], bool] = lambda *_: False
    ) -> None:
        """``is_supervised(run_id, number)`` is true while an attempt certainly has not been recorded as ended."""
        self._store = store
        self._outputs = outputs
        self._is_supervised = is_supervised

    async def part(self, run_id: str, number: int, stream: Stream, offset: int, count: int) -> OutputPart:
        """Up to ``count`` bytes from ``offset``. Number 0 stands for the first attempt of a run yet to start."""
        if number == 0:
            run = await self._store.run(run_id)
            if run is None or run.attempt_count == 0:
                return OutputPart(b"", offset, 0, is_final=run is None or run.status.is_final)
            number = 1
        stored = await self._store.output(run_id, number)
        inline = None if stored is None else getattr(stored, stream)
        if inline is not None:
            return OutputPart(inline[offset : offset + count], offset, len(inline), is_final=True)
        data, size = self._outputs.read(attempt_id(run_id, number), stream, offset, count)
        if not data and stored is None:
            # It may have ended, and its file gone into the database, since we looked.
            stored = await self._store.output(run_id, number)
            inline = None if stored is None else getattr(stored, stream)
            if inline is not None:
                return OutputPart(inline[offset : offset + count], offset, len(inline), is_final=True)
        return OutputPart(data, offset, size, is_final=stored is not None)

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
                if self.live_size(run_id, number or 1, stream) > offset or not self._is_supervised(run_id, number):
                    break  # only now is it worth asking the store

    def live_size(self, run_id: str, number: int, stream: Stream) -> int:
        """Bytes in the file of a running attempt's stream; 0 where there is no file (any more)."""
        return self._outputs.stream_size(attempt_id(run_id, number), stream)

    def live_part(self, run_id: str, number: int, stream: Stream, offset: int, count: int) -> bytes:
        """What a running attempt's file has from ``offset``; nothing where there is no file (any more)."""
        if self.live_size(run_id, number, stream) <= offset:
            return b""
        return self._outputs.read(attempt_id(run_id, number), stream, offset, count)[0]
