"""Lays a graph out from left to right, in layers; `flowd.page.drawing` draws it.

The usual four steps (Sugiyama and others, 1981): break circles, put each node behind all that lead to it, order the
layers so that few lines cross, and place the nodes near what they are joined to. Pure, and the same for the same graph.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from itertools import pairwise
from typing import NamedTuple

MAX_NODES = 150
"""What a person can look at. Pages say how many they left out."""

NODE_WIDTH, NODE_HEIGHT = 152, 46
_GAP_X, _GAP_Y, _MARGIN = 38, 14, 8
_BEND_HEIGHT = 10
_MAX_BENDS = 500
"""Lines over several layers go round what is between as long as there are not too many of them."""
_SWEEPS = 6


class Edge(NamedTuple):
    """A line from one node to another. ``kind`` is its class in the drawing."""

    source: str
    target: str
    kind: str = "need"


class Point(NamedTuple):
    """A place in the drawing."""

    x: float
    y: float


@dataclass(frozen=True, slots=True)
class Layout:
    """Where everything is.

    Attributes:
        at: The upper left corner of each node.
        lines: For each edge that joins two nodes, what it goes through: its ends, and the bends between. It ends at its
            target, also where that is on the left.
    """

    at: Mapping[str, Point]
    lines: Sequence[tuple[Edge, tuple[Point, ...]]]
    width: float
    height: float


@dataclass(slots=True)
class _Layers:
    """Nodes and bends by layer. Names of bends are tuples, so that no node has one."""

    rows: list[list[object]]
    before: dict[object, list[object]] = field(default_factory=dict)
    after: dict[object, list[object]] = field(default_factory=dict)

    def join(self, source: object, target: object) -> None:
        self.after.setdefault(source, []).append(target)
        self.before.setdefault(target, []).append(source)


@lru_cache(maxsize=64)  # live pages draw the same graph again and again, in other colours
def layout(nodes: tuple[str, ...], edges: tuple[Edge, ...]) -> Layout:
    """Place the nodes. Edges to nodes that are not there are left out; a node's edge to itself is not drawn."""
    known = dict.fromkeys(nodes)
    joined = list(
        dict.fromkeys(edge for edge in edges if edge.source in known and edge.target in known and edge[0] != edge[1])
    )
    forward = _without_circles(known, joined)
    ranks = _ranks(known, [ends for ends, _ in forward])
    layers, chains = _layered(known, ranks, forward)
    _order(layers)
    centre = _centres(layers)
    at = {
        name: Point(_MARGIN + rank * (NODE_WIDTH + _GAP_X), centre[name] - NODE_HEIGHT / 2)
        for name, rank in ranks.items()
    }
    lines = [
        (edge, _line(at, chain, centre, ranks, is_turned=edge.source != chain[0]))
        for edge, chain in zip((edge for _, edge in forward), chains, strict=True)
    ]
    width = max((point.x for point in at.values()), default=0) + NODE_WIDTH + _MARGIN
    height = max((y for y in centre.values()), default=0) + NODE_HEIGHT / 2 + _MARGIN
    return Layout(at, lines, width, height)


def _without_circles(nodes: Iterable[str], edges: Sequence[Edge]) -> list[tuple[tuple[str, str], Edge]]:
    """The edges with their ends in an order that has no circle: those that lead back are turned."""
    targets: dict[str, list[str]] = {}
    for edge in edges:
        targets.setdefault(edge.source, []).append(edge.target)
    back: set[tuple[str, str]] = set()
    done: set[str] = set()
    for start in nodes:
        if start in done:
            continue
        path = {start: iter(targets.get(start, ()))}  # in order: the way from the start to here
        while path:
            here, rest = next(reversed(path.items()))
            target = next(rest, None)
            if target is None:
                path.popitem()
                done.add(here)
            elif target in path:
                back.add((here, target))
            elif target not in done:
                path[target] = iter(targets.get(target, ()))
    return [
        ((edge.target, edge.source) if (edge.source, edge.target) in back else (edge.source, edge.target), edge)
        for edge in edges
    ]


def _ranks(nodes: Iterable[str], ends: Iterable[tuple[str, str]]) -> dict[str, int]:
    """Each node's layer: behind all that lead to it."""
    ranks = dict.fromkeys(nodes, 0)
    after: dict[str, list[str]] = {}
    left = dict.fromkeys(ranks, 0)
    for source, target in ends:
        after.setdefault(source, []).append(target)
        left[target] += 1
    free = [name for name, count in left.items() if count == 0]
    for name in free:  # it grows while it is gone through
        for target in after.get(name, ()):
            ranks[target] = max(ranks[target], ranks[name] + 1)
            left[target] -= 1
            if left[target] == 0:
                free.append(target)
    return ranks


def _layered(
    nodes: Iterable[str], ranks: Mapping[str, int], forward: Sequence[tuple[tuple[str, str], Edge]]
) -> tuple[_Layers, list[list[object]]]:
    """The layers, with a bend in each that an edge passes; and what each edge goes through."""
    layers = _Layers([[] for _ in range(max(ranks.values(), default=-1) + 1)])
    for name in nodes:
        layers.rows[ranks[name]].append(name)
    passes = sum(ranks[target] - ranks[source] - 1 for (source, target), _ in forward)
    chains: list[list[object]] = []
    for number, ((source, target), _) in enumerate(forward):
        passed = range(ranks[source] + 1, ranks[target]) if passes <= _MAX_BENDS else ()
        chain: list[object] = [source, *((number, rank) for rank in passed), target]
        for rank in passed:
            layers.rows[rank].append((number, rank))
        for one, other in pairwise(chain):
            layers.join(one, other)
        chains.append(chain)
    return layers, chains


def _order(layers: _Layers) -> None:
    """Bring each layer into the order of the middles of what it is joined to, to and fro."""
    place = {name: float(at) for row in layers.rows for at, name in enumerate(row)}
    for sweep in range(_SWEEPS):
        joined = layers.before if sweep % 2 == 0 else layers.after
        for row in layers.rows if sweep % 2 == 0 else reversed(layers.rows):
            middles = {name: _mean([place[other] for other in joined.get(name, ())], place[name]) for name in row}
            row.sort(key=middles.__getitem__)
            place.update((name, float(at)) for at, name in enumerate(row))


def _centres(layers: _Layers) -> dict[object, float]:
    """How far down the middle of each node and bend is."""
    centre = {name: at for row in layers.rows for name, at in zip(row, _offsets(row), strict=True)}
    for sweep in range(_SWEEPS):
        joined = layers.before if sweep % 2 == 0 else layers.after
        for row in layers.rows if sweep % 2 == 0 else reversed(layers.rows):
            wanted = [_mean([centre[other] for other in joined.get(name, ())], centre[name]) for name in row]
            centre.update(zip(row, _apart(wanted, _offsets(row)), strict=True))
    top = min((centre[name] - _height(name) / 2 for row in layers.rows for name in row), default=0)
    return {name: at - top + _MARGIN for name, at in centre.items()}


def _offsets(row: Sequence[object]) -> list[float]:
    """The middles of a layer's nodes where these stand as close as they may."""
    found: list[float] = []
    at = 0.0
    for name in row:
        found.append(at + _height(name) / 2)
        at += _height(name) + _GAP_Y
    return found


def _apart(wanted: Sequence[float], offsets: Sequence[float]) -> list[float]:
    """The places nearest to those wanted (least squares) that are in order and far enough from each other.

    >>> _apart([10, 10, 50], [0, 20, 40])
    [0.0, 20.0, 50.0]
    """
    blocks: list[tuple[float, int]] = []  # of neighbours that touch: the mean of where they want to begin, how many
    for want, offset in zip(wanted, offsets, strict=True):
        blocks.append((float(want - offset), 1))
        while len(blocks) > 1 and blocks[-2][0] >= blocks[-1][0]:
            (mean, count), (other, others) = blocks.pop(), blocks.pop()
            blocks.append(((mean * count + other * others) / (count + others), count + others))
    begins = [mean for mean, count in blocks for _ in range(count)]
    return [begin + offset for begin, offset in zip(begins, offsets, strict=True)]


def _line(
    at: Mapping[str, Point],
    chain: Sequence[object],
    centre: Mapping[object, float],
    ranks: Mapping[str, int],
    *,
    is_turned: bool,
) -> tuple[Point, ...]:
    first, *bends, last = chain
    points = [Point(at[str(first)].x + NODE_WIDTH, centre[first])]
    for rank, bend in enumerate(bends, ranks[str(first)] + 1):
        x = _MARGIN + rank * (NODE_WIDTH + _GAP_X)
        points += [Point(x, centre[bend]), Point(x + NODE_WIDTH, centre[bend])]
    points.append(Point(at[str(last)].x, centre[last]))
    return tuple(reversed(points) if is_turned else points)


def _height(name: object) -> float:
    return NODE_HEIGHT if isinstance(name, str) else _BEND_HEIGHT


def _mean(values: Sequence[float], otherwise: float) -> float:
    return sum(values) / len(values) if values else otherwise
