"""The drawing of a flow's steps."""

from flowd.cli import graph


def drawn(**needs: tuple[str, ...]) -> list[str]:
    return [lines + name for lines, name in graph.draw(needs)]


def test_steps_without_needs_stand_at_the_left_in_the_order_of_the_flow() -> None:
    assert drawn(b=(), a=()) == ["b", "a"]


def test_a_step_stands_once_below_the_deepest_of_its_needs_and_of_equal_ones_the_last() -> None:
    assert drawn(a=(), x=(), b=("a",), c=("a", "b", "x"), d=("x", "a"), e=("c",)) == [
        "a",
        "├─ b",
        "│  └─ c",
        "│     └─ e",
        "└─ d",
        "x",
    ]


def test_a_need_that_is_no_step_and_a_circle_draw_no_lines() -> None:
    assert drawn(a=("gone",)) == ["a"]
    assert drawn(a=("b",), b=("a",)) == ["a", "b"]


def test_a_line_of_a_thousand_steps_is_drawn() -> None:
    names = [f"s{number}" for number in range(1000)]
    line = {name: (names[place - 1],) if place else () for place, name in enumerate(names)}
    assert graph.draw(line)[-1][1] == "s999"


def test_texts_stand_beside_the_names_in_a_column() -> None:
    assert graph.lines({"checkout": (), "b": ("checkout",)}, lambda name: name.upper()) == [
        "checkout  CHECKOUT",
        "└─ b      B",
    ]
