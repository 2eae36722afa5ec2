"""Instants as the wire and steps see them."""

import re
from datetime import UTC, datetime
from functools import lru_cache


def instant(at_ms: int) -> str:
    """Milliseconds since the epoch as ISO 8601 UTC.

    >>> instant(1700000000123)
    '2023-11-14T22:13:20.123Z'
    """
    seconds, millis = divmod(at_ms, 1000)
    return f"{_second(seconds)}.{millis:03d}Z"


_AGO = re.compile(r"(\d{1,9}(?:\.\d{1,3})?)(ms|s|m|h|d|w)")
_UNITS_MS = {"ms": 1, "s": 1000, "m": 60_000, "h": 3_600_000, "d": 86_400_000, "w": 7 * 86_400_000}


def read_instant(text: str, *, now_ms: int) -> int | None:
    """Milliseconds since the epoch of an instant with its offset, or of so long ago (``90s``, ``2h``, ``7d``); None
    where the text is neither.

    >>> read_instant("2023-11-14T22:13:20.123Z", now_ms=0), read_instant("1.5h", now_ms=6_000_000)
    (1700000000123, 600000)
    >>> read_instant("2023-11-14T22:13:20", now_ms=0), read_instant("soon", now_ms=0)
    (None, None)
    """
    ago = _AGO.fullmatch(text)
    if ago is not None:
        return now_ms - round(float(ago[1]) * _UNITS_MS[ago[2]])
    return read_whole_instant(text)


def read_whole_instant(text: str) -> int | None:
    """Milliseconds since the epoch of an instant with its offset; None where the text is none.

    >>> read_whole_instant("2023-11-14T23:13:20+01:00"), read_whole_instant("2023-11-14"), read_whole_instant("5m")
    (1700000000000, None, None)
    """
    try:
        found = datetime.fromisoformat(text)
        return None if found.tzinfo is None else round(found.timestamp() * 1000)
    except (ValueError, OverflowError):
        return None


@lru_cache(maxsize=4096)  # Instants of one page share their seconds, and formatting them is most of a view's cost.
def _second(seconds: int) -> str:
    return f"{datetime.fromtimestamp(seconds, UTC):%Y-%m-%dT%H:%M:%S}"
