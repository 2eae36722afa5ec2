"""Draws a graph that `flowd.page.graph` has laid out, as SVG without styles and scripts: what it looks like is said by
classes."""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Literal

from markupsafe import Markup

from flowd.page.graph import MAX_NODES, NODE_HEIGHT, NODE_WIDTH, Edge, Layout, Point, layout
from flowd.page.words import visible

_TITLE_CHARACTERS, _NOTE_CHARACTERS = 18, 23


@dataclass(frozen=True, slots=True)
class Node:
    """A node to be drawn.

    Attributes:
        note: A second, smaller line.
        kind: What it is: ``trigger`` and ``next`` are events that are not there yet.
        status: Of a step, a word that the stylesheet has a colour and a sign for.
        link: Where it leads.
    """

    id: str
    title: str
    note: str = ""
    kind: Literal["event", "step", "trigger", "next"] = "step"
    status: str = ""
    link: str | None = None


def draw(nodes: Sequence[Node], edges: Sequence[Edge], label: str) -> Markup:
    """The graph, or its first `MAX_NODES` nodes. ``label`` is what it is called for those who do not see it."""
    shown = nodes[:MAX_NODES]
    placed = layout(tuple(node.id for node in shown), tuple(edges))
    return Markup(
        '<svg class="graph" role="group" aria-label="{}" width="{w}" height="{h}" viewBox="0 0 {w} {h}">{}{}</svg>'
    ).format(label, _lines(placed), _boxes(shown, placed), w=round(placed.width), h=round(placed.height))


def _lines(placed: Layout) -> Markup:
    drawn = (
        Markup('<path class="edge e-{}" d="{}"/><path class="tip e-{}" d="{}"/>').format(
            edge.kind, _curve(points), edge.kind, _tip(points)
        )
        for edge, points in placed.lines
    )
    return Markup('<g aria-hidden="true">{}</g>').format(Markup("").join(drawn))


def _curve(points: Sequence[Point]) -> str:
    """A line that leaves and comes to every point level, so that it bends between layers and nowhere else."""
    parts = [f"M{points[0].x:.0f} {points[0].y:.0f}"]
    for one, other in pairwise(points):
        middle = (one.x + other.x) / 2
        parts.append(f"C{middle:.0f} {one.y:.0f} {middle:.0f} {other.y:.0f} {other.x:.0f} {other.y:.0f}")
    return "".join(parts)


def _tip(points: Sequence[Point]) -> str:
    end = points[-1]
    back = -7 if points[-2].x <= end.x else 7
    return f"M{end.x:.0f} {end.y:.0f}l{back} -4v8z"


def _boxes(nodes: Sequence[Node], placed: Layout) -> Markup:
    return Markup("").join(_box(node, placed.at[node.id]) for node in nodes)


def _box(node: Node, at: Point) -> Markup:
    x, y = round(at.x), round(at.y)
    said = visible(" · ".join(filter(None, [node.title, "" if node.status in node.note else node.status, node.note])))
    inside = Markup(
        '<title>{}</title><rect x="{}" y="{}" width="{}" height="{}" rx="7"/>'
        '<text class="t" x="{}" y="{}">{}</text><text class="n" x="{}" y="{}">{}</text>'
    ).format(
        said,
        *(x, y, NODE_WIDTH, NODE_HEIGHT),
        *(x + 10, y + 19, _cut(node.title, _TITLE_CHARACTERS)),
        *(x + 10, y + 36, _cut(node.note, _NOTE_CHARACTERS)),
    )
    classes = f"node k-{node.kind}" + (f" s-{node.status}" if node.status else "")
    if node.link is None:
        return Markup('<g class="{}">{}</g>').format(classes, inside)
    return Markup('<a class="{}" href="{}" aria-label="{}">{}</a>').format(classes, node.link, said, inside)


def _cut(text: str, length: int) -> str:
    text = visible(text)
    return text if len(text) <= length else text[: length - 1] + "…"
