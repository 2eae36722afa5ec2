"""Compares what hosts have said of runs, wherever those ran, with what the store has."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import Any, NamedTuple

from crash_hosts.waiter import Told

_NEWS_WITHIN_S = 14.0
"""A host that has heard no news looks at the store by itself every few seconds."""


class End(NamedTuple):
    """How a run has ended, as the journal has it."""

    status: str
    at_s: float


def wrong_words(
    told: list[Told], ends: Mapping[str, End], was_deaf: Callable[[str, float, float], bool]
) -> Iterator[tuple[str, str]]:
    """Whoever waited for a run, and was told an end that is not its end, or was told of it long after it had ended.

    >>> told = Told("r1", "anna", 100.0, 120.0, "running", is_over=False)
    >>> list(wrong_words([told], {"r1": End("completed", 110.0)}, lambda *_: False))
    []
    >>> [counter for counter, _ in wrong_words([told], {"r1": End("completed", 102.0)}, lambda *_: False)]
    ['unheard']
    >>> list(wrong_words([told], {"r1": End("completed", 102.0)}, lambda *_: True))
    []
    >>> late = told._replace(status="completed", is_over=True)  # as it was when the time was up
    >>> [counter for counter, _ in wrong_words([late], {"r1": End("completed", 102.0)}, lambda *_: False)]
    ['unheard']
    >>> over = told._replace(status="completed", is_over=True)
    >>> [counter for counter, _ in wrong_words([over], {"r1": End("failed", 110.0)}, lambda *_: False)]
    ['lost']
    """
    for one in told:
        end = ends.get(one.run_id)
        if one.is_over and (end is None or end.status != one.status):
            yield "lost", f"{one} was told, and it ended as {end}"
        elif end is not None:
            since_s = max(one.from_s, end.at_s)
            if one.until_s > since_s + _NEWS_WITHIN_S and not was_deaf(one.host, since_s, one.until_s):
                yield "unheard", f"{one} was told, and it had ended as {end}"


def unread(run_id: str, read_on: str, output: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    """Where a host does not have the whole output of a run that has ended well.

    >>> list(unread("r1", "anna", {"eof": True, "text": 'FLOW_RESULT {"status": "changed"}'}))
    []
    >>> [counter for counter, _ in unread("r1", "anna", {"eof": False, "text": ""})]
    ['unread']
    """
    if not output.get("eof") or "FLOW_RESULT" not in output.get("text", ""):
        yield "unread", f"{read_on} has this of the output of {run_id}: {dict(output)}"
