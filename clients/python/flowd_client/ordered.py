"""Following a run's output in the order in which it was printed, as a pure plan that both clients carry out."""

from __future__ import annotations

from collections.abc import Generator, Iterator
from typing import TYPE_CHECKING, Any

from flowd_client import requests
from flowd_client.errors import InvalidCallError
from flowd_client.follow import LOOK_MS, POLL_MS
from flowd_client.request import Request, Stream

if TYPE_CHECKING:
    from flowd_client.views.output import OutputView
    from flowd_client.views.run import RunView

Piece = tuple[Stream, bytes]
Plan = Generator["Request[Any] | Piece", Any, None]
"""Gives requests, and wants the view of each, or the error thrown in; and pieces, for which it wants nothing."""


Places = tuple[int, int, int]
"""An attempt's number, and offsets in its stdout and stderr."""


def followed(run_id: str, *, attempt: int | None = None, after: Places | None = None, poll_ms: int = POLL_MS) -> Plan:
    """Both streams of the latest attempt and of those that come after it, or of just one, until the run has ended.

    The order is that in which flowd took the lines from the step: those of the two streams that are written within the
    same 50 µs or so may change places.

    Args:
        after: Begin behind these places, with what their attempt prints there.
    """
    number, look_ms = attempt or 0, 0
    if after is not None:
        number = after[0]
        yield from _Attempt(run_id, number, poll_ms, *after[1:]).parts()
    elif attempt is not None:
        yield from _Attempt(run_id, number, poll_ms).parts()
    if attempt is not None:
        return
    while True:
        run: RunView = yield requests.wait_run(run_id, timeout_ms=look_ms)
        look_ms = LOOK_MS
        if run.attempt_count > number:
            number = number + 1 if number else run.attempt_count
            yield from _Attempt(run_id, number, poll_ms).parts()
        if run.is_final and run.attempt_count == number:
            return


class _Attempt:
    """Stdout leads: each part of it tells how far stderr had come before. Stderr alone is read once nothing new is on
    stdout, and told once stdout has been looked at after that."""

    def __init__(self, run_id: str, number: int, poll_ms: int, out_at: int = 0, errors_at: int = 0) -> None:
        self._run_id = run_id
        self._number = number
        self._poll_ms = poll_ms
        self._out_at = out_at
        self._errors_at = errors_at
        """What was told of stderr ends there."""
        self._held = b""
        """Of stderr, read and not told yet."""
        self._held_end = errors_at
        self._is_exact = True
        """Whether what is held has as many bytes as the stream has there; where a secret is masked it has not."""
        self._has_turns = True
        """Daemons from before an update tell no order."""

    def parts(self) -> Plan:
        """Read both streams to their ends."""
        is_over = False
        while not is_over:
            part = yield from self._out(0 if self._held else self._poll_ms)
            yield from self._told(part)
            if part.data:
                continue
            # Stderr has grown, or stdout has ended, or nothing came in time.
            is_end = yield from self._read_errors(wait_ms=self._poll_ms if part.is_end else 0)
            if not part.is_end:
                part = yield from self._out(0)
                yield from self._told(part)
            if part.next_offset >= part.size:  # else more of stdout came before what is held
                yield from self._rest()
            is_over = part.is_end and is_end and not self._held

    def _out(self, wait_ms: int) -> Generator[Request[OutputView], Any, OutputView]:
        """What follows on stdout, with the turns."""
        while True:
            request = self._request("stdout", self._out_at, wait_ms)
            asked = {**request.params, "turns": True} if self._has_turns else request.params
            try:
                part: OutputView = yield request._replace(params={**asked, "otherOffset": self._held_end})
            except InvalidCallError as error:
                if not self._has_turns or "turns" not in error.message:
                    raise
                self._has_turns = False
            else:
                return part

    def _told(self, part: OutputView) -> Plan:
        """A part of stdout, and what of stderr came before each piece of it."""
        begin, done = self._out_at, 0
        self._out_at = part.next_offset
        is_exact = len(part.data) == part.next_offset - begin
        turns = part.turns if is_exact and part.turns else ((begin, 0),)
        for (_, other), end in zip(turns, [*(own for own, _ in turns[1:]), part.next_offset], strict=True):
            while self._errors_at < other:
                if not self._held:
                    yield from self._read_errors(max_bytes=other - self._errors_at)
                if not self._held:
                    break
                yield from self._rest(other)
            upto = end - begin if is_exact else len(part.data)
            if data := part.data[done:upto]:
                done += len(data)
                yield "stdout", data

    def _rest(self, end: int | None = None) -> Iterator[Piece]:
        """What is held of stderr, up to a place where that can be told."""
        count = len(self._held) if end is None or not self._is_exact else end - self._errors_at
        data, self._held = self._held[:count], self._held[count:]
        self._errors_at = self._errors_at + len(data) if self._held else self._held_end
        if data:
            yield "stderr", data

    def _read_errors(
        self, *, wait_ms: int = 0, max_bytes: int | None = None
    ) -> Generator[Request[OutputView], Any, bool]:
        """Hold what follows on stderr; whether that is its end."""
        if self._held:
            return False
        request = self._request("stderr", self._errors_at, wait_ms)
        if max_bytes is not None:
            request = request._replace(params={**request.params, "maxBytes": min(max_bytes, 1 << 20)})
        part: OutputView = yield request
        self._held, self._held_end = part.data, part.next_offset
        self._is_exact = len(part.data) == part.next_offset - self._errors_at
        if not part.data:
            self._errors_at = part.next_offset
        return part.is_end

    def _request(self, stream: Stream, offset: int, wait_ms: int) -> Request[OutputView]:
        return requests.read_output(
            self._run_id, stream=stream, offset=offset, wait_ms=wait_ms, attempt=self._number, encoding="base64"
        )
