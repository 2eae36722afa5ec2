"""Following a run's output by long polling, as a pure state machine that both clients drive."""

from __future__ import annotations

from typing import TYPE_CHECKING

from flowd_client import requests
from flowd_client.requests import Encoding, Request, Stream

if TYPE_CHECKING:
    from flowd_client.views.run import OutputView

POLL_MS = 250
"""How long one poll waits on the stream that spoke last; so much later the other one's output may be seen."""


class Follower:
    """Which part to ask for next, until both streams have ended.

    The stream that spoke last is waited on; the other is only looked at, once in between.
    """

    def __init__(self, run_id: str, encoding: Encoding, *, attempt: int | None = None, poll_ms: int = POLL_MS) -> None:
        self._run_id = run_id
        self._encoding = encoding
        self._attempt = attempt
        self._poll_ms = poll_ms
        self._offsets: dict[Stream, int] = {"stdout": 0, "stderr": 0}
        self._open: list[Stream] = ["stdout", "stderr"]
        self._is_looking_aside = False

    def next(self) -> Request[OutputView] | None:
        """The request to make now; None when both streams have ended."""
        if not self._open:
            return None
        return requests.read_part(
            self._run_id,
            stream=self._stream,
            offset=self._offsets[self._stream],
            wait_ms=0 if self._is_looking_aside else self._poll_ms,
            attempt=self._attempt,
            encoding=self._encoding,
        )

    @property
    def _stream(self) -> Stream:
        return self._open[-1 if self._is_looking_aside else 0]

    def take(self, part: OutputView) -> Stream | None:
        """Note the answer to that request. Returns the stream if the part says something."""
        stream = self._stream
        self._offsets[stream] = part.next_offset
        has_spoken = bool(part.data)
        if part.is_end:
            self._open.remove(stream)
        elif has_spoken:
            # Whoever speaks is waited on next time.
            self._open.remove(stream)
            self._open.insert(0, stream)
        self._is_looking_aside = not self._is_looking_aside and len(self._open) > 1
        return stream if has_spoken else None
