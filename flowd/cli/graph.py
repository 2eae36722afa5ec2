"""Draws the steps of a flow as people read them: each below one that it needs."""

from collections.abc import Callable, Mapping, Sequence
from graphlib import CycleError, TopologicalSorter

from flowd.cli.printing import clean


def draw(needs: Mapping[str, Sequence[str]]) -> list[tuple[str, str]]:
    """Each step once, with the lines that lead to it; below the last of those that it needs, by their distance.

    Args:
        needs: The names of those that each step needs, in the order of the flow.

    >>> diamond = {"checkout": (), "test": ("checkout",), "build": ("checkout",), "publish": ("test", "build")}
    >>> print("\\n".join(lines + name for lines, name in draw(diamond)))
    checkout
    ├─ test
    └─ build
       └─ publish
    """
    below: dict[str | None, list[str]] = {}
    parents = _parents(needs)
    for name in needs:
        below.setdefault(parents[name], []).append(name)
    drawn: list[tuple[str, str]] = []
    left = [("", "", name) for name in reversed(below.get(None, []))]
    while left:
        above, joint, name = left.pop()
        drawn.append((above + joint, name))
        inner = above + {"": "", "├─ ": "│  ", "└─ ": "   "}[joint]
        for place, child in enumerate(reversed(below.get(name, []))):
            left.append((inner, "├─ " if place else "└─ ", child))
    return drawn


def lines(needs: Mapping[str, Sequence[str]], beside: Callable[[str], str]) -> list[str]:
    """The drawing, with a text beside each step; see `draw`."""
    drawn = [(clean(lead + name), name) for lead, name in draw(needs)]
    width = max((len(text) for text, _ in drawn), default=0)
    return [f"{text.ljust(width)}  {beside(name)}".rstrip() for text, name in drawn]


def _parents(needs: Mapping[str, Sequence[str]]) -> dict[str, str | None]:
    """Below which step each is drawn; None is at the left edge."""
    known = {name: [need for need in theirs if need in needs] for name, theirs in needs.items()}
    try:
        order = list(TopologicalSorter(known).static_order())
    except CycleError:  # a daemon that sends such a flow is none of ours
        return dict.fromkeys(needs)
    depths: dict[str, int] = {}
    parents: dict[str, str | None] = {}
    for name in order:
        # Of equally deep ones the last.
        parent = max(reversed(known[name]), key=depths.__getitem__, default=None)
        parents[name] = parent
        depths[name] = 0 if parent is None else depths[parent] + 1
    return parents
