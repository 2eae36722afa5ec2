"""Whether the journal tells the lives of runs in an order in which they can have been lived."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Iterator

_FINAL = ("completed", "failed", "canceled")

Row = tuple[str, str, str | None, int | None]
"""Of the journal: its kind, the run's or the event's id, a status, and an attempt that began or ended."""


def breaks(rows: Iterable[Row]) -> Iterator[tuple[str, str]]:
    """Each thing that cannot be: what it counts as, and a sentence. The rows are in the order of the journal.

    >>> run = [("event", "e1", None, None), ("run", "r1", "queued", None), ("run", "r1", "running", 1)]
    >>> list(breaks([*run, ("run", "r1", "queued", 1), ("run", "r1", "running", 2), ("run", "r1", "completed", 2)]))
    []
    >>> list(breaks([*run, ("run", "r1", "queued", None), ("run", "r1", "running", 1)]))  # given back
    []
    >>> list(breaks([*run, ("run", "r1", "failed", 1), ("run", "r1", "completed", 1)]))
    [('fenced', 'r1 ended a second time: queued, running 1, failed 1, completed 1')]
    >>> list(breaks([*run, ("run", "r1", "running", 2)]))
    [('doubled', 'r1 began while it ran: queued, running 1, running 2')]
    >>> list(breaks([("run", "r1", "running", 1)]))
    [('gaps', 'r1 is told first as running 1')]
    """
    lives: dict[str, list[tuple[str, int | None]]] = defaultdict(list)
    for kind, name, status, attempt in rows:
        if kind == "run":
            lives[name].append((status or "", attempt))
    for run_id, life in lives.items():
        found = _break(life)
        if found is not None:
            yield found[0], f"{run_id} {found[1]}"


def _break(life: list[tuple[str, int | None]]) -> tuple[str, str] | None:
    story = [f"{status} {attempt or ''}".strip() for status, attempt in life]
    if life[0][0] != "queued":
        return "gaps", f"is told first as {story[0]}"
    under_way: int | None = None
    has_ended = False
    for number, (status, attempt) in enumerate(life):
        so_far = ", ".join(story[: number + 1])
        if has_ended:
            return "fenced", f"ended a second time: {so_far}"
        if status == "running" and attempt is not None:
            if under_way is not None:
                return "doubled", f"began while it ran: {so_far}"
            under_way = attempt
        elif status != "running":
            if attempt is not None and attempt != under_way:
                return "fenced", f"an attempt ended that did not run: {so_far}"
            under_way, has_ended = None, status in _FINAL
    return None
