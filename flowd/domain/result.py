"""What a step says: the FLOW_RESULT line and how it is found and read."""

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from enum import StrEnum

TOKEN = b"FLOW_RESULT "
"""Marks a result line, at any column; the one space belongs to it."""

MAX_RESULT_BYTES = 1024 * 1024
"""The longest line that is read as a result."""

_CHUNK_BYTES = 64 * 1024


class ResultStatus(StrEnum):
    """What a step may say of itself."""

    SKIPPED = "skipped"
    COMPLETED = "completed"
    CHANGED = "changed"
    NEEDS_INTERVENTION = "needs_intervention"
    BLOCKED = "blocked"
    FAILED = "failed"


_STATUSES = frozenset(status.value for status in ResultStatus)


@dataclass(frozen=True, slots=True)
class FlowResult:
    """A valid result.

    Attributes:
        status: One of `ResultStatus`.
        text: The whole object as compact JSON, every member kept.
    """

    status: str
    text: str

    @property
    def value(self) -> Mapping[str, object]:
        """The object itself."""
        value: Mapping[str, object] = json.loads(self.text)
        return value


@dataclass(frozen=True, slots=True)
class MalformedResult:
    """A last FLOW_RESULT line that is not one.

    Attributes:
        error: What is wrong, as the end of a sentence.
    """

    error: str


def find(read: Callable[[int, int], bytes], size: int) -> FlowResult | MalformedResult | None:
    """Read the last FLOW_RESULT line of an output of ``size`` bytes, or None where there is none.

    Reads backwards in chunks, so an output of any size costs what lies behind its last result line.

    Args:
        read: ``read(offset, count)`` gives ``count`` bytes from ``offset``.
        size: Length of the output in bytes.
    """
    at = _last_token(read, size)
    if at is None:
        return None
    start = max(0, at - MAX_RESULT_BYTES)
    window = read(start, min(size, at + MAX_RESULT_BYTES) - start)
    line_start = window.rfind(b"\n", 0, at - start) + 1
    line_end = window.find(b"\n", at - start)
    if line_end < 0 and start + len(window) < size:
        return MalformedResult(f"the line is longer than {MAX_RESULT_BYTES} bytes")
    line = window[line_start : line_end if line_end >= 0 else None]
    return parse(line[line.index(TOKEN) + len(TOKEN) :])


def _last_token(read: Callable[[int, int], bytes], size: int) -> int | None:
    end = size
    while end > 0:
        start = max(0, end - _CHUNK_BYTES)
        # Overlap by a token's length less one, so that a token across a chunk's edge is found.
        chunk = read(start, min(size, end + len(TOKEN) - 1) - start)
        found = chunk.rfind(TOKEN)
        if found >= 0:
            return start + found
        end = start
    return None


def parse(text: bytes) -> FlowResult | MalformedResult:
    """Read what stands behind the token: exactly one JSON object with a valid status.

    >>> parse(b'{"status": "changed", "n": 1}')
    FlowResult(status='changed', text='{"status":"changed","n":1}')
    >>> parse(b'[1]')
    MalformedResult(error='it must be a JSON object')
    >>> parse(b'{status: completed}').error.partition("; ")[2]
    'a shell takes quotes away unless the line stands in single ones'
    """
    if len(text) > MAX_RESULT_BYTES:
        return MalformedResult(f"the line is longer than {MAX_RESULT_BYTES} bytes")
    try:
        value = _decode(text.decode("utf-8", "replace").strip())
        compact = _encode(value)
    except RecursionError:
        return MalformedResult("it is nested too deeply")
    except ValueError as error:
        quotes = "" if b'"' in text else "; a shell takes quotes away unless the line stands in single ones"
        return MalformedResult(f"it is not one JSON value ({error}){quotes}")
    if not isinstance(value, dict):
        return MalformedResult("it must be a JSON object")
    status = value.get("status")
    if not isinstance(status, str) or status not in _STATUSES:
        return MalformedResult(f"status is invalid; it must be one of {', '.join(ResultStatus)}")
    # A lone surrogate is legal in a JSON escape and in no UTF-8 text.
    return FlowResult(status, compact.encode("utf-8", "replace").decode())


def spell(value: Mapping[str, object]) -> str:
    """A result of flowd's own as compact JSON."""
    return _encode(value)


def _refuse_constant(name: str) -> object:
    raise ValueError(f"{name} is not JSON")


# Made once: `json.loads` and `json.dumps` make theirs anew with each call that has arguments.
_decode = json.JSONDecoder(parse_constant=_refuse_constant).decode
_encode = json.JSONEncoder(ensure_ascii=False, separators=(",", ":"), allow_nan=False).encode
