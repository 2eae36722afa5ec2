"""Follows the output of many attempts at once: how far each stream was read, and what is new in it."""

import codecs
from collections.abc import AsyncIterator
from dataclasses import dataclass

from flowd.engine.output_reader import OutputReader
from flowd_client.wire import STREAMS, Stream

CHUNK_BYTES = 64 * 1024


@dataclass(frozen=True, slots=True)
class OutputChunk:
    """A piece of a stream of an attempt.

    Attributes:
        data: With secrets masked.
        next_offset: Where the next chunk begins; a mask has another length than its secret.
        is_end: The attempt has ended and this is the stream's end; ``data`` may be empty then.
    """

    run_id: str
    attempt: int
    stream: Stream
    offset: int
    data: bytes
    next_offset: int
    is_end: bool = False


@dataclass(frozen=True, slots=True)
class OutputPlace:
    """Where a reader of an attempt's output has come to, in bytes."""

    run_id: str
    attempt: int
    stdout: int = 0
    stderr: int = 0


class Tails:
    """Places in the output of attempts. Every byte comes once, in its stream's order."""

    def __init__(self, reader: OutputReader, *, is_text: bool) -> None:
        """With ``is_text`` no chunk cuts a UTF-8 character in two."""
        self._reader = reader
        self._is_text = is_text
        self._places: dict[tuple[str, int], dict[Stream, int]] = {}
        self._begun: set[tuple[str, int]] = set()
        self._is_looked_at = False

    def __bool__(self) -> bool:
        return bool(self._places)

    def give(self, place: OutputPlace) -> None:
        """Go on from here, as the reader says."""
        key = (place.run_id, place.attempt)
        self._places[key] = {"stdout": place.stdout, "stderr": place.stderr}
        self._begun.add(key)

    async def find(self, run_id: str, attempt: int, *, at_end: bool) -> None:
        """An attempt is under way: follow it from its beginning, or from its end as it is now."""
        sizes = {stream: await self._reader.live_size(run_id, attempt, stream) if at_end else 0 for stream in STREAMS}
        self._places.setdefault((run_id, attempt), sizes)

    def start(self, run_id: str, attempt: int) -> None:
        """An attempt begins: follow it from its beginning.

        It may begin again, where nothing had started the first time. Its place stays then: some of its output may have
        been read before these entries were.
        """
        key = (run_id, attempt)
        if key not in self._begun:
            self._begun.add(key)
            self._places[key] = dict.fromkeys(STREAMS, 0)

    def drop(self, run_id: str) -> None:
        """No attempt of this run was ever started, and none will be."""
        for key in [key for key in self._places if key[0] == run_id]:
            self._forget(key)

    def _forget(self, key: tuple[str, int]) -> None:
        self._places.pop(key, None)
        self._begun.discard(key)

    async def news(self) -> AsyncIterator[OutputChunk]:
        """What running attempts wrote since the last look, up to `CHUNK_BYTES` of each stream."""
        for (run_id, attempt), places in tuple(self._places.items()):
            for stream in STREAMS:
                offset = places[stream]
                part = await self._reader.live_part(run_id, attempt, stream, offset, CHUNK_BYTES)
                data = self._whole(part.data)
                if data:
                    places[stream] = part.next_offset - (len(part.data) - len(data))
                    yield OutputChunk(run_id, attempt, stream, offset, data, places[stream])

    async def ended_at_first_look(self) -> list[tuple[str, int]]:
        """Those among the followed attempts that have ended, by run id and number; none when asked again."""
        if self._is_looked_at:
            return []
        self._is_looked_at = True
        parts = [(key, await self._reader.part(*key, "stdout", 0, 1)) for key in tuple(self._places)]
        return [key for key, part in parts if part.is_final]

    async def flush(self, run_id: str, attempt: int) -> AsyncIterator[OutputChunk]:
        """Everything that is left of an attempt that has ended, and the ends of its streams."""
        places = self._places.setdefault((run_id, attempt), dict.fromkeys(STREAMS, 0))
        for stream in STREAMS:
            is_end = False
            while not is_end:
                offset = places[stream]
                part = await self._reader.part(run_id, attempt, stream, offset, CHUNK_BYTES)
                is_end = part.next_offset >= part.size or not part.data
                data = part.data if is_end else self._whole(part.data)
                places[stream] = part.next_offset - (len(part.data) - len(data))
                yield OutputChunk(run_id, attempt, stream, offset, data, places[stream], is_end=is_end)
        self._forget((run_id, attempt))

    def _whole(self, data: bytes) -> bytes:
        """Without the first bytes of a character whose others are not there yet."""
        if not self._is_text or not data or data[-1] < 0x80:
            return data
        decoder = codecs.getincrementaldecoder("utf-8")("replace")
        decoder.decode(data[-4:])
        return data[: len(data) - len(decoder.getstate()[0])]
