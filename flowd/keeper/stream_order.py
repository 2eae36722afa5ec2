r"""The order between the two streams of an attempt, in a byte or two for each change from one to the other.

The record begins with standard output: the lengths of the pieces in the order in which they were printed, of standard
output and standard error in turn, each as a LEB128 number. The last piece is left out: it is what the streams have
beyond the others. So a step that prints on one stream alone has no record at all.

>>> record = b"".join(map(length, [6, 10, 300]))  # and then more of standard error
>>> pieces(record, (306, 14))
[('stdout', 6), ('stderr', 10), ('stdout', 300), ('stderr', 4)]
>>> pieces(b"", (5, 0))
[('stdout', 5)]
"""

from __future__ import annotations

MAX_BYTES = 1 << 20
"""A record grows no larger; the order of what is printed after that is not known."""
_NAMES = "stdout", "stderr"


def length(count: int) -> bytes:
    r"""One piece's length.

    >>> length(5), length(300)
    (b'\x05', b'\xac\x02')
    """
    encoded = bytearray()
    while count > 0x7F:
        encoded.append(count & 0x7F | 0x80)
        count >>= 7
    encoded.append(count)
    return bytes(encoded)


def lengths(record: bytes) -> list[int]:
    r"""The lengths in a record; one that is cut off at its end is left out.

    >>> lengths(b"\x05\xac\x02\xac")
    [5, 300]
    """
    found = []
    count = shift = 0
    for byte in record:
        count |= (byte & 0x7F) << shift
        shift += 7
        if byte < 0x80:
            found.append(count)
            count = shift = 0
    return found


def turns(found: list[tuple[str, int]], stream: str, begin: int, end: int) -> list[tuple[int, int]]:
    """Where a part of a stream goes on after something of the other one: its offsets there, and the bytes that the
    other stream had by then. The first is for the part's own begin.

    >>> turns([("stdout", 6), ("stderr", 10), ("stdout", 300), ("stderr", 4)], "stdout", 2, 306)
    [(2, 0), (6, 10)]
    """
    own = other = 0
    placed = []
    for name, count in found:
        if name != stream:
            other += count
            continue
        if own < end and own + count > begin:
            placed.append((max(own, begin), other))
        own += count
    return placed


def pieces(record: bytes, sizes: tuple[int, int]) -> list[tuple[str, int]]:
    """The pieces of both streams in the order in which they were printed, as names and lengths.

    Args:
        sizes: Of both streams, in bytes; a stream that was cut has fewer than the record says.
    """
    left = list(sizes)
    found = []
    stream = 0
    for count in lengths(record):
        taken = min(count, left[stream])
        left[stream] -= taken
        found.append((_NAMES[stream], taken))
        stream = 1 - stream
    found += [(_NAMES[last], left[last]) for last in (stream, 1 - stream)]
    return [piece for piece in found if piece[1]]
