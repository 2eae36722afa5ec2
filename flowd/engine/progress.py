"""How far a running step is, by the lines that it prints for that."""

import asyncio
from collections.abc import Awaitable, Callable
from contextlib import suppress
from dataclasses import replace

from flowd.domain import progress
from flowd.domain.errors import RefusedError
from flowd.domain.progress import Progress
from flowd.engine.outputs import OutputFiles

LOOK_S = 1.0
"""Between two looks at an attempt's output."""

_MAX_LOOK_BYTES = 256 * 1024
"""Looked at in one go, from the end, in 0.2 ms. A step that prints more in a second says its progress again."""


class ProgressReader:
    """Looks at what an attempt has printed since the last look."""

    def __init__(self, outputs: OutputFiles, attempt_id: str, mask: Callable[[str], str]) -> None:
        """``mask`` takes secrets out of a text."""
        self._outputs = outputs
        self._attempt_id = attempt_id
        self._mask = mask
        self._offset = 0
        self._told: Progress | None = None

    async def follow(self, note: Callable[[Progress], Awaitable[None]]) -> None:
        """Have noted what it says, as often as that changes, at most once in `LOOK_S`. Never returns."""
        while True:
            said = self.look()
            if said is not None:
                with suppress(RefusedError):  # it is only for looking at
                    await note(said)
            await asyncio.sleep(LOOK_S)

    def look(self) -> Progress | None:
        """What it says now, where that is something else than at the last look."""
        with suppress(OSError):  # a file that cannot be read now is told of at the end
            said = self._read()
            if said is not None and said != self._told:
                self._told = said
                return said if said.message is None else replace(said, message=self._mask(said.message))
        return None

    def _read(self) -> Progress | None:
        size = self._outputs.stream_size(self._attempt_id, "stdout")
        if size <= self._offset:
            self._offset = size  # smaller where somebody has emptied it
            return None
        start = max(self._offset, size - _MAX_LOOK_BYTES)
        data, _ = self._outputs.read(self._attempt_id, "stdout", start, size - start)
        # The last line may not be whole yet. One that is endless is no progress line.
        unfinished = len(data) - (data.rfind(b"\n") + 1)
        self._offset = start + len(data) - min(unfinished, progress.MAX_LINE_BYTES)
        return progress.last(data)
