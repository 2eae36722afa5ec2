"""Terminal colours as HTML: what is shown, what is left out, and that nothing of it is markup."""

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st
from markupsafe import Markup

from flowd.page.ansi import PLAIN, Pen, html, pen_of, plain, whole_bytes

pens = st.builds(
    Pen,
    *[st.none() | st.integers(0, 15)] * 2,
    *[st.booleans()] * 6,
)


@pytest.mark.parametrize(
    ("line", "shown"),
    [
        ("\x1b[31mred\x1b[39m plain", '<span class="a1">red</span> plain'),
        ("\x1b[1;4;92mok\x1b[22;24m", '<span class="a10 bold underline">ok</span>'),
        ("\x1b[38;5;196mred", '<span class="a9">red</span>'),
        ("\x1b[38;2;0;0;250mblue", '<span class="a4">blue</span>'),
        ("\x1b[48;5;244mgrey", '<span class="b8">grey</span>'),
        ("\x1b[31;7minverse", '<span class="b1">inverse</span>'),
        ("\x1b[mreset\x1b[K\x1b[2J\x1b[10;20H", "reset"),
        ("\x1b]0;title\x07text", "text"),
        ("\x1b]8;;http://evil.example/\x1b\\link\x1b]8;;\x1b\\", "link"),
        ("a\x1b(Bb", "ab"),
        ("old\rnew", "new"),
        ("kept\r", "kept"),
        ("a\x08b\x00", "a␈b␀"),
        ("evil\u202egnp", "evil\ufffdgnp"),
        ("\x1b[38;5mhalf \x1b[38;2;1mcolours \x1b[38;9;1mof none", None),
    ],
)
def test_a_line_is_shown_as_in_a_terminal(line: str, shown: str | None) -> None:
    found, _ = html(line)
    assert found == shown if shown is not None else re.sub("<[^>]*>", "", found) == "half colours of none"


def test_a_style_goes_on_in_the_next_line() -> None:
    _, pen = html("\x1b[35mone")
    assert html("two", pen)[0] == Markup('<span class="a5">two</span>')
    assert pen_of(str(pen)) == pen


@given(
    st.text()
    | st.lists(st.sampled_from(["\x1b[", "31", ";", "m", "<b>", "&", "\r", "\x1b]", "\x07", '"', "38;5"])).map("".join)
)
def test_no_output_becomes_markup(line: str) -> None:
    found, _ = html(line)
    without = re.sub(r'<span class="[a-z0-9 ]+">|</span>', "", found)
    assert not set("<>\"'") & set(without)
    assert "\x1b" not in found


@given(pens)
def test_a_pen_survives_an_address(pen: Pen) -> None:
    assert pen_of(str(pen)) == pen


@pytest.mark.parametrize("text", ["", "x", "16..", "1", "1..bb", "<script>", "9" * 5000])
def test_what_is_no_pen_is_the_plain_one(text: str) -> None:
    assert pen_of(text) == PLAIN


@given(st.lists(st.sampled_from(["ä", "a", "\x1b[31m", "😀", "\x1b]0;t\x07"])).map("".join), st.floats(0, 1))
def test_a_cut_is_never_within_a_character_or_an_escape(text: str, share: float) -> None:
    whole = text.encode()
    cut = round(share * len(whole))
    end = whole_bytes(whole[:cut])
    assert plain(whole[:end].decode()) + plain(whole[end:].decode()) == plain(text)
    assert cut - end < 256


def test_millions_of_parameters_cost_little_and_mean_nothing() -> None:
    assert html("\x1b[" + "1;" * 500_000 + "mtext")[0] == Markup('<span class="bold">text</span>')
