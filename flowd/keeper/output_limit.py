"""The limit of a step's output: how often sizes are looked at, what counts as a flood, and the cut at the end.

Both executors keep the limit by these rules: the keeper by itself, and the daemon for steps under systemd.
"""

from __future__ import annotations

import os

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable

TICK_S = 0.25
"""How often output sizes are looked at. A step that writes as fast as it can fills about 0.5 GB meanwhile."""
FLOOD_FACTOR = 4
"""A step that goes on writing while it is being ended for its output gets no grace beyond this many times the limit."""


def size_bytes(paths: Iterable[str]) -> int:
    """The size of the largest of these files; 0 where there is none."""
    return max((_size_bytes(path) for path in paths), default=0)


def total_bytes(paths: Iterable[str]) -> int:
    """The size of all these files together."""
    return sum(map(_size_bytes, paths))


def is_flood(output_bytes: int, max_output_bytes: int) -> bool:
    """Whether a step that is being ended for its output is to be killed at once.

    >>> is_flood(4000, 1000), is_flood(4001, 1000)
    (False, True)
    """
    return output_bytes > max_output_bytes * FLOOD_FACTOR


def cut(paths: Iterable[str], max_output_bytes: int) -> bool:
    """Cut files to the limit when their step has ended. True when one was larger, which may be seen here first."""
    is_over_limit = False
    for path in paths:
        if _size_bytes(path) > max_output_bytes:
            is_over_limit = True
            try:
                os.truncate(path, max_output_bytes)
            except OSError:
                pass
    return is_over_limit


def _size_bytes(path: str) -> int:
    try:
        return os.stat(path).st_size
    except OSError:
        return 0
