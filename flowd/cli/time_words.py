"""Says in words what steps ask of times, and when something is."""

import math
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

_MANY_S = 600
"""From here on an instant says more than seconds do."""


def asked(delay_ms: int | None, queue_timeout_ms: int | None, debounce: Mapping[str, Any] | None) -> list[str]:
    """What a step asks of times, a few words each.

    >>> asked(90_000, 500, None)
    ['after 90 s', 'gives up after 500 ms in the queue']
    >>> asked(None, None, {"quietMs": 2000, "maxMs": 3_600_000, "key": ["/payload/repo"]})
    ['after 2 s of quiet or 1 h, for each /payload/repo']
    """
    parts = [] if not delay_ms else [f"after {length(delay_ms)}"]
    if debounce is not None:
        at_last = f" or {length(debounce['maxMs'])}" if debounce.get("maxMs") else ""
        of_key = f", for each {' and '.join(debounce['key'])}" if debounce.get("key") else ""
        parts.append(f"after {length(debounce['quietMs'])} of quiet{at_last}{of_key}")
    if queue_timeout_ms:
        parts.append(f"gives up after {length(queue_timeout_ms)} in the queue")
    return parts


def length(ms: float) -> str:
    """A length of time.

    >>> length(500), length(2_400), length(599_000), length(3_700_000), length(90_000_000)
    ('500 ms', '2.4 s', '599 s', '1 h 2 min', '1 d 1 h')
    """
    minutes = round(ms / 60_000)
    if ms < _MANY_S * 1_000:
        return f"{ms:.0f} ms" if ms < 1_000 else f"{ms / 1_000:.3g} s"
    if minutes < 24 * 60:
        parts = (minutes // 60, "h"), (minutes % 60, "min")
    else:
        parts = (minutes // 1440, "d"), (minutes % 1440 // 60, "h")
    return " ".join(f"{count} {unit}" for count, unit in parts if count)


def instant(said: object) -> datetime | None:
    """An instant from a view; None where it is none."""
    try:
        found = datetime.fromisoformat(str(said))
    except ValueError:
        return None
    return found if found.tzinfo else None


def left_s(said: object) -> float | None:
    """How long it is until an instant; None where it is none."""
    at = instant(said)
    return None if at is None else (at - datetime.now(UTC)).total_seconds()


def from_now(instant: object) -> str:
    """When an instant is, seen from now."""
    seconds = left_s(instant)
    if seconds is None:
        return f"at {instant}"
    if seconds < 1:
        return "in a moment"
    return f"in {seconds:.0f} s" if seconds < _MANY_S else f"at {on_the_clock(instant)}"


def near(at: datetime) -> str:
    """How long ago an instant was, or how far ahead it is."""
    return apart((datetime.now(UTC) - at).total_seconds())


def apart(seconds: float) -> str:
    """How long ago something was; with less than nothing, how far ahead it is.

    >>> apart(3.7), apart(125), apart(7200), apart(3 * 86400)
    ('3 s ago', '2 min ago', '2 h ago', '3 d ago')
    >>> apart(0), apart(-0.5), apart(-40), apart(-5400)
    ('now', 'now', 'in 40 s', 'in 2 h')
    """
    many = abs(seconds)
    if many < 1:
        return "now"
    for limit, unit, name in ((90, 1, "s"), (5400, 60, "min"), (129_600, 3600, "h"), (math.inf, 86_400, "d")):
        if many < limit:
            # What has passed is told in whole units, what is to come to the nearest one.
            return f"{int(many // unit)} {name} ago" if seconds > 0 else f"in {round(many / unit)} {name}"
    return "never"


def clock(at: datetime) -> str:
    """An instant on the clock of whoever reads it, to the second; with its date where that is another day."""
    then = at.astimezone()
    is_today = then.date() == datetime.now(UTC).astimezone().date()
    return f"{then:%H:%M:%S}" if is_today else f"{then:%Y-%m-%d %H:%M:%S}"


def on_the_clock(instant: object) -> str:
    """An instant on the clock of whoever reads it; with its date where that is another day."""
    try:
        then = datetime.fromisoformat(str(instant)).astimezone()
    except (ValueError, TypeError, OverflowError):
        return str(instant)
    is_today = then.date() == datetime.now(UTC).astimezone().date()
    return f"{then:%H:%M}" if is_today else f"{then:%Y-%m-%d %H:%M}"
