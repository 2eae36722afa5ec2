"""Output that hosts which share a store can read from each other: pieces of it, and how much of it there is."""

from dataclasses import dataclass
from typing import Literal, NamedTuple

CHUNK_BYTES = 64 * 1024
"""A stream is kept in chunks of this size, of which only the last may be shorter."""

Kept = Literal["stdout", "stderr", "order"]
"""What is kept of an attempt: its streams, and the record of the order between them."""
KEPT: tuple[Kept, ...] = "stdout", "stderr", "order"


class Place(NamedTuple):
    """Where output is kept: a stream of an attempt."""

    run_id: str
    number: int
    stream: Kept


@dataclass(frozen=True, slots=True)
class Piece:
    """Some bytes of a stream, none of them beyond the chunk in which they begin."""

    stream: Kept
    at: int
    data: bytes

    @property
    def chunk_at(self) -> int:
        """Where its chunk begins."""
        return self.at - self.at % CHUNK_BYTES


@dataclass(frozen=True, slots=True)
class Gap:
    """What is kept of a stream has not the bytes from ``begin`` to ``end``: these are on the host that ran it."""

    begin: int
    end: int


@dataclass(frozen=True, slots=True)
class Shared:
    """What is told of a stream that another host's step writes, or wrote.

    Attributes:
        at_ms: When the last bytes came that are known here.
        gap: What is known on that host alone, if anything is.
        is_whole: All that was written is known here, but for the gap. False for as long as it is written, and where the
            host was lost before it could tell.
    """

    at_ms: int
    gap: Gap | None
    is_whole: bool


@dataclass(frozen=True, slots=True)
class ShelfPart:
    """What is kept of a stream, from some byte on.

    Attributes:
        begin: Where ``data`` begins: where it was asked for, or at the end of the gap that this is in.
        data: Ends at the gap, if not before.
        size: How far the stream is kept.
        at_ms: When its last bytes came, by the clock of the store.
    """

    begin: int
    data: bytes
    size: int
    at_ms: int
    gap: Gap | None = None


def pieces(stream: Kept, at: int, data: bytes) -> list[Piece]:
    """Bytes of a stream, by chunk.

    >>> [(piece.at, len(piece.data)) for piece in pieces("stdout", 65_530, bytes(70_000))]
    [(65530, 6), (65536, 65536), (131072, 4458)]
    """
    found = []
    begin = 0
    while begin < len(data):
        end = begin + CHUNK_BYTES - (at + begin) % CHUNK_BYTES
        found.append(Piece(stream, at + begin, data[begin:end]))
        begin = end
    return found
