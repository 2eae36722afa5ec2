"""How far a running step is, by the lines that it prints for that."""

import asyncio
import time
from collections.abc import Awaitable, Callable
from contextlib import suppress

from flowd.domain import progress
from flowd.domain.errors import RefusedError
from flowd.domain.progress import Progress
from flowd.engine.outputs import OutputFiles

LOOK_S = 1.0
"""Between two looks at an attempt's output at least."""

_MAX_LOOK_S = 15.0
_LOOKS = 300
"""As many steps as a bar has; see `pause_s`."""

_MAX_LOOK_BYTES = 256 * 1024
"""Looked at in one go, from the end, in 0.2 ms. A step that prints more in a second says its progress again."""


def pause_s(age_s: float) -> float:
    """The time to the next look at an attempt that has taken so long: a 300th part of that, from one second to 15.

    Each change is an entry of the journal, and one a second of every step that runs for a day would leave it no room
    for anything else.

    >>> [pause_s(age_s) for age_s in (10, 600, 86_400)]
    [1.0, 2.0, 15.0]
    """
    return max(LOOK_S, min(_MAX_LOOK_S, age_s / _LOOKS))


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
        """Have noted what it says, as often as that changes, at most once in `pause_s`. Never returns."""
        began_s = time.monotonic()
        while True:
            said = self.look()
            if said is not None:
                with suppress(RefusedError):  # it is only for looking at
                    await note(said)
            await asyncio.sleep(pause_s(time.monotonic() - began_s))

    def look(self) -> Progress | None:
        """What it says now, where that is something else than at the last look."""
        with suppress(OSError):  # a file that cannot be read now is told of at the end
            said = self._read()
            if said is not None and said != self._told:
                self._told = said
                return said.shown(self._mask)
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
