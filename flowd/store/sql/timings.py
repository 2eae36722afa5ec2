"""Writes what runs ask of times as JSON into a column, and reads it back."""

import json
from functools import lru_cache

from flowd.domain.timing import Timing, WantedQuiet

_encode = json.JSONEncoder(ensure_ascii=False, separators=(",", ":")).encode


@lru_cache(maxsize=1024)  # Many runs ask for the same.
def written(timing: Timing | None) -> str | None:
    """As it is stored; None for nothing."""
    if timing is None:
        return None
    quiet = timing.quiet
    members = {
        "delay": timing.delay_ms or None,
        "notBefore": timing.not_before_ms,
        "queue": timing.queue_timeout_ms,
        "quiet": None if quiet is None else [quiet.key, quiet.quiet_ms, quiet.max_ms],
    }
    return _encode({name: value for name, value in members.items() if value is not None})


@lru_cache(maxsize=1024)
def read(text: str) -> Timing:
    """As it was stored."""
    members = json.loads(text)
    quiet = members.get("quiet")
    return Timing(
        delay_ms=members.get("delay", 0),
        not_before_ms=members.get("notBefore"),
        queue_timeout_ms=members.get("queue"),
        quiet=None if quiet is None else WantedQuiet(*quiet),
    )
