"""Reads both streams of a run in the order in which they were printed."""

from collections.abc import Iterator, Sequence
from typing import NamedTuple

from flowd.cli import printing
from flowd.cli.session import Session
from flowd_client import requests
from flowd_client.views.output import OutputView
from flowd_client.wire import STREAMS, Stream

_PART_BYTES = 256 * 1024
_TAIL_BYTES = 64 * 1024


class _Reader:
    """One stream, read up to given places."""

    def __init__(self, session: Session, run_id: str, stream: Stream, attempt: int | None, offset: int = 0) -> None:
        self._session = session
        self._run_id = run_id
        self._stream: Stream = stream
        self._attempt = attempt
        self._held = b""
        self.offset = offset
        self.last: OutputView | None = None

    def part(self, max_bytes: int = _PART_BYTES, *, turns: bool = False) -> OutputView:
        """What follows, without going on."""
        self.last = self._session.view(
            requests.read_output(
                self._run_id, stream=self._stream, offset=self.offset, attempt=self._attempt, encoding="base64",
                max_bytes=max_bytes, turns=turns,
            )
        )  # fmt: skip
        return self.last

    def hold(self, part: OutputView) -> bool:
        """Keep a part for `upto`, where its bytes are the stream's. Those of one with a mask have other places."""
        is_exact = len(part.data) == part.next_offset - self.offset
        self._held = part.data if is_exact else b""
        return is_exact

    def upto(self, end: int | None) -> Iterator[bytes]:
        """What comes before this place, or all that is left. Goes beyond it only where a mask does."""
        while end is None or self.offset < end:
            if not self._held:
                part = self.part()
                if not self.hold(part) and end is not None:
                    part = self.part(min(_PART_BYTES, end - self.offset))
                if not part.data and part.next_offset == self.offset:
                    return
                if not self._held:
                    self.offset = part.next_offset
                    yield part.data
                    continue
            piece = self._held if end is None else self._held[: end - self.offset]
            self._held = self._held[len(piece) :]
            self.offset += len(piece)
            yield piece


class Tail(NamedTuple):
    """The last lines of what an attempt has printed, and where both streams go on behind them."""

    pieces: list[tuple[Stream, bytes]]
    ends: tuple[int, int]


def read(session: Session, run_id: str, attempt: int | None) -> Iterator[tuple[Stream, bytes]]:
    """Pieces of both streams. Of what is printed meanwhile, the order is as far as it was known when it was read."""
    out, errors = (_Reader(session, run_id, stream, attempt) for stream in STREAMS)
    yield from _woven(out, errors)
    tell_lost(out.last, errors.last)


def tail(session: Session, run_id: str, attempt: int | None, count: int, only: Stream | None = None) -> Tail:
    """The last ``count`` lines of both streams together, or of one, without reading all that is before them."""
    size = _TAIL_BYTES
    while True:
        begin = _cut(session, run_id, attempt, size)
        out, errors = (_Reader(session, run_id, stream, attempt, begin[i]) for i, stream in enumerate(STREAMS))
        pieces = [piece for piece in _woven(out, errors) if only in (None, piece[0])]
        if begin == (0, 0) or sum(data.count(b"\n") for _, data in pieces) > count:
            return Tail(last_lines(pieces, count), (out.offset, errors.offset))
        size *= 8


def _cut(session: Session, run_id: str, attempt: int | None, size: int) -> tuple[int, int]:
    """Offsets in both streams between what was printed before and after one instant: at most twice ``size`` bytes are
    behind it."""

    def part(stream: Stream, offset: int) -> OutputView:
        return session.view(
            requests.read_output(run_id, stream=stream, offset=offset, attempt=attempt, max_bytes=1, turns=True)
        )

    found = [(0, 0)]
    for stream in STREAMS:
        at = part(stream, 0).size - size
        turns = part(stream, at).turns if at > 0 else ()
        if turns:
            other = turns[0][1]
            found.append((at, other) if stream == "stdout" else (other, at))
    return max(found, key=sum)


def last_lines(pieces: Sequence[tuple[Stream, bytes]], count: int) -> list[tuple[Stream, bytes]]:
    r"""The end of what was printed, from the start of the line that is the ``count``-th from behind.

    >>> last_lines([("stdout", b"1\n2\n"), ("stderr", b"3\n"), ("stdout", b"4")], 3)
    [('stdout', b'2\n'), ('stderr', b'3\n'), ('stdout', b'4')]
    """
    left = count + (1 if pieces and pieces[-1][1].endswith(b"\n") else 0)
    kept = []
    for stream, data in reversed(pieces):
        if data.count(b"\n") >= left:
            begin = len(data)
            for _ in range(left):
                begin = data.rfind(b"\n", 0, begin)
            if rest := data[begin + 1 :]:
                kept.append((stream, rest))
            break
        left -= data.count(b"\n")
        kept.append((stream, data))
    return kept[::-1]


def _woven(out: _Reader, errors: _Reader) -> Iterator[tuple[Stream, bytes]]:
    while True:
        part = out.part(turns=True)
        if not part.data and part.next_offset == out.offset:
            break
        out.hold(part)
        turns = part.turns or ((out.offset, 0),)
        for (_, other), end in zip(turns, [*(own for own, _ in turns[1:]), part.next_offset], strict=True):
            for data in errors.upto(other):
                yield "stderr", data
            for data in out.upto(end):
                yield "stdout", data
    for data in errors.upto(None):
        yield "stderr", data


def tell_lost(*ends: OutputView | None) -> None:
    """Say so where more was printed than is known, for the host that it was printed on was lost. ``ends`` are the last
    parts of streams."""
    cut = [end.shared for end in ends if end is not None and end.is_end and end.shared is not None]
    known = [shared for shared in cut if not shared.is_complete]
    if known:
        last = max((f"{shared.kept_at:%H:%M:%S} (UTC)" for shared in known if shared.kept_at), default="its loss")
        printing.note(f"flowd: the host of this step was lost; what it printed after {last} is not known here.")
