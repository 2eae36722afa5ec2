"""Writes the lines by which a step tells flowd something."""

from __future__ import annotations

import os
import sys

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping
    from typing import Any

MAX_RESULT_BYTES = 1024 * 1024
"""flowd reads no longer line as a result."""


def line(token: str, members: Mapping[str, Any]) -> bytes:
    """The line that says this.

    Raises:
        ValueError: It cannot be written as JSON, or is longer than flowd reads.
    """
    import json  # noqa: PLC0415 - see read_stdin

    try:
        text = json.dumps(members, ensure_ascii=False, allow_nan=False, separators=(",", ":"))
    except (TypeError, ValueError, RecursionError) as error:
        raise ValueError(f"the result cannot be written as JSON: {error}") from None
    found = f"{token} {text}\n".encode("utf-8", "replace")
    if len(found) > MAX_RESULT_BYTES:
        raise ValueError(
            f"the result has {len(found)} bytes as JSON; {MAX_RESULT_BYTES} is the most."
            " Write what is large into a file and name it in artifacts"
        )
    return found


def write(found: bytes) -> None:
    """Put the line on stdout, behind all that was printed, past Python's buffers and whatever stands in for them."""
    try:
        sys.stdout.flush()
    except (OSError, ValueError, AttributeError):
        pass  # the step closed or replaced it
    rest = memoryview(found)
    try:
        while rest:
            try:
                rest = rest[os.write(1, rest) :]
            except BlockingIOError:
                _wait_for_room()
    except BrokenPipeError:
        pass  # nobody reads; the exit code still tells


def _wait_for_room() -> None:
    """Wait until the pipe takes more: a program that the step has started, such as Node, may have made it one that does
    not wait, for all that share it."""
    import select  # noqa: PLC0415 - hardly anybody needs it

    select.select([], [1], [])
