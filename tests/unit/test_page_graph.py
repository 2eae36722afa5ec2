"""Layouts of graphs: layers, circles, and that nothing lies on anything else."""

import re
from itertools import combinations, pairwise

from hypothesis import given
from hypothesis import strategies as st

from flowd.page.drawing import Node, draw
from flowd.page.graph import MAX_NODES, NODE_HEIGHT, NODE_WIDTH, Edge, layout

NAMES = tuple("abcdefgh")
graphs = st.lists(st.builds(Edge, st.sampled_from(NAMES), st.sampled_from(NAMES)), max_size=30).map(tuple)


def test_a_node_is_to_the_right_of_all_that_lead_to_it() -> None:
    placed = layout(NAMES[:4], (Edge("a", "b"), Edge("b", "c"), Edge("a", "c"), Edge("c", "d")))
    assert placed.at["a"].x < placed.at["b"].x < placed.at["c"].x < placed.at["d"].x


def test_steps_side_by_side_are_in_one_layer() -> None:
    placed = layout(NAMES[:4], (Edge("a", "b"), Edge("a", "c"), Edge("b", "d"), Edge("c", "d")))
    assert placed.at["b"].x == placed.at["c"].x
    assert placed.at["b"].y != placed.at["c"].y


@given(graphs)
def test_no_node_lies_on_another_or_outside_and_every_line_ends_at_its_nodes(edges: tuple[Edge, ...]) -> None:
    placed = layout(NAMES, edges)
    for one, other in combinations(placed.at.values(), 2):
        assert abs(one.x - other.x) >= NODE_WIDTH or abs(one.y - other.y) >= NODE_HEIGHT
    for at in placed.at.values():
        assert at.x >= 0
        assert at.y >= 0
        assert at.x + NODE_WIDTH <= placed.width
        assert at.y + NODE_HEIGHT <= placed.height
    assert {edge for edge, _ in placed.lines} == {edge for edge in edges if edge.source != edge.target}
    for edge, points in placed.lines:
        for name, point in ((edge.source, points[0]), (edge.target, points[-1])):
            assert point.y == placed.at[name].y + NODE_HEIGHT / 2
            assert point.x in (placed.at[name].x, placed.at[name].x + NODE_WIDTH)


def test_a_line_over_a_layer_goes_round_what_is_there() -> None:
    placed = layout(("a", "b", "c"), (Edge("a", "b"), Edge("b", "c"), Edge("a", "c")))
    (long,) = [points for edge, points in placed.lines if edge == Edge("a", "c")]
    top = placed.at["b"].y
    assert all(not top <= point.y <= top + NODE_HEIGHT for point in long[1:-1])
    assert len(long) == 4


def test_a_circle_is_drawn_with_one_line_that_leads_back() -> None:
    placed = layout(("a", "b", "c"), (Edge("a", "b"), Edge("b", "c"), Edge("c", "a")))
    leading_back = [edge for edge, points in placed.lines if points[-1].x < points[0].x]
    assert leading_back == [Edge("c", "a")]


def test_a_chain_of_thousands_is_laid_out() -> None:
    names = tuple(map(str, range(3000)))
    placed = layout(names, tuple(Edge(one, other) for one, other in pairwise(names)))
    assert len({at.y for at in placed.at.values()}) == 1


def test_names_are_text_in_the_drawing_and_never_markup() -> None:
    hostile = '"><script>alert(1)</script>'
    drawn = draw([Node(hostile, hostile, hostile, link=f"/ui/{hostile}")], [], hostile)
    assert "<script" not in drawn
    assert 'href="/ui/&#34;&gt;&lt;script&gt;' in drawn


def test_a_drawing_says_of_each_node_how_it_is_and_leads_to_it() -> None:
    drawn = draw([Node("a", "build", "failed · 3 s", status="failed", link="/ui/runs/r1")], [], "Steps")
    assert 'href="/ui/runs/r1" aria-label="build · failed · 3 s"' in drawn
    assert "style=" not in drawn


def test_a_drawing_has_as_many_nodes_as_one_can_look_at() -> None:
    drawn = draw([Node(str(number), str(number)) for number in range(MAX_NODES + 50)], [], "Steps")
    assert len(re.findall("<rect ", drawn)) == MAX_NODES
