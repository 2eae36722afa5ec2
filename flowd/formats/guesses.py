"""Guesses what somebody meant who wrote something else: a word, a number, a time, a size. Asked after mistakes only."""

import re
from collections.abc import Iterable

_PART = re.compile(r"\s*(\d+(?:\.\d+)?)\s*([a-zA-Z]+)?")
_TIMES_MS = {
    **dict.fromkeys(("ms", "msec", "millis", "milliseconds"), 1.0),
    **dict.fromkeys(("s", "sec", "secs", "second", "seconds"), 1_000.0),
    **dict.fromkeys(("m", "min", "mins", "minute", "minutes"), 60_000.0),
    **dict.fromkeys(("h", "hr", "hrs", "hour", "hours"), 3_600_000.0),
    **dict.fromkeys(("d", "day", "days"), 86_400_000.0),
    **dict.fromkeys(("w", "week", "weeks"), 7 * 86_400_000.0),
}
_SIZES = {
    unit: float(1 << shift)
    for letter, shift in (("k", 10), ("m", 20), ("g", 30), ("t", 40))
    for unit in (letter, f"{letter}b", f"{letter}ib")
} | {"b": 1.0}


def near_word(word: str, known: Iterable[str], *, cutoff: float = 0.7) -> str | None:
    """Which of the known words was probably meant.

    >>> near_word("tiemout_ms", ["timeout_ms", "type"]), near_word("maxAttempts", ["max_attempts"])
    ('timeout_ms', 'max_attempts')
    >>> near_word("aks", ["build", "ask"])
    'ask'
    >>> near_word("cron", ["config", "version"]) is None
    True
    """
    from difflib import get_close_matches  # noqa: PLC0415 - 5 ms that a file without mistakes does not cost

    words = list(known)
    by_form = {_form(each): each for each in reversed(words)}
    if (same := by_form.get(_form(word))) is not None:
        return same
    close = get_close_matches(word.lower(), [each.lower() for each in words], n=1, cutoff=cutoff)
    if close:
        return next(each for each in words if each.lower() == close[0])
    # A short word of which two letters changed places is not half like itself.
    return next((each for each in words if sorted(_form(each)) == sorted(_form(word))), None)


def _form(word: str) -> str:
    return re.sub(r"[-_ .]", "", word).lower()


def number(text: str, key: str = "") -> int | None:
    """The whole number that a text means, in the unit that the key's name ends with.

    >>> number("5m", "timeout_ms"), number("1h30m", "delay_ms"), number("90 seconds", "cpu_time_s"), number("5", "x_ms")
    (300000, 5400000, 90, 5)
    >>> number("512MB", "memory_bytes"), number("12"), number("soon", "delay_ms"), number("5m", "priority")
    (536870912, 12, None, None)
    """
    units: dict[str, float] = {}
    if key.endswith("_ms"):
        units = _TIMES_MS
    elif key.endswith("_s"):
        units = {unit: value / 1_000 for unit, value in _TIMES_MS.items()}
    elif key.endswith("_bytes"):
        units = _SIZES
    total, at = 0.0, 0
    while found := _PART.match(text, at):
        factor = 1.0 if found[2] is None else units.get(found[2].lower())
        if factor is None or (found[2] is None and (at or found.end() < len(text.rstrip()))):
            return None
        total, at = total + float(found[1]) * factor, found.end()
    # A number of hundreds of digits is infinite as a double.
    return int(total) if at and not text[at:].strip() and total < 1 << 53 else None
