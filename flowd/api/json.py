"""Encodes and decodes JSON, and instants as the wire has them. The shapes are in `flowd.api.shapes`."""

from datetime import UTC, datetime
from functools import lru_cache
from typing import Any

import msgspec

_encoder = msgspec.json.Encoder()
_sorting_encoder = msgspec.json.Encoder(order="sorted")


def encode(value: object) -> bytes:
    """JSON, with the keys in their order. Raises `RecursionError` when it is nested too deeply."""
    return _encoder.encode(value)


def canonical(value: object) -> bytes:
    """JSON with sorted keys: the same bytes for the same content."""
    return _sorting_encoder.encode(value)


def decode(data: bytes) -> Any:
    """JSON to plain objects. Raises `ValueError` for what is not JSON, `RecursionError` for too deep a nesting."""
    try:
        return msgspec.json.decode(data)
    except msgspec.MsgspecError as error:
        raise ValueError(str(error)) from None


def instant(at_ms: int) -> str:
    """Milliseconds since the epoch as ISO 8601 UTC.

    >>> instant(1700000000123)
    '2023-11-14T22:13:20.123Z'
    """
    seconds, millis = divmod(at_ms, 1000)
    return f"{_second(seconds)}.{millis:03d}Z"


@lru_cache(maxsize=4096)  # Instants of one page share their seconds, and formatting them is most of a view's cost.
def _second(seconds: int) -> str:
    return f"{datetime.fromtimestamp(seconds, UTC):%Y-%m-%dT%H:%M:%S}"
