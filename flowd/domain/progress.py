"""What a step says of how far it is: the FLOW_PROGRESS line and how it is found and read."""

import json
import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace

TOKEN = b"FLOW_PROGRESS "
"""Marks a progress line, at any column; the one space belongs to it."""

MAX_LINE_BYTES = 8 * 1024
"""Longer lines say nothing."""

MAX_MESSAGE_CHARS = 500
"""More of a message is cut."""

_ENDLESS = (math.inf, -math.inf)
"""JSON knows no such numbers, but 1e999 is read as one."""

_MAX_TRIES = 10
"""Lines with the token and nothing readable behind it that are looked at, from the last one back. The dearest ones take
less than a millisecond together."""


@dataclass(frozen=True, slots=True)
class Progress:
    """How far a running step is.

    Attributes:
        percent: From 0 to 100; None where it says none.
        message: None where it says none.
    """

    percent: float | None = None
    message: str | None = None

    def shown(self, mask: Callable[[str], str]) -> "Progress":
        """With a message of `MAX_MESSAGE_CHARS` at most. ``mask`` takes secrets out of it before it is cut, for the
        beginning of one is not recognised."""
        if self.message is None:
            return self
        text = mask(self.message)
        return replace(self, message=text if len(text) <= MAX_MESSAGE_CHARS else f"{text[: MAX_MESSAGE_CHARS - 1]}…")


def last(output: bytes) -> Progress | None:
    """What the last whole line of it says that says anything; None where none does.

    >>> last(b'FLOW_PROGRESS {"percent": 40}\\n50 of 80 FLOW_PROGRESS {"message": "pulled"}\\nFLOW_PROGRESS {"perc')
    Progress(percent=None, message='pulled')
    """
    end = output.rfind(b"\n")
    for _ in range(_MAX_TRIES):
        at = output.rfind(TOKEN, 0, max(0, end))
        if at < 0:
            return None
        line_end = output.find(b"\n", at)
        said = parse(output[at + len(TOKEN) : line_end]) if line_end - at <= MAX_LINE_BYTES else None
        if said is not None:
            return said
        end = at
    return None


def parse(text: bytes) -> Progress | None:
    """Read what stands behind the token; None where it is no JSON object. A member of another kind counts as absent.

    >>> parse(b'{"percent": 140, "message": 7, "more": []}'), parse(b"40")
    (Progress(percent=100, message=None), None)
    """
    try:
        said = json.loads(text.decode("utf-8", "replace"), parse_constant=lambda _: None)
    except (ValueError, RecursionError):
        return None
    if not isinstance(said, Mapping):
        return None
    return Progress(_percent(said.get("percent")), _message(said.get("message")))


def _percent(value: object) -> float | None:
    if isinstance(value, bool) or not isinstance(value, int | float) or value in _ENDLESS:
        return None
    return max(0, min(100, value))


def _message(value: object) -> str | None:
    if not isinstance(value, str) or not value.strip():
        return None
    # A lone surrogate is legal in a JSON escape and in no UTF-8 text.
    return " ".join(value.encode("utf-8", "replace").decode().split())
