"""Instants as the wire and steps see them."""

from datetime import UTC, datetime
from functools import lru_cache


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
