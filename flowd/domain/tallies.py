"""Counts that only grow, as cheap as counting can be: whoever looks at them does the rest.

Nothing here is safe in threads beyond this: one thread counts, and another one that looks sees figures that were true
at some moment just now, though not all at the same.
"""

from bisect import bisect_left
from collections.abc import Iterable, Iterator, Sequence
from heapq import nlargest

MAX_NAMED = 100
"""Flows that have counts of their own; those of all others stand together. So there are never too many series."""

OTHERS = "other"
"""The name that those stand under. A flow that is called so is among them."""

AT_ONCE = 500
"""Counts that are taken in before others get their turn: a fraction of a millisecond."""


class Histogram:
    """How many values were at most so large.

    >>> durations = Histogram((0.1, 1.0))
    >>> for value in (0.05, 0.1, 0.5, 7):
    ...     durations.add(value)
    >>> durations.up_to(), durations.total
    ([2, 3, 4], 7.65)
    """

    __slots__ = ("_counts", "bounds", "total")

    def __init__(self, bounds: Sequence[float]) -> None:
        """``bounds`` rise; what is larger than the last one is counted as well."""
        self.bounds = tuple(bounds)
        self._counts = [0] * (len(self.bounds) + 1)
        self.total = 0.0
        """The sum of all values."""

    def add(self, value: float) -> None:
        """Count a value."""
        self._counts[bisect_left(self.bounds, value)] += 1
        self.total += value

    def up_to(self) -> list[int]:
        """How many values were at most as large as each bound, and how many there were."""
        reached, counts = 0, []
        for count in self._counts:
            reached += count
            counts.append(reached)
        return counts


class StoreTallies:
    """What a store counts.

    Attributes:
        commit_s: How long transactions took, from their begin until they were on disk. One serves many operations.
        operations: How many were committed.
    """

    COMMIT_S = (0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5)

    def __init__(self) -> None:
        self.commit_s = Histogram(self.COMMIT_S)
        self.operations = 0


class CatalogTallies:
    """What a catalog counts.

    Attributes:
        look_s: How long looks at the packages on disk took.
        changes: How many of these have found something to be different.
    """

    LOOK_S = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5)

    def __init__(self) -> None:
        self.look_s = Histogram(self.LOOK_S)
        self.changes = 0


class FlowTally:
    """Counts by flow, and by what else matters; of the `MAX_NAMED` busiest flows each for itself.

    Each count that is told only grows, whichever flow gets a name or loses it: what was told as `OTHERS` stays there,
    and a flow that gets its name back goes on where it was.
    """

    def __init__(self) -> None:
        self._fresh: dict[tuple[str, ...], int] = {}
        self._totals: dict[str, int] = {}
        self._named: set[str] = set()
        self._told: dict[tuple[str, ...], int] = {}

    def add(self, flow: str, *labels: str) -> None:
        """Count one."""
        key, fresh = (flow, *labels), self._fresh
        fresh[key] = fresh.get(key, 0) + 1

    def settle(self, known: Iterable[str] = ()) -> Iterator[None]:
        """Bring `told` up to date, in steps between which others may have their turn and count on.

        A flow takes the place of another one once it is half as busy again, counted from the start: names that came and
        went with every look would be of no use.

        Args:
            known: Flows that are told with 0 before there is anything to count, as far as there are names, and the
                others with them: who looks now and then would not see that a count began with 1. For counts by nothing
                but the flow.
        """
        fresh, self._fresh = self._fresh, {}
        for number, (key, count) in enumerate(fresh.items(), start=1):
            self._totals[key[0]] = self._totals.get(key[0], 0) + count
            if number % AT_ONCE == 0:
                yield
        self._give_names()
        self._tell_from_zero(known)
        for number, (key, count) in enumerate(fresh.items(), start=1):
            shown = key if key[0] in self._named else (OTHERS, *key[1:])
            self._told[shown] = self._told.get(shown, 0) + count
            if number % AT_ONCE == 0:
                yield

    def told(self) -> list[tuple[tuple[str, ...], int]]:
        """The labels, the flow's first, and how many. Those of `OTHERS` come last."""
        mine = sorted((key, count) for key, count in self._told.items() if key[0] in self._named)
        return mine + sorted((key, count) for key, count in self._told.items() if key[0] == OTHERS)

    def _tell_from_zero(self, known: Iterable[str]) -> None:
        for flow in known:
            if len(self._named) < MAX_NAMED and flow != OTHERS:
                self._named.add(flow)
            self._told.setdefault((flow if flow in self._named else OTHERS,), 0)

    def _give_names(self) -> None:
        for flow in nlargest(MAX_NAMED + 1, self._totals, key=self._totals.__getitem__):
            if flow in self._named or flow == OTHERS:
                continue
            if len(self._named) < MAX_NAMED:
                self._named.add(flow)
                continue
            least = min(self._named, key=lambda named: self._totals.get(named, 0))
            if 2 * self._totals[flow] <= 3 * self._totals.get(least, 0):
                break
            self._named.remove(least)
            self._named.add(flow)
