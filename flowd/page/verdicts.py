"""What steps say to an event, as far as a page has room for it."""

from collections.abc import Mapping
from typing import Any

SHOWN = 200
_FAR = frozenset({"type", "no_trigger"})
"""Reasons of a step that has nothing to do with the event."""


def nearest(explained: Mapping[str, Any]) -> dict[str, Any]:
    """Those that match, then those that nearly do, then others; ``leftOut`` says how many there is no room for.

    >>> steps = [{"matches": why == "matched", "reason": why} for why in ("type", "schema", "matched")]
    >>> [step["reason"] for step in nearest({"steps": steps})["steps"]]
    ['matched', 'schema', 'type']
    """
    steps = sorted(explained["steps"], key=lambda step: (not step["matches"], step["reason"] in _FAR))
    return {**explained, "steps": steps[:SHOWN], "leftOut": max(0, len(steps) - SHOWN)}
