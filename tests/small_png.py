"""Makes pictures of pages small: a page has few colours, so a palette of 256 holds them, at a fourth of the bytes."""

import struct
import zlib
from collections import Counter
from collections.abc import Iterator

_SIGNATURE = b"\x89PNG\r\n\x1a\n"
_COLOURS = 256
_CHANNELS = {2: 3, 6: 4}
"""Of the colour types that a screenshot may have."""


def small_png(png: bytes) -> bytes:
    """The same picture with its 256 most frequent colours; any other becomes the nearest of them.

    Args:
        png: Eight bits a channel, not interlaced, as browsers write it.
    """
    chunks = list(_chunks(png))
    width, height, depth, kind, _, _, interlaced = struct.unpack(">IIBBBBB", chunks[0][1])
    assert (depth, interlaced) == (8, 0), "not a screenshot"
    data = zlib.decompress(b"".join(body for name, body in chunks if name == b"IDAT"))
    rows = list(_rows(data, width * _CHANNELS[kind], _CHANNELS[kind]))
    step = _CHANNELS[kind]
    pixels = [list(zip(row[0::step], row[1::step], row[2::step], strict=True)) for row in rows]
    return _indexed(pixels, width, height)


def _chunks(png: bytes) -> Iterator[tuple[bytes, bytes]]:
    at = len(_SIGNATURE)
    while at < len(png):
        (length,) = struct.unpack_from(">I", png, at)
        yield png[at + 4 : at + 8], png[at + 8 : at + 8 + length]
        at += length + 12


def _rows(data: bytes, length: int, step: int) -> Iterator[bytearray]:
    """The rows without their filters: https://www.w3.org/TR/png/#9Filters."""
    above = bytearray(length)
    for start in range(0, len(data), length + 1):
        row = bytearray(data[start + 1 : start + 1 + length])
        for at in range(length):
            left, corner = (row[at - step], above[at - step]) if at >= step else (0, 0)
            match data[start]:
                case 1:
                    row[at] = (row[at] + left) & 255
                case 2:
                    row[at] = (row[at] + above[at]) & 255
                case 3:
                    row[at] = (row[at] + (left + above[at]) // 2) & 255
                case 4:
                    guess = left + above[at] - corner
                    nearest = min((left, above[at], corner), key=lambda value: abs(guess - value))
                    row[at] = (row[at] + nearest) & 255
        yield row
        above = row


def _indexed(rows: list[list[tuple[int, int, int]]], width: int, height: int) -> bytes:
    counted = Counter(pixel for row in rows for pixel in row)
    palette = [colour for colour, _ in counted.most_common(_COLOURS)]
    index = {colour: number for number, colour in enumerate(palette)}
    for colour in counted.keys() - index.keys():
        index[colour] = min(range(len(palette)), key=lambda number: _distance(palette[number], colour))
    body = b"".join(b"\0" + bytes(index[pixel] for pixel in row) for row in rows)
    head = struct.pack(">IIBBBBB", width, height, 8, 3, 0, 0, 0)
    colours = bytes(channel for colour in palette for channel in colour)
    parts = ((b"IHDR", head), (b"PLTE", colours), (b"IDAT", zlib.compress(body, 9)), (b"IEND", b""))
    return _SIGNATURE + b"".join(_chunk(name, part) for name, part in parts)


def _distance(one: tuple[int, int, int], other: tuple[int, int, int]) -> int:
    return sum((a - b) ** 2 for a, b in zip(one, other, strict=True))


def _chunk(name: bytes, body: bytes) -> bytes:
    return struct.pack(">I", len(body)) + name + body + struct.pack(">I", zlib.crc32(name + body))
