"""Following a run's output by long polling, as a pure state machine that both clients drive."""

from __future__ import annotations

from typing import TYPE_CHECKING

from flowd_client import requests
from flowd_client.request import Encoding, Request, Stream
from flowd_client.wire import STREAMS

if TYPE_CHECKING:
    from flowd_client.views.output import OutputView
    from flowd_client.views.run import RunView

POLL_MS = 10_000
"""How long one poll waits on the stream that spoke last. It ends as soon as the other one speaks, too."""

LOOK_MS = 100
"""How long one look waits for a run's end, while it has yet to start or to be started again."""


class Follower:
    """Which request to make next, until the run has ended and both of its streams are read.

    Begins with the latest attempt (or waits for the first), and goes on with those that come after it. With
    ``attempt`` it reads just that one. The stream that spoke last is waited on; the other is looked at in between.
    """

    def __init__(self, run_id: str, encoding: Encoding, *, attempt: int | None = None) -> None:
        self._run_id = run_id
        self._encoding = encoding
        self._attempt = attempt or 0
        self._look_ms = 0
        self._is_last = attempt is not None
        self._is_looking_aside = False
        self._offsets: dict[Stream, int] = {}
        self._open: list[Stream] = []
        if attempt is not None:
            self._begin()

    def _begin(self) -> None:
        self._offsets = dict.fromkeys(STREAMS, 0)
        self._open = list(STREAMS)

    def next_part(self) -> Request[OutputView] | None:
        """The part of the output to read now; None when `next_look` is due."""
        if not self._open:
            return None
        request = requests.read_output(
            self._run_id,
            stream=self._stream,
            offset=self._offsets[self._stream],
            wait_ms=0 if self._is_looking_aside else POLL_MS,
            attempt=self._attempt,
            encoding=self._encoding,
        )
        if self._is_looking_aside or len(self._open) == 1:
            return request
        return request._replace(params={**request.params, "otherOffset": self._offsets[self._open[-1]]})

    def next_look(self) -> Request[RunView] | None:
        """The look at the run to take now, for an attempt to come; None when all is read."""
        return None if self._is_last else requests.wait_run(self._run_id, timeout_ms=self._look_ms)

    @property
    def _stream(self) -> Stream:
        return self._open[-1 if self._is_looking_aside else 0]

    def take_part(self, part: OutputView) -> Stream | None:
        """Note a part. Returns its stream if it says something."""
        stream = self._stream
        self._offsets[stream] = part.next_offset
        has_spoken = bool(part.data)
        if part.is_end:
            self._open.remove(stream)
        elif has_spoken:
            self._open.remove(stream)
            self._open.insert(0, stream)
        self._is_looking_aside = not self._is_looking_aside and len(self._open) > 1
        return stream if has_spoken else None

    def take_look(self, run: RunView) -> None:
        """Note how the run is."""
        self._look_ms = LOOK_MS
        if run.attempt_count > self._attempt:
            self._attempt = self._attempt + 1 if self._attempt else run.attempt_count
            self._begin()
        self._is_last = run.is_final and run.attempt_count == self._attempt
