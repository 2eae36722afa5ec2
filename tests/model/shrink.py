"""Makes a sequence that shows something shorter, as long as it shows anything."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import TypeVar

from model.acts import Sequence

Found = TypeVar("Found", bound=Exception)

_TRIES = 400


def shortest(sequence: Sequence, found: Found, look: Callable[[Sequence], Found | None]) -> Found:
    """Leave out acts, large parts first, and then the deaths, while there is still something to be found.

    Args:
        look: Plays a sequence; None where it shows nothing.
    """
    tries = 0
    size = max(1, len(sequence.acts) // 2)
    while tries < _TRIES:
        at, has_shrunk = 0, False
        while at < len(sequence.acts) and tries < _TRIES:
            shorter = replace(sequence, acts=sequence.acts[:at] + sequence.acts[at + size :])
            tries += 1
            difference = look(shorter)
            if difference is None:
                at += size
            else:
                sequence, found, has_shrunk = shorter, difference, True
        if size == 1 and not has_shrunk:
            break
        size = max(1, size // 2)
    return _without_deaths(sequence, found, look)


def _without_deaths(sequence: Sequence, found: Found, look: Callable[[Sequence], Found | None]) -> Found:
    for at, act in enumerate(sequence.acts):
        if act.dies is not None:
            acts = (*sequence.acts[:at], replace(act, dies=None), *sequence.acts[at + 1 :])
            difference = look(replace(sequence, acts=acts))
            if difference is not None:
                sequence, found = replace(sequence, acts=acts), difference
    return found
